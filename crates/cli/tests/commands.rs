//! Commands that run other commands: `memo` and `lock`, and `invalidate`, which makes `memo` forget.
#![cfg(unix)] // The commands that they run here are a shell's.

mod ctrl_c;
mod place;

use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use ctrl_c::heeding_ctrl_c;
use place::{COUNT, Place, expect, expect_failure, interrupt, text, wait_until};
use tempfile::TempDir;

#[test]
fn a_command_runs_once_and_looks_the_same_again() {
    let place = Place::new();
    for _ in 0..3 {
        expect(&place.run_memo(&[], COUNT), 0, "1\n", "oops\n");
    }
    // It is the words of the command that count.
    expect(&place.run_memo(&[], &format!("{COUNT} ")), 0, "2\n", "oops\n");
}

#[test]
fn what_is_remembered_ends_with_its_lifetime() {
    let place = Place::new();
    expect(&place.run_memo(&["--ttl", "300ms"], COUNT), 0, "1\n", "oops\n");
    sleep(Duration::from_millis(350));
    expect(&place.run_memo(&["--ttl", "1h"], COUNT), 0, "2\n", "oops\n");
    expect(&place.run_memo(&["--ttl", "1h"], COUNT), 0, "2\n", "oops\n");
}

#[test]
fn who_asks_says_how_old_an_output_may_be() {
    let place = Place::new();
    expect(&place.run_memo(&["--ttl", "1h"], COUNT), 0, "1\n", "oops\n");
    sleep(Duration::from_millis(350));
    expect(&place.run_memo(&["--ttl", "1h"], COUNT), 0, "1\n", "oops\n");
    // Stored to be fresh for an hour, and stale for this one, who gets it and has it made anew.
    expect(&place.run_memo(&["--ttl", "1h", "--stale", "300ms"], COUNT), 0, "1\n", "oops\n");
    place.wait_for_runs(2);
    wait_until(|| text(&place.run_memo(&["--ttl", "1h"], COUNT).stdout) == "2\n");
    sleep(Duration::from_millis(350));
    expect(&place.run_memo(&["--ttl", "300ms"], COUNT), 0, "3\n", "oops\n");
}

#[test]
fn a_failure_is_shown_and_remembered_only_if_that_was_asked_for() {
    let place = Place::new();
    let script = format!("{COUNT}; exit 3");
    expect(&place.run_memo(&[], &script), 3, "1\n", "oops\n");
    expect(&place.run_memo(&["--cache-failures"], &script), 3, "2\n", "oops\n");
    expect(&place.run_memo(&["--cache-failures"], &script), 3, "2\n", "oops\n");
    expect(&place.run_memo(&[], &script), 3, "3\n", "oops\n");
    expect(&place.run_memo(&["--cache-failures"], &script), 3, "2\n", "oops\n");
    let output = place.run_memo(&[], "echo before; kill -TERM $$");
    expect(&output, 128 + 15, "before\n", "");
}

#[test]
fn what_the_command_depends_on_can_be_named() {
    let place = Place::new();
    let run = |options: &[&str], variable: Option<&str>| {
        let mut command = place.memo(options, COUNT);
        variable.map(|value| command.env("VARIABLE", value));
        text(&command.output().unwrap().stdout).trim().to_owned()
    };
    assert_eq!(run(&[], None), "1");
    assert_eq!(run(&["--scope", "a"], None), "2");
    assert_eq!(run(&["--scope", "b"], None), "3");
    assert_eq!(run(&["--scope", "a"], None), "2");
    assert_eq!(run(&["--env", "VARIABLE"], None), "4");
    assert_eq!(run(&["--env", "VARIABLE"], Some("")), "5");
    assert_eq!(run(&["--env", "VARIABLE"], Some("x")), "6");
    assert_eq!(run(&["--env", "VARIABLE"], Some("")), "5");
    place.write("file", "");
    assert_eq!(run(&["--modtime", "file"], None), "7");
    let file = fs::File::options().append(true).open(place.dir.path().join("file")).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(5)).unwrap();
    assert_eq!(run(&["--modtime", "file"], None), "8");
    assert_eq!(run(&["--modtime", "file"], None), "8");
    assert_eq!(run(&["--cwd"], None), "9");
    let elsewhere = TempDir::new().unwrap();
    let mut command = place.memo(&["--cwd"], "pwd");
    let here = text(&command.output().unwrap().stdout);
    let there = text(&command.current_dir(elsewhere.path()).output().unwrap().stdout);
    assert_ne!(here, there);
}

