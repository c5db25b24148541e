//! Commands at their edges: streams that are closed or full, readers that leave, files of before a restart.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

fn kennel() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kennel"))
}

struct Place {
    dir: TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Result<Self, Box<dyn Error>> {
        let dir = TempDir::new()?;
        let file = dir.path().join("test.cache");
        Ok(Self { dir, file })
    }

    fn with_file() -> Result<Self, Box<dyn Error>> {
        let place = Self::new()?;
        assert_eq!(place.run("create", &["--capacity", "4M"])?.0, Some(0));
        Ok(place)
    }

    fn output(&self, name: &str, args: &[&str]) -> Result<Output, Box<dyn Error>> {
        Ok(kennel().arg(name).arg(&self.file).args(args).stdin(Stdio::null()).output()?)
    }

    /// Status, standard output and standard error.
    fn run(&self, name: &str, args: &[&str]) -> Result<(Option<i32>, String, String), Box<dyn Error>> {
        let output = self.output(name, args)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    /// A script of `sh` in which `$kennel` stands for the program.
    #[cfg(unix)]
    fn script(&self, script: &str) -> Result<(Option<i32>, String), Box<dyn Error>> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(self.dir.path()).env("kennel", kennel().get_program());
        let output = shell.output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// Each command that prints, and what it is given.
#[cfg(target_os = "linux")]
const PRINTERS: [&str; 17] = [
    "get test.cache k",
    "get test.cache k --json",
    "keys test.cache",
    "dump test.cache",
    "incr test.cache n --initial 1",
    "stat test.cache",
    "stat test.cache --json --stripes",
    "verify test.cache",
    "verify test.cache --json",
    "create other.cache --capacity 1M",
    "completions bash",
    "man",
    "--help",
    "--version",
    "get --help",
    "demo --seconds 1 --processes 1",
    "bench --seconds 0.01 --warm-up 0.01 --rounds 1 --keys 10 --locks file --processes 1 --no-syscalls",
];

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_is_an_error() -> Outcome {
    let place = Place::with_file()?;
    place.run("set", &["k", "v"])?;
    for line in PRINTERS {
        for (redirection, why) in [("> /dev/full", "No space left on device"), (">&-", "it is closed")] {
            let _ = fs::remove_file(place.dir.path().join("other.cache"));
            let (status, errors) = place.script(&format!("exec $kennel {line} {redirection}"))?;
            assert_eq!(status, Some(2), "{line} {redirection}: {errors}");
            assert!(errors.contains("cannot write to standard output") && errors.contains(why), "{line}: {errors}");
        }
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_command_that_prints_nothing_needs_no_output() -> Outcome {
    let place = Place::with_file()?;
    let lines = ["set test.cache k v", "touch test.cache k --ttl 1h", "delete test.cache k", "flush test.cache"];
    for line in lines.into_iter().chain(["clear test.cache", "destroy test.cache"]) {
        assert_eq!(place.script(&format!("exec $kennel {line} <&- >&- 2>&-"))?, (Some(0), String::new()), "{line}");
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_closed_input_is_no_empty_value() -> Outcome {
    let place = Place::with_file()?;
    for line in ["set test.cache k", "set test.cache k -"] {
        let (status, errors) = place.script(&format!("exec $kennel {line} <&-"))?;
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains("cannot read the value from standard input: it is closed"), "{errors}");
    }
    assert_eq!(place.run("get", &["k"])?.0, Some(1));
    assert_eq!(place.script("exec $kennel set test.cache k < /dev/null")?, (Some(0), String::new()));
    assert_eq!(place.run("get", &["k"])?, (Some(0), String::new(), String::new()));
    Ok(())
}

/// The status of `verify` is what it found, whoever reads the list.
#[cfg(unix)]
#[test]
fn a_reader_that_leaves_does_not_make_a_damaged_file_whole() -> Outcome {
    let place = Place::with_file()?;
    for key in 0..200 {
        place.run("set", &[&key.to_string(), "some value"])?;
    }
    let mut bytes = fs::read(&place.file)?;
    let found: Vec<usize> =
        bytes.windows(10).enumerate().filter(|(_, window)| *window == b"some value").map(|(at, _)| at).collect();
    found.iter().for_each(|&at| bytes[at..at + 10].copy_from_slice(b"other text"));
    fs::write(&place.file, bytes)?;
    for options in ["", "--json"] {
        let script = format!("{{ sleep 0.3; $kennel verify test.cache {options}; echo $? > status; }} | true");
        let (_, errors) = place.script(&script)?;
        assert_eq!((fs::read_to_string(place.dir.path().join("status"))?.trim(), errors.as_str()), ("1", ""));
    }
    Ok(())
}

#[test]
fn the_first_count_may_expire() -> Outcome {
    let place = Place::with_file()?;
    let args = ["n", "--initial", "1", "--ttl", "1.5s"];
    assert_eq!(place.run("incr", &args)?.1, "1\n");
    let expires = |place: &Place| -> Result<Option<u64>, Box<dyn Error>> {
        Ok(serde_json::from_str::<Value>(&place.run("get", &["n", "--json"])?.1)?["expires"].as_u64())
    };
    let first = expires(&place)?;
    assert!(first.is_some());
    assert_eq!(place.run("incr", &["n", "--initial", "1", "--ttl", "1h"])?.1, "2\n");
    assert_eq!(expires(&place)?, first, "the first says when it expires");
    std::thread::sleep(std::time::Duration::from_millis(1600));
    assert_eq!(place.run("incr", &args)?.1, "1\n");
    assert_eq!(place.run("incr", &["m", "--ttl", "1h"])?.0, Some(2));
    Ok(())
}

/// As after a restart of the machine: the file names another boot.
fn file_of_another_boot(place: &Place, flush: bool) -> Outcome {
    drop(kennel::Options::new().capacity(4 << 20).create(&place.file)?);
    let cache = kennel::Options::new().boot_id([1, 2]).open(&place.file)?;
    cache.set("k", "v")?;
    if flush {
        assert!(cache.flush()?);
    }
    Ok(())
}

#[test]
fn after_a_restart_what_was_flushed_is_read() -> Outcome {
    for command in ["get", "keys"] {
        let place = Place::new()?;
        file_of_another_boot(&place, true)?;
        let stat: Value = serde_json::from_str(&place.run("stat", &["--json"])?.1)?;
        assert_eq!(stat["awaits_writer"], true);
        assert!(place.run("stat", &[])?.1.contains("not until a process opens the file for writing"));
        let (args, expected): (&[&str], _) = if command == "get" { (&["k"], "v") } else { (&[], "k\n") };
        assert_eq!(place.run(command, args)?, (Some(0), expected.to_owned(), String::new()));
        let stat: Value = serde_json::from_str(&place.run("stat", &["--json"])?.1)?;
        assert_eq!(stat["awaits_writer"], false);
    }
    Ok(())
}

#[test]
fn after_a_restart_what_was_not_flushed_is_gone() -> Outcome {
    let place = Place::new()?;
    file_of_another_boot(&place, false)?;
    assert_eq!(place.run("get", &["k"])?, (Some(1), String::new(), String::new()));
    assert_eq!(place.run("keys", &[])?, (Some(0), String::new(), String::new()));
    Ok(())
}

#[test]
fn a_file_that_cannot_be_opened_for_writing_is_said_to_be_unreadable() -> Outcome {
    let place = Place::new()?;
    file_of_another_boot(&place, true)?;
    // Without its locks nobody may write to it.
    fs::remove_dir_all(place.dir.path().join("test.cache.locks"))?;
    let (status, output, errors) = place.run("get", &["k"])?;
    assert_eq!((status, output.as_str()), (Some(1), ""));
    assert!(errors.contains("no value can be read until") && errors.contains("locks"), "{errors}");
    Ok(())
}

#[test]
fn messages_use_the_words_of_the_command_line() -> Outcome {
    let place = Place::new()?;
    let expect = |args: &[&str], part: &str| -> Outcome {
        let (_, _, errors) = place.run(args[0], &args[1..])?;
        assert!(errors.contains(part) && !errors.contains("::") && !errors.contains("option "), "{errors}");
        Ok(())
    };
    expect(&["get", "k"], "create one with \"kennel create\"")?;
    expect(&["create", "--stripes", "3"], "--stripes: expected")?;
    expect(&["create", "--capacity", "1"], "--capacity: expected")?;
    expect(&["create", "--mean-item", "0"], "--mean-item: expected")?;
    expect(&["create", "--seats", "0"], "--seats: expected")?;
    expect(&["create", "--claims", "0"], "--claims: expected")?;
    Ok(())
}
