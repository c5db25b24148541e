//! `kennel memo` at its edges: outputs that cannot be written, caches that cannot be used, failures that are
//! remembered, commands that ask for themselves, signals.
#![cfg(unix)]

mod place;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output};
use std::time::Duration;

use place::{COUNT, Place, expect, expect_failure, text, wait_until};

const NOT_REMEMBERED: &str = "kennel memo: not remembered: ";

/// All ways to come to an output: a first run, a forced one, one that is shown, and one without a cache.
const WAYS: [&str; 4] = ["", "--force", "", "--cache /nowhere/cache"];

/// A script of `sh` in which `$memo` stands for `kennel memo` with these options.
fn run_script(place: &Place, options: &str, script: &str) -> Output {
    let memo = format!("{} memo {options} --", env!("CARGO_BIN_EXE_kennel"));
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(place.dir.path()).env("KENNEL_MEMO_CACHE", &place.cache).env("memo", memo);
    shell.output().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    for options in WAYS {
        let output = run_script(&place, options, "$memo seq 100000 > /dev/full");
        assert_eq!(output.status.code(), if options.contains("nowhere") { Some(1) } else { Some(125) }, "{options:?}");
        assert!(
            text(&output.stderr).contains("write error: No space")
                || text(&output.stderr).contains("kennel: cannot write to standard output: No space left on device"),
            "{output:?}"
        );
        let output = run_script(&place, options, "$memo sh -c 'seq 100000 >&2 && echo done' 2> /dev/full");
        assert_ne!(output.status.code(), Some(0), "{options:?}");
        // A command that writes nothing there is none the wiser.
        let output = run_script(&place, options, "$memo echo words 2> /dev/full");
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "words\n"), "{options:?}");
    }
    // Output that is too large to be remembered is passed on in another way.
    let output = run_script(&place, "", "$memo head -c 3000000 /dev/zero > /dev/full");
    expect_failure(&output, 125, "kennel: cannot write to standard output: No space left on device");
}

/// A limit on the size of files ends a write in the middle, as a full disk does.
#[test]
fn output_that_is_cut_short_is_an_error() {
    let place = Place::new();
    expect(&place.run_memo(&[], "echo the cache file is there"), 0, "the cache file is there\n", "");
    for options in WAYS {
        let output = run_script(&place, options, "trap '' XFSZ; ulimit -f 8; $memo seq 100000 > out");
        assert_ne!(output.status.code(), Some(0));
        expect_failure(&output, output.status.code().unwrap(), "File too large");
        assert!((1..100_000).contains(&place.read("out").len()));
    }
}

#[test]
fn a_closed_output_is_none_that_takes_all() {
    let place = Place::new();
    for options in WAYS {
        let run = |line| run_script(&place, options, line).status.code();
        assert_ne!(run("$memo /bin/echo words >&-"), Some(0), "{options}");
        assert_ne!(run("$memo sh -c '/bin/echo words >&2' 2>&-"), Some(0), "{options}");
        assert_ne!(run("$memo cat <&-"), Some(0), "{options}");
        assert_eq!(run("$memo true <&- >&- 2>&-"), Some(0), "{options}");
    }
    let output = run_script(&place, "", "$memo /bin/echo words >&-");
    expect_failure(&output, 125, "kennel: cannot write to standard output: it is closed");
}

/// The reader has what it wanted, and a command without end must learn of it.
#[test]
fn a_command_without_end_ends_with_its_reader() {
    let place = Place::new();
    for options in WAYS {
        let output = run_script(&place, options, "{ $memo yes; echo $? > status; } | head -1");
        assert_eq!(text(&output.stdout), "y\n");
        // 128 and SIGPIPE, as a shell tells it without us.
        assert_eq!(place.read("status"), "141\n", "{options:?}");
    }
}

#[test]
fn a_failure_is_for_those_who_asked_for_failures() {
    let place = Place::new();
    let script = "echo run >> log; test -e good && echo good";
    expect(&place.run_memo(&["--cache-failures"], script), 1, "", "");
    expect(&place.run_memo(&["--cache-failures"], script), 1, "", "");
    assert_eq!(place.runs(), 1);
    // Not shown to this one, nor made stale for it, nor forgotten because of it.
    expect(&place.run_memo(&[], script), 1, "", "");
    expect(&place.run_memo(&["--stale", "1ms"], script), 1, "", "");
    assert_eq!(place.runs(), 3);
    expect(&place.run_memo(&["--cache-failures"], script), 1, "", "");
    assert_eq!(place.runs(), 3);
    place.write("good", "");
    expect(&place.run_memo(&["--cache-failures"], script), 1, "", "");
    // A success is for all.
    expect(&place.run_memo(&[], script), 0, "good\n", "");
    expect(&place.run_memo(&["--cache-failures"], script), 0, "good\n", "");
    assert_eq!(place.runs(), 4);
}