#[test]
fn many_who_ask_at_once_run_it_once() {
    let place = Place::new();
    let script = "echo run >> log; sleep 0.5; echo done";
    let all: Vec<Child> = (0..12).map(|_| place.start_memo(&[], script)).collect();
    for child in all {
        expect(&child.wait_with_output().unwrap(), 0, "done\n", "");
    }
    assert_eq!(place.runs(), 1);
}

#[test]
fn another_takes_over_from_one_who_was_killed() {
    let place = Place::new();
    let script = "echo run >> log; while [ ! -e go ]; do sleep 0.05; done; echo done";
    let mut first = place.start_memo(&[], script);
    place.wait_for_runs(1);
    let second = place.start_memo(&[], script);
    sleep(Duration::from_millis(200));
    assert_eq!(place.runs(), 1, "the second waits for the first");
    first.kill().unwrap();
    first.wait().unwrap();
    place.wait_for_runs(2);
    place.write("go", "");
    expect(&second.wait_with_output().unwrap(), 0, "done\n", "");
}

#[test]
fn ctrl_c_in_the_one_who_runs_it_lets_another_take_over() {
    let place = Place::new();
    let script = "echo run >> log; while [ ! -e go ]; do sleep 0.05; done; echo done";
    let mut command = place.memo(&[], script);
    // A group of its own, which is what a terminal sends Ctrl-C to: the command ends with it.
    let grouped = std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut first = heeding_ctrl_c(grouped).spawn().unwrap();
    place.wait_for_runs(1);
    let second = place.start_memo(&[], script);
    sleep(Duration::from_millis(200));
    interrupt(&first);
    let ended = first.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(2), "{ended}");
    place.wait_for_runs(2);
    place.write("go", "");
    expect(&second.wait_with_output().unwrap(), 0, "done\n", "");
}

#[test]
fn those_who_wait_for_a_failure_try_themselves() {
    let place = Place::new();
    let script = "echo run >> log; while [ ! -e go ]; do sleep 0.05; done; [ $(wc -l < log) -gt 1 ]";
    let first = place.start_memo(&[], script);
    place.wait_for_runs(1);
    let others: Vec<Child> = (0..3).map(|_| place.start_memo(&[], script)).collect();
    sleep(Duration::from_millis(300));
    place.write("go", "");
    expect(&first.wait_with_output().unwrap(), 1, "", "");
    for other in others {
        expect(&other.wait_with_output().unwrap(), 0, "", "");
    }
    assert_eq!(place.runs(), 2, "the first of those who waited succeeded");
}

#[test]
fn one_who_does_not_want_to_wait_runs_it_too() {
    let place = Place::new();
    let script = "echo run >> log; while [ ! -e go ]; do sleep 0.05; done; echo done";
    let first = place.start_memo(&[], script);
    place.wait_for_runs(1);
    let second = place.start_memo(&["--wait", "100ms"], script);
    place.wait_for_runs(2);
    place.write("go", "");
    for child in [first, second] {
        expect(&child.wait_with_output().unwrap(), 0, "done\n", "");
    }
}

#[test]
fn a_stale_output_is_shown_and_made_anew_in_the_background() {
    let place = Place::new();
    let options = ["--ttl", "1h", "--stale", "200ms"];
    expect(&place.run_memo(&options, COUNT), 0, "1\n", "oops\n");
    sleep(Duration::from_millis(250));
    expect(&place.run_memo(&options, COUNT), 0, "1\n", "oops\n");
    place.wait_for_runs(2);
    wait_until(|| text(&place.run_memo(&["--ttl", "1h"], COUNT).stdout) == "2\n");
}

#[test]
fn a_run_can_be_forced_or_made_ahead() {
    let place = Place::new();
    expect(&place.run_memo(&["--warm"], COUNT), 0, "", "");
    wait_until(|| place.runs() == 1);
    expect(&place.run_memo(&[], COUNT), 0, "1\n", "oops\n");
    expect(&place.run_memo(&["--force"], COUNT), 0, "2\n", "oops\n");
    expect(&place.run_memo(&[], COUNT), 0, "2\n", "oops\n");
    expect(&place.run_memo(&["--warm"], COUNT), 0, "", "");
    wait_until(|| text(&place.run_memo(&[], COUNT).stdout) == "3\n");
}

#[test]
fn output_that_is_too_large_is_passed_through() {
    let place = Place::new();
    let script = "echo run >> log; head -c 3000000 /dev/zero";
    for _ in 0..2 {
        let output = place.run_memo(&[], script);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 3_000_000));
        expect_failure(&output, 0, "kennel memo: not remembered: 2.9 MiB of output");
    }
    assert_eq!(place.runs(), 2);
}

