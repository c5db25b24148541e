//! The child processes of the suite.

use crate::attached::{Attached, counter_path};
use crate::process;
use crate::trouble::{Trouble, fail};
use kennel::LockStrategy;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The beginning of a child's lines, which distinguishes them from the output of a test harness.
pub(crate) const MARK: &str = "kennel-conformance: ";
/// The message of a child that cannot fork.
pub(crate) const NO_FORK: &str = "no fork";

/// The task of a child.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Lock, and unlock when told to.
    Hold,
    /// Add to the counter in the file.
    Count,
    /// Lock, then fork a process that lives on.
    Fork,
    /// Lock, then fork a process that locks, too.
    ForkAndLock,
}

impl Task {
    const ALL: [Task; 4] = [Task::Hold, Task::Count, Task::Fork, Task::ForkAndLock];

    fn name(self) -> &'static str {
        match self {
            Task::Hold => "hold",
            Task::Count => "count",
            Task::Fork => "fork",
            Task::ForkAndLock => "fork-and-lock",
        }
    }

    /// The text that gives a child this task, with the cache file in a directory.
    pub(crate) fn text(self, region: u32, directory: &Path) -> String {
        format!("{} {region} {}", self.name(), directory.display())
    }
}

/// Does the task of a child process of a [`Suite`](crate::Suite) for the same strategy, and ends the process.
pub fn child(strategy: &LockStrategy, task: &str) -> ! {
    let status = match work(strategy, task) {
        Ok(()) => 0,
        Err(Trouble::Skip(detail)) => {
            say(detail);
            0
        }
        Err(Trouble::Fail(detail)) => {
            say(&detail);
            1
        }
    };
    std::process::exit(status)
}

fn work(strategy: &LockStrategy, task: &str) -> Result<(), Trouble> {
    let mut words = task.splitn(3, ' ');
    let (Some(name), Some(region), Some(directory)) = (words.next(), words.next(), words.next()) else {
        return Err(fail(format!("expected a task of the suite, found {task:?}")));
    };
    let region = region.parse().map_err(|error| fail(format!("region {region:?}: {error}")))?;
    let Some(task) = Task::ALL.into_iter().find(|task| task.name() == name) else {
        return Err(fail(format!("no task {name:?}")));
    };
    let directory = Path::new(directory);
    let locks = Attached::open(strategy, directory)?;
    match task {
        Task::Hold => hold(&locks, region),
        Task::Count => {
            say("ready");
            wait_for_word();
            locks.count_in_file(&counter_path(directory))
        }
        Task::Fork | Task::ForkAndLock => {
            Family { locks, directory, region, and_lock: task == Task::ForkAndLock }.part()
        }
    }
}

fn hold(locks: &Attached, region: u32) -> Result<(), Trouble> {
    say("waiting");
    locks.hold(region, || {
        say("locked");
        wait_for_word();
    })?;
    say("unlocked");
    Ok(())
}

/// A child of the suite, and the process that it forks.
struct Family<'a> {
    locks: Attached,
    directory: &'a Path,
    region: u32,
    /// Whether the forked process locks, too.
    and_lock: bool,
}

impl Family<'_> {
    /// Forks while holding the lock.
    fn part(&self) -> Result<(), Trouble> {
        let is_forked = self.locks.hold(self.region, || -> io::Result<bool> {
            if process::fork()? {
                // Dropping the inherited guard has no effect.
                return Ok(true);
            }
            say("forked");
            // The parent holds the lock until the forked process has found it busy, or until it is killed.
            if self.and_lock {
                self.wait_for("found-it-busy");
            } else {
                self.wait_for("done");
            }
            Ok(false)
        })?;
        match is_forked {
            Ok(true) => {
                let done = self.in_forked();
                self.note("done")?;
                done
            }
            Ok(false) => {
                // The forked process reads the input of both, so the parent waits until it has finished.
                self.wait_for("done");
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Err(Trouble::Skip(NO_FORK)),
            Err(error) => Err(error.into()),
        }
    }

    fn in_forked(&self) -> Result<(), Trouble> {
        if !self.and_lock {
            wait_for_word();
            say("alive");
            return Ok(());
        }
        self.locks.expect_busy(self.region)?;
        say("child: busy");
        self.note("found-it-busy")?;
        self.locks.hold(self.region, || {
            say("child: locked");
            wait_for_word();
        })?;
        say("child: unlocked");
        Ok(())
    }

    /// Tells the other process that something has happened.
    fn note(&self, what: &str) -> io::Result<()> {
        File::create(self.directory.join(what)).map(drop)
    }

    /// Waits until the other process notes something.
    fn wait_for(&self, what: &str) {
        let note = self.directory.join(what);
        while !note.exists() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Waits for a line from the suite, or for the end of the suite.
fn wait_for_word() {
    let mut byte = [0];
    // Byte by byte: a forked process would miss bytes that a buffer has read ahead.
    while matches!(io::stdin().lock().read(&mut byte), Ok(1)) && byte[0] != b'\n' {}
}

fn say(what: &str) {
    let mut out = io::stdout().lock();
    // If nobody reads this any more, the suite has ended, and so will this process.
    let _ = writeln!(out, "{MARK}{what}").and_then(|()| out.flush());
}