#[test]
fn an_older_result_takes_the_place_of_a_failure() {
    let place = Place::new();
    let script = "echo run >> log; test -e bad && { echo bad; echo bad >&2; exit 3; }; echo good";
    let options = ["--ttl", "1ms", "--stale-if-error", "1h"];
    expect(&place.run_memo(&options, script), 0, "good\n", "");
    place.write("bad", "");
    std::thread::sleep(Duration::from_millis(5));
    let older = "kennel memo: an older result is shown: the command failed with status 3\n";
    expect(&place.run_memo(&options, script), 0, "good\n", older);
    assert_eq!(place.runs(), 2);
    // Not for a caller that does not want that, nor for one that forces a run.
    expect(&place.run_memo(&["--ttl", "1ms"], script), 3, "bad\n", "bad\n");
    let forced = [&options[..], &["--force"]].concat();
    expect(&place.run_memo(&forced, script), 3, "bad\n", "bad\n");
    // Nor for one that wants it for a shorter time.
    std::thread::sleep(Duration::from_millis(20));
    expect(&place.run_memo(&["--ttl", "1ms", "--stale-if-error", "1ms"], script), 3, "bad\n", "bad\n");
    // Too much output to be held back is passed on.
    fs::remove_file(place.dir.path().join("bad")).unwrap();
    let much = "test -e bad && { head -c 3000000 /dev/zero; exit 3; }; echo good";
    expect(&place.run_memo(&options, much), 0, "good\n", "");
    place.write("bad", "");
    std::thread::sleep(Duration::from_millis(5));
    let output = place.run_memo(&options, much);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 3_000_000));
}

#[test]
fn a_command_that_failed_rests() {
    let place = Place::new();
    let script = "echo run >> log; test -e good && echo good";
    let options = ["--retry-after", "1h"];
    expect(&place.run_memo(&options, script), 1, "", "");
    // Others respect the rest, whatever their options are.
    for options in [&options[..], &[], &["--stale", "1s"]] {
        expect_failure(&place.run_memo(options, script), 125, "the command failed before, and may run again in ");
    }
    assert_eq!(place.runs(), 1);
    place.write("good", "");
    expect(&place.run_memo(&["--force"], script), 0, "good\n", "");
    expect(&place.run_memo(&options, script), 0, "good\n", "");
    assert_eq!(place.runs(), 2);
    // While it rests an older result is shown.
    fs::remove_file(place.dir.path().join("good")).unwrap();
    let both = ["--ttl", "1ms", "--stale-if-error", "1h", "--retry-after", "1h"];
    place.write("good", "");
    expect(&place.run_memo(&["--ttl", "1ms", "--stale-if-error", "1h", "--force"], script), 0, "good\n", "");
    fs::remove_file(place.dir.path().join("good")).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    let runs = place.runs();
    assert_eq!(text(&place.run_memo(&both, script).stdout), "good\n");
    let output = place.run_memo(&both, script);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "good\n"));
    assert!(text(&output.stderr).contains("an older result is shown: the command failed before"), "{output:?}");
    assert_eq!(place.runs(), runs + 1);
}

#[test]
fn those_who_do_not_want_a_remembered_failure_run_it_once() {
    let place = Place::new();
    let script = "test -e good || exit 1; echo run >> log; sleep 0.5; echo good";
    expect(&place.run_memo(&["--cache-failures"], script), 1, "", "");
    place.write("good", "");
    let all: Vec<Child> = (0..8).map(|_| place.start_memo(&[], script)).collect();
    for child in all {
        expect(&child.wait_with_output().unwrap(), 0, "good\n", "");
    }
    assert_eq!(place.runs(), 1);
}

/// Runs the command in all ways on a cache that cannot be used: it must run as if there were none, with one line that
/// says why nothing is remembered.
#[track_caller]
fn runs_all_the_same(place: &Place, why: &str) {
    let before = place.runs();
    for run in 1..=2 {
        let output = place.run_memo(&[], "echo run >> log; echo words; echo oops >&2; exit 3");
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), "words\n"), "{why}");
        let errors = text(&output.stderr);
        let (first, rest) = errors.split_once('\n').unwrap();
        assert!(first.starts_with(NOT_REMEMBERED) && first.contains(why), "{why:?} is not in {first:?}");
        assert_eq!((rest, place.runs() - before), ("oops\n", run), "{why}");
    }
    expect_failure(&place.run_memo(&["--require-cache"], "echo run >> log"), 125, why);
    expect_failure(&place.run_memo(&["--require-cache", "--warm"], "echo run >> log"), 125, why);
    assert_eq!(place.runs() - before, 2, "what was not to run without a cache ran");
    // Nobody is told of the background, but of the cache, and the command runs there.
    let output = place.run_memo(&["--warm"], "echo run >> log");
    expect_failure(&output, 0, why);
    wait_until(|| place.runs() - before == 3);
}

