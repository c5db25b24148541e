//! `demo`, `bench` and `replay` when they are ended from outside: no file is left in memory, and no worker goes on.
#![cfg(target_os = "linux")] // Processes are found in /proc.

mod ctrl_c;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ctrl_c::heeding_ctrl_c;
use tempfile::TempDir;

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(10));
    }
}

/// The command line of the process with this folder in /proc; `None` if it has ended.
fn command_line(process: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(process.join("cmdline")).ok()?).replace('\0', " "))
}

/// Processes with this text in their command line.
fn processes_with(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| command_line(&entry.path())).filter(|line| line.contains(text)).collect()
}

fn send(signal: &str, to: &Child) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &to.id().to_string()]).status().unwrap().success());
}

/// What is run, and where its files are.
struct Run {
    child: Child,
    stdout: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Run {
    fn start(args: &[&str]) -> (Child, BufReader<ChildStdout>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kennel"));
        let command = heeding_ctrl_c(&mut command);
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        (child, stdout)
    }

    fn demo() -> Self {
        let (child, mut stdout) = Self::start(&["demo", "--seconds", "600", "--processes", "2"]);
        let directory = loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended early");
            // "2 processes read and write one cache file, /dev/shm/kennel-demo-AbCdEf/demo.cache."
            if let Some((_, path)) = line.split_once("cache file, ") {
                break Path::new(path.trim_end().trim_end_matches('.')).parent().unwrap().to_owned();
            }
        };
        Self { child, stdout, directory }
    }

    fn bench(parent: &Path) -> Self {
        let parent = parent.display().to_string();
        let args = ["bench", "--seconds", "600", "--processes", "2", "--keys", "100", "--no-syscalls", "--directory"];
        let (child, stdout) = Self::start(&[&args[..], &[&parent]].concat());
        let directory = || Some(fs::read_dir(&parent).ok()?.next()?.ok()?.path());
        wait_until("it makes no file", || directory().is_some());
        Self { child, stdout, directory: directory().unwrap() }
    }

    fn replay(parent: &Path) -> Self {
        let trace = parent.join("trace.txt");
        let line = |number: u32| format!("key-{number}\n");
        fs::write(&trace, (0..400_000).map(line).collect::<String>()).unwrap();
        let (child, stdout) = Self::start(&["replay", "--processes", "2", "--items", "1000", trace.to_str().unwrap()]);
        // Other replays may run on the machine.
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let worker = || {
            let children = fs::read_to_string(&children).unwrap();
            let lines = children.split_whitespace().filter_map(|pid| command_line(&Path::new("/proc").join(pid)));
            lines.into_iter().find(|line| line.contains("replay-worker") && line.contains("/kennel-"))
        };
        wait_until("no worker starts", || worker().is_some());
        let path = PathBuf::from(worker().unwrap().split_whitespace().last().unwrap());
        Self { child, stdout, directory: path.parent().unwrap().to_owned() }
    }

    fn name(&self) -> String {
        self.directory.display().to_string()
    }

    /// Lets the workers come to their work.
    fn wait_for_workers(&self) {
        wait_until("no worker starts", || {
            processes_with(&self.name()).iter().filter(|line| line.contains("-worker")).count() >= 2
        });
        sleep(Duration::from_millis(300));
    }

    fn expect_no_worker(&self) {
        let name = self.name();
        // The parent of bench has the name in its command line, too.
        wait_until("a worker goes on", || !processes_with(&name).iter().any(|line| line.contains("-worker")));
    }
}

#[test]
fn a_signal_leaves_neither_files_nor_workers() {
    for signal in ["TERM", "HUP", "INT"] {
        let dir = TempDir::new().unwrap();
        let traces = TempDir::new().unwrap();
        for run in [
            |_: &Path, _: &Path| Run::demo(),
            |dir: &Path, _: &Path| Run::bench(dir),
            |_: &Path, traces: &Path| Run::replay(traces),
        ] {
            let mut run = run(dir.path(), traces.path());
            run.wait_for_workers();
            send(signal, &run.child);
            // A terminal that was hung up, or a pipe that is not read on, is no reason to stay either.
            let mut rest = String::new();
            std::io::Read::read_to_string(&mut run.stdout, &mut rest).unwrap();
            wait_until("it does not end", || run.child.try_wait().unwrap().is_some());
            assert!(!run.directory.exists(), "{signal}: {} is left", run.name());
            run.expect_no_worker();
        }
    }
}

#[test]
fn workers_do_not_go_on_without_their_parent() {
    let dir = TempDir::new().unwrap();
    for mut run in [Run::demo(), Run::bench(dir.path())] {
        run.wait_for_workers();
        send("KILL", &run.child);
        run.child.wait().unwrap();
        run.expect_no_worker();
        // What nobody could remove.
        fs::remove_dir_all(&run.directory).unwrap();
    }
}

/// While a slow reader keeps it waiting as well as before the workers start.
#[test]
fn a_signal_at_any_moment_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    for milliseconds in (0..400).step_by(37) {
        let parent = dir.path().display().to_string();
        let args = ["bench", "--seconds", "0.05", "--processes", "2", "--keys", "100", "--no-syscalls", "--directory"];
        let (mut child, _stdout) = Run::start(&[&args[..], &[&parent]].concat());
        // Before its handlers are there, it has no files either.
        sleep(Duration::from_millis(milliseconds));
        send("TERM", &child);
        wait_until("it does not end", || child.try_wait().unwrap().is_some());
        assert_eq!(dir.path().read_dir().unwrap().count(), 0, "after {milliseconds} ms");
    }
}

/// `nohup` has it ignored, and a handler of ours would end what it is to keep alive.
#[test]
fn a_signal_that_is_ignored_stays_so() {
    let dir = TempDir::new().unwrap();
    let line = format!(
        "trap '' HUP; {} bench --seconds 0.5 --rounds 1 --processes 1 --locks file --keys 100 --no-syscalls --directory {} &
         sleep 0.3; kill -HUP $!; wait $!",
        env!("CARGO_BIN_EXE_kennel"),
        dir.path().display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
