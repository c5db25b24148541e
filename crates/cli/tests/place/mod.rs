//! A place for commands of a Unix shell, and what is expected of the commands that run them.
#![allow(dead_code, reason = "no test needs all of it")]

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory with a cache file, and a log that commands add lines to.
pub struct Place {
    pub dir: TempDir,
    pub cache: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let cache = dir.path().join("memo.cache");
        Self { dir, cache }
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kennel"));
        command.args(args).current_dir(self.dir.path()).env("KENNEL_MEMO_CACHE", &self.cache);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `kennel memo OPTIONS -- sh -c SCRIPT`
    pub fn memo(&self, options: &[&str], script: &str) -> Command {
        self.command([&["memo"], options, &["--", "sh", "-c", script]].concat())
    }

    pub fn run_memo(&self, options: &[&str], script: &str) -> Output {
        self.memo(options, script).output().unwrap()
    }

    pub fn start_memo(&self, options: &[&str], script: &str) -> Child {
        self.memo(options, script).spawn().unwrap()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// How often a command ran that adds a line to the log.
    pub fn runs(&self) -> usize {
        self.read("log").lines().count()
    }

    /// Waits until a command has run so often.
    #[track_caller]
    pub fn wait_for_runs(&self, runs: usize) {
        wait_until(|| self.runs() >= runs);
    }
}

#[track_caller]
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came to be");
        sleep(Duration::from_millis(10));
    }
}

#[track_caller]
pub fn expect(output: &Output, status: i32, stdout: &str, stderr: &str) {
    let found = (output.status.code(), text(&output.stdout), text(&output.stderr));
    assert_eq!(found, (Some(status), stdout.to_owned(), stderr.to_owned()));
}

#[track_caller]
pub fn expect_failure(output: &Output, status: i32, part: &str) {
    assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(part), "no {part:?} in {}", text(&output.stderr));
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Does what Ctrl-C on a terminal does to a group of processes.
pub fn interrupt(first: &Child) {
    let group = format!("-{}", first.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
}

pub const COUNT: &str = "echo run >> log; wc -l < log | tr -d ' '; echo oops >&2";