#[test]
fn without_a_cache_the_command_runs() {
    let place = Place::new();
    fs::write(&place.cache, "a letter home, no cache").unwrap();
    runs_all_the_same(&place, "this is not a cache file");
    assert_eq!(place.read("memo.cache"), "a letter home, no cache");
    fs::remove_file(&place.cache).unwrap();
    fs::create_dir(&place.cache).unwrap();
    runs_all_the_same(&place, "memo.cache");
    fs::remove_dir(&place.cache).unwrap();

    expect(&place.run_memo(&[], "echo kept"), 0, "kept\n", "");
    fs::set_permissions(&place.cache, fs::Permissions::from_mode(0o660)).unwrap();
    runs_all_the_same(&place, "not trusted");
    expect(&place.run_memo(&["--trust"], "echo kept"), 0, "kept\n", "");
    fs::set_permissions(&place.cache, fs::Permissions::from_mode(0o600)).unwrap();

    let locks = place.dir.path().join("memo.cache.locks");
    fs::rename(&locks, place.dir.path().join("elsewhere")).unwrap();
    runs_all_the_same(&place, "the locks of");
    fs::rename(place.dir.path().join("elsewhere"), &locks).unwrap();

    // A link of that name is what another user can plant where all may write.
    let link = place.dir.path().join("link.cache");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let output = place.run_memo(&["--cache", "link.cache"], "echo words");
    expect_failure(&output, 0, NOT_REMEMBERED);
    assert_eq!(text(&output.stdout), "words\n");
    assert!(Command::new("mkfifo").arg(place.dir.path().join("fifo")).status().unwrap().success());
    let output = place.run_memo(&["--cache", "fifo"], "echo words");
    expect_failure(&output, 0, NOT_REMEMBERED);
    assert_eq!(text(&output.stdout), "words\n");

    let whole = fs::read(&place.cache).unwrap();
    fs::write(&place.cache, &whole[..10_000]).unwrap();
    runs_all_the_same(&place, "file length");
}

#[test]
fn without_room_or_descriptors_the_command_runs() {
    let place = Place::new();
    let run = |limit: &str, options: &str| {
        run_script(&place, options, &format!("trap '' XFSZ; {limit}; $memo sh -c 'echo words'"))
    };
    let output = run("ulimit -f 8", "");
    expect_failure(&output, 0, NOT_REMEMBERED);
    assert_eq!(text(&output.stdout), "words\n");
    assert!(!place.cache.exists());
    let output = run("true", "--capacity 1000T");
    expect_failure(&output, 0, NOT_REMEMBERED);
    assert_eq!(text(&output.stdout), "words\n");
    for descriptors in 4..24 {
        let output = run(&format!("ulimit -n {descriptors}"), "");
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "words\n"), "{descriptors}");
        let errors = text(&output.stderr);
        assert!(errors.is_empty() || errors.starts_with(NOT_REMEMBERED), "{descriptors}: {errors}");
    }
    let _ = fs::remove_file(&place.cache);
    let output = run("true", "--capacity 5M");
    expect(&output, 0, "words\n", "");
    assert!((5 << 20..8 << 20).contains(&fs::metadata(&place.cache).unwrap().len()));
}

#[test]
fn what_is_no_name_of_a_variable_is_refused() {
    let place = Place::new();
    for wrong in ["A=B", "", "="] {
        expect_failure(
            &place.run_memo(&["--env", wrong], COUNT),
            125,
            "--env: expected the name of an environment variable",
        );
    }
    assert_eq!(place.runs(), 0);
}

#[test]
fn the_order_of_variables_and_files_makes_no_difference() {
    let place = Place::new();
    place.write("f", "");
    place.write("g", "");
    let lines: [&[&str]; 3] = [
        &["--env", "A", "--env", "B", "--modtime", "f", "--modtime", "g"],
        &["--modtime", "g", "--env", "B", "--env", "A", "--modtime", "f"],
        &["--env", "B", "--env", "A", "--env", "B", "--modtime", "g", "--modtime", "f", "--modtime", "g"],
    ];
    for options in lines {
        expect(&place.run_memo(options, COUNT), 0, "1\n", "oops\n");
    }
}

