//! Child processes: this same test program, restricted to one test that does what the environment says.
//!
//! ```text
//! #[test]
//! fn child() {
//!     children::serve(|task, args| match task { "write" => write(&args[0]), _ => panic!("no task {task}") });
//! }
//! ```
//!
//! The parent starts a child with [`start`] and exchanges lines with it: [`say`] sends one to the parent. A child ends
//! when its task ends; the parent kills one that is left over.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const TASK: &str = "KENNEL_TEST_TASK";
const ARGS: &str = "KENNEL_TEST_ARGS";
/// Separates arguments; no path of a test contains it.
const SEPARATOR: &str = "\u{1f}";
/// The beginning of a child's lines, which tells them from the output of the test harness.
const MARK: &str = "kennel-test: ";
/// The message of a child that has nothing else to report for a long time.
const GOING_ON: &str = "going on";
/// A child that is silent for longer hangs. Under Wine each lock is a call to one server, which may get little of a
/// busy machine.
pub const PATIENCE: Duration = Duration::from_secs(if cfg!(windows) { 240 } else { 60 });

/// A child process.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// The command that runs the test `child` of this program with a task.
pub fn command(task: &str, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(TASK, task).env(ARGS, args.join(SEPARATOR));
    command
}

/// Like [`command`], but run by another program, which gets this program's path and arguments after its own.
pub fn command_through(wrapper: &[&str], task: &str, args: &[&str]) -> Command {
    let inner = command(task, args);
    let mut outer = Command::new(wrapper[0]);
    outer.args(&wrapper[1..]).arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

/// Starts a child.
pub fn start(task: &str, args: &[&str]) -> Process {
    start_command(command(task, args))
}

/// Starts a child in new namespaces; prints the reason and returns `None` where that is not permitted.
#[cfg(target_os = "linux")]
pub fn start_unshared(what: &[&str], task: &str, args: &[&str]) -> Option<Process> {
    let wrapper: Vec<_> = ["unshare"].iter().chain(what).copied().collect();
    let tried = output(Command::new(wrapper[0]).args(&wrapper[1..]).arg("true"));
    match tried {
        Ok(output) if output.status.success() => Some(start_command(command_through(&wrapper, task, args))),
        Ok(output) => {
            println!("skipped: {wrapper:?}: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("skipped: {wrapper:?}: {error}");
            None
        }
    }
}

/// Starts a child by a command that ends up in [`serve`].
pub fn start_command(mut command: Command) -> Process {
    let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let stdout = child.stdout.take().unwrap();
    let (heard, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(at) = line.find(MARK) {
                // When the test is over, nobody receives the lines any more.
                let _ = heard.send(line[at + MARK.len()..].to_owned());
            }
        }
    });
    Process { child, lines }
}

/// Starts a process. On a busy machine, Wine sometimes reports an internal failure instead; Windows does not, so this
/// tries again.
fn spawn(command: &mut Command) -> Child {
    const INTERNAL_ERROR: i32 = 1359;
    for _ in 0..10 {
        match counted(|| command.spawn()) {
            Err(error) if cfg!(windows) && error.raw_os_error() == Some(INTERNAL_ERROR) => {
                std::thread::sleep(Duration::from_millis(200));
            }
            other => return other.unwrap(),
        }
    }
    panic!("no process could be started in ten attempts")
}

/// The output of a command that is no test.
pub fn output(command: &mut Command) -> std::io::Result<Output> {
    counted(|| command.output())
}

static STARTS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN_STARTS: Cell<u64> = const { Cell::new(0) };
}

/// A number that changes when another thread of this program begins to start a process, and when the process runs. A
/// process that this thread starts runs before the thread goes on.
pub fn starts_of_others() -> u64 {
    STARTS.load(Ordering::SeqCst) - OWN_STARTS.get()
}

fn counted<T>(start: impl FnOnce() -> T) -> T {
    let count = || {
        OWN_STARTS.set(OWN_STARTS.get() + 1);
        STARTS.fetch_add(1, Ordering::SeqCst);
    };
    count();
    let started = start();
    count();
    started
}

/// In the test that runs as a child: does the task from the parent, and ends the process. Without a task it does
/// nothing.
pub fn serve(work: impl FnOnce(&str, &[&str])) {
    let Ok(task) = std::env::var(TASK) else { return };
    let args = std::env::var(ARGS).unwrap();
    work(&task, &args.split(SEPARATOR).collect::<Vec<_>>());
    std::process::exit(0);
}

/// In a child: sends a line to the parent.
pub fn say(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{MARK}{what}").and_then(|()| out.flush());
}

/// In a child: tells the parent, which would hear nothing else for a long time, that the work goes on. The parent must
/// be able to tell slow work from a hang.
pub fn go_on() {
    say(GOING_ON);
}

/// In a child: waits for a line from the parent, or for its end; returns the line.
pub fn wait_for_word() -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    // Byte by byte: a forked child would miss bytes that a buffer has read ahead.
    while matches!(std::io::stdin().lock().read(&mut byte), Ok(1)) && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's next line; `None` at the end of its output.
    pub fn hear(&mut self) -> Option<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == GOING_ON => {}
                Ok(line) => return Some(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("a child hangs"),
            }
        }
    }

    /// Checks the child's next line.
    #[track_caller]
    pub fn expect(&mut self, expected: &str) {
        assert_eq!(self.hear().as_deref(), Some(expected), "what a child says");
    }

    pub fn tell(&mut self, what: &str) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{what}").unwrap();
    }

    /// Kills the child; its input stays open for children that it forked.
    pub fn kill(&mut self) -> ExitStatus {
        // The child may have ended by itself.
        let _ = self.child.kill();
        self.wait_with_input()
    }

    /// Waits for the child's end without closing its input.
    pub fn wait_with_input(&mut self) -> ExitStatus {
        let stdin = self.child.stdin.take();
        let status = self.child.wait().unwrap();
        self.child.stdin = stdin;
        status
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Closes the child's input, and returns its lines until it ends.
    pub fn hear_all(&mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        std::iter::from_fn(|| self.hear()).collect()
    }

    /// Closes the child's input, waits for its end, and checks that it succeeded.
    #[track_caller]
    pub fn finish(mut self) {
        self.hear_all();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "a child ended with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