#[test]
fn standard_input_reaches_the_command() {
    let place = Place::new();
    place.write("input", "some text");
    let input = fs::File::open(place.dir.path().join("input")).unwrap();
    let output = place.memo(&[], "cat").stdin(input).output().unwrap();
    expect(&output, 0, "some text", "");
    expect(&place.run_memo(&[], "cat"), 0, "some text", "");
}

#[test]
fn a_reader_that_leaves_does_not_end_the_command() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 20000 ]; do echo some words of output; i=$((i+1)); done; echo run >> log";
    let mut child = place.start_memo(&[], script);
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(place.runs(), 1);
    assert_eq!(place.run_memo(&[], script).stdout.len(), 20_000 * 21);
    assert_eq!(place.runs(), 1);
}

#[test]
fn failures_of_its_own_have_statuses_of_their_own() {
    let place = Place::new();
    let run = |args: &[&str]| place.command(args).output().unwrap();
    expect_failure(&run(&["memo", "--", "./no-such-program"]), 127, "cannot run ./no-such-program");
    place.write("data", "no program");
    expect_failure(&run(&["memo", "--", "./data"]), 126, "cannot run ./data");
    expect_failure(&run(&["memo", "--no-such-option", "--", "true"]), 125, "--no-such-option");
    expect_failure(&run(&["memo"]), 125, "COMMAND");
    expect_failure(&run(&["memo", "--ttl", "0s", "--", "true"]), 125, "expected more than 0");
    expect_failure(
        &run(&["memo", "--stale", "2m", "--", "true"]),
        125,
        "expected less than --ttl, which is 60s, found 120s",
    );
    expect_failure(&run(&["memo", "--cache", "/no/such/place", "--require-cache", "--", "true"]), 125, "/no/such");
    expect_failure(&run(&["lock", "missing.cache", "key", "--", "true"]), 125, "missing.cache");
    assert_eq!(run(&["memo", "--help"]).status.code(), Some(0));
}

#[test]
fn each_user_has_a_file() {
    let place = Place::new();
    let mut command = place.memo(&[], COUNT);
    command.env_remove("KENNEL_MEMO_CACHE").env("XDG_RUNTIME_DIR", place.dir.path());
    for _ in 0..2 {
        expect(&command.output().unwrap(), 0, "1\n", "oops\n");
    }
    let file = place.dir.path().join("kennel-memo.cache");
    // Another version's takes no one's place for ever. One that the caller named would be his to remove.
    let mut bytes = fs::read(&file).unwrap();
    const FORMAT: usize = 8;
    bytes[FORMAT] += 1;
    fs::write(&file, &bytes).unwrap();
    fs::write(&place.cache, &bytes).unwrap();
    fs::set_permissions(&place.cache, fs::metadata(&file).unwrap().permissions()).unwrap();
    expect(&command.output().unwrap(), 0, "2\n", "oops\n");
    expect(&command.output().unwrap(), 0, "2\n", "oops\n");
    let output = place.run_memo(&[], COUNT);
    expect_failure(&output, 0, "kennel memo: not remembered: ");
    assert_eq!(text(&output.stdout), "3\n");
    assert!(text(&output.stderr).contains("destroy it and create it again"));
}

#[test]
fn a_namespace_is_forgotten_by_its_name() {
    let place = Place::new();
    expect(&place.run_memo(&[], COUNT), 0, "1\n", "oops\n");
    let invalidate = |args: &[&str]| place.command([&["invalidate", "memo.cache"], args].concat()).output().unwrap();
    expect(&invalidate(&["mmeo"]), 1, "", "kennel: no namespace \"mmeo\": expected one of the file's: memo\n");
    expect(&place.run_memo(&[], COUNT), 0, "1\n", "oops\n");
    expect(&invalidate(&["memo"]), 0, "", "");
    expect(&place.run_memo(&[], COUNT), 0, "2\n", "oops\n");
    // Stale: shown once more while it is made anew.
    expect(&invalidate(&["memo", "--soft"]), 0, "", "");
    expect(&place.run_memo(&[], COUNT), 0, "2\n", "oops\n");
    place.wait_for_runs(3);
}