#[test]
fn a_wrong_default_is_called_by_its_own_name() {
    let place = Place::new();
    let run = |variables: &[(&str, &str)], options: &[&str]| {
        place.memo(options, COUNT).envs(variables.iter().copied()).output().unwrap()
    };
    let soon = [("KENNEL_MEMO_TTL", "soon")];
    expect_failure(&run(&soon, &[]), 125, "the environment variable KENNEL_MEMO_TTL: expected a time");
    expect_failure(
        &run(&[("KENNEL_MEMO_STALE", "5")], &[]),
        125,
        "the environment variable KENNEL_MEMO_STALE: expected",
    );
    expect_failure(&run(&[("KENNEL_MEMO_TTL", "0s")], &[]), 125, "KENNEL_MEMO_TTL: expected more than 0");
    let stale = [("KENNEL_MEMO_STALE", "2m")];
    expect_failure(&run(&stale, &["--ttl", "1m"]), 125, "KENNEL_MEMO_STALE: expected less than --ttl, which is 60s");
    let ttl = [("KENNEL_MEMO_TTL", "1m")];
    expect_failure(&run(&ttl, &["--stale", "2m"]), 125, "--stale: expected less than KENNEL_MEMO_TTL, which is 60s");
    assert_eq!(place.runs(), 0);
    // An option comes first, and an empty variable is none.
    expect(&run(&soon, &["--ttl", "1h"]), 0, "1\n", "oops\n");
    expect(&run(&[("KENNEL_MEMO_TTL", ""), ("KENNEL_MEMO_SCOPE", "")], &[]), 0, "1\n", "oops\n");
}

/// A script in the place, and `kennel memo` of it.
fn script(place: &Place, text: &str) -> Output {
    place.write("script", &format!("#!/bin/sh\necho run >> log\n{text}\n"));
    fs::set_permissions(place.dir.path().join("script"), fs::Permissions::from_mode(0o700)).unwrap();
    place.command(["memo", "--", "./script"]).output().unwrap()
}

#[test]
fn a_command_that_asks_for_itself_is_told_so() {
    let kennel = env!("CARGO_BIN_EXE_kennel");
    for options in ["", "--force", "--wait 1s", "--cache-failures", "--stale 1s"] {
        let place = Place::new();
        let output = script(&place, &format!("exec {kennel} memo {options} -- ./script"));
        expect_failure(&output, 125, "./script runs itself without end");
        assert_eq!(place.runs(), 1, "{options}");
    }
    // Without a cache it would not wait, but run itself again and again.
    let place = Place::new();
    fs::write(&place.cache, "no cache").unwrap();
    expect_failure(
        &script(&place, &format!("exec {kennel} memo -- ./script")),
        125,
        "./script runs itself without end",
    );
    assert_eq!(place.runs(), 1);
}

#[test]
fn a_script_can_memoize_itself() {
    let kennel = env!("CARGO_BIN_EXE_kennel");
    let place = Place::new();
    let text = format!("[ \"$KENNEL_MEMO_RUNNING\" ] || exec {kennel} memo -- \"$0\" \"$@\"\necho done");
    for _ in 0..2 {
        expect(&script(&place, &text), 0, "done\n", "");
    }
    assert_eq!(place.runs(), 1);
    // Another memoized command within is no part of itself, and neither is a result that is there.
    let place = Place::new();
    let text = format!("{kennel} memo -- echo other; {kennel} memo -- sh -c '{kennel} memo -- echo third'");
    expect(&script(&place, &text), 0, "other\nthird\n", "");
}

/// `kennel memo` in place of a command: whoever ends it wants to end the command.
#[test]
fn signals_reach_the_command() {
    let place = Place::new();
    for (name, number) in [("TERM", 15), ("HUP", 1)] {
        let script = format!("trap 'echo {name} >> log; exit 9' {name}; echo in >> log; while :; do sleep 0.05; done");
        let before = place.runs();
        let child = place.start_memo(&[], &script);
        place.wait_for_runs(before + 1);
        let kill = |child: &Child| Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
        assert!(kill(&child).unwrap().success());
        expect(&child.wait_with_output().unwrap(), 9, "", "");
        assert!(place.read("log").ends_with(&format!("{name}\n")));
        // One that does not heed it ends by it.
        let before = place.runs();
        let child = place.start_memo(&[], "echo in >> log; exec sleep 1000");
        place.wait_for_runs(before + 1);
        std::thread::sleep(Duration::from_millis(100));
        assert!(kill(&child).unwrap().success());
        let status = child.wait_with_output().unwrap().status;
        assert_eq!((status.code(), status.signal()), (Some(128 + number), None));
    }
}