#[test]
fn what_bears_a_tag_is_forgotten_together() {
    let place = Place::new();
    expect(&place.run_memo(&["--tag", "a", "--tag=b"], COUNT), 0, "1\n", "oops\n");
    let run = |line: &str| place.command(line.split(' ')).output().unwrap();
    expect(&run("set memo.cache key value --tag b"), 0, "", "");
    expect(&run("set memo.cache other value --tag c"), 0, "", "");
    expect(&run("invalidate memo.cache --tag x --tag b"), 0, "", "");
    expect(&run("get memo.cache key"), 1, "", "");
    expect(&run("get memo.cache other"), 0, "value", "");
    expect(&place.run_memo(&["--tag", "a"], COUNT), 0, "2\n", "oops\n");
    // Stale: shown once more while it is made anew.
    expect(&run("invalidate memo.cache --tag a --soft"), 0, "", "");
    expect(&place.run_memo(&["--tag", "a"], COUNT), 0, "2\n", "oops\n");
    place.wait_for_runs(3);
    // What is invalidated while a forced run goes on is not remembered after it.
    let script = format!(
        "{} invalidate memo.cache --tag a; echo run >> log; wc -l < log | tr -d ' '",
        env!("CARGO_BIN_EXE_kennel")
    );
    for (options, runs) in [(&["--tag", "a"][..], 4), (&["--tag", "a", "--force"], 5), (&["--tag", "a"], 6)] {
        expect(&place.run_memo(options, &script), 0, &format!("{runs}\n"), "");
    }
    assert_eq!(run("invalidate memo.cache").status.code(), Some(2));
    assert_eq!(run("invalidate memo.cache memo --tag a").status.code(), Some(2));
}

/// A cache file, and `kennel lock` on it.
fn locked(place: &Place, args: &[&str]) -> Command {
    if !place.cache.exists() {
        let created = place.command(["create", "memo.cache", "--capacity", "1MiB"]).output().unwrap();
        assert!(created.status.success());
    }
    place.command([&["lock", "memo.cache"], args].concat())
}

#[test]
fn a_lock_keeps_others_of_its_key_waiting() {
    let place = Place::new();
    let script = "echo in >> log; sleep 0.1; echo out >> log";
    let both: Vec<Child> =
        (0..4).map(|_| locked(&place, &["key", "--", "sh", "-c", script]).spawn().unwrap()).collect();
    for child in both {
        expect(&child.wait_with_output().unwrap(), 0, "", "");
    }
    assert_eq!(place.read("log"), "in\nout\n".repeat(4));
}

#[test]
fn a_lock_passes_the_status_on_and_says_when_it_was_not_to_be_had() {
    let place = Place::new();
    let script = "echo in >> log; while [ ! -e go ]; do sleep 0.05; done; exit 7";
    let holder = locked(&place, &["key", "--", "sh", "-c", script]).spawn().unwrap();
    place.wait_for_runs(1);
    let output = locked(&place, &["key", "--wait", "0s", "--", "echo", "no"]).output().unwrap();
    expect_failure(&output, 1, "the key is locked");
    let output = locked(&place, &["key", "--wait", "50ms", "--conflict-status", "75", "--", "true"]).output().unwrap();
    expect_failure(&output, 75, "the key is locked");
    expect(&locked(&place, &["another key", "--wait", "0s", "--", "echo", "yes"]).output().unwrap(), 0, "yes\n", "");
    place.write("go", "");
    expect(&holder.wait_with_output().unwrap(), 7, "", "");
    expect_failure(&locked(&place, &["key", "--", "./no-such-program"]).output().unwrap(), 127, "cannot run");
}

#[test]
fn the_lock_of_one_who_was_killed_is_free() {
    let place = Place::new();
    // Nobody ends the command then: it ends itself once the test's place is gone.
    let script = "echo in >> log; while [ -e log ]; do sleep 0.05; done";
    let mut holder = locked(&place, &["key", "--", "sh", "-c", script]).spawn().unwrap();
    place.wait_for_runs(1);
    holder.kill().unwrap();
    holder.wait().unwrap();
    expect(&locked(&place, &["key", "--", "echo", "mine"]).output().unwrap(), 0, "mine\n", "");
}

#[test]
fn ctrl_c_is_left_to_the_command() {
    let place = Place::new();
    let script = "trap 'echo interrupted >> log; exit 9' INT; echo in >> log; while :; do sleep 0.05; done";
    let mut command = locked(&place, &["key", "--", "sh", "-c", script]);
    // A group of its own, which is what a terminal sends Ctrl-C to.
    let grouped = std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let holder = heeding_ctrl_c(grouped).spawn().unwrap();
    place.wait_for_runs(1);
    sleep(Duration::from_millis(100));
    interrupt(&holder);
    expect(&holder.wait_with_output().unwrap(), 9, "", "");
    assert_eq!(place.read("log"), "in\ninterrupted\n");
}
