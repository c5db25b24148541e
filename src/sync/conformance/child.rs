//! What a child of the suite does.

use super::attached::{Attached, count_in_file, counter_path, expect_busy, lock};
use super::{Fork, MARK, NO_FORK, REGIONS, Trouble, fail};
use crate::sync::locks::{LockFile, LockPlace, LockStrategy};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// What a child does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Locks, and unlocks when it is told to.
    Hold,
    /// Adds to the counter in the file.
    Count,
    /// Locks, then forks a child that lives on.
    Fork,
    /// As that, and the child asks for the lock, too.
    ForkAndLock,
}

impl Task {
    const ALL: [Task; 4] = [Task::Hold, Task::Count, Task::Fork, Task::ForkAndLock];

    pub(super) fn name(self) -> &'static str {
        match self {
            Task::Hold => "hold",
            Task::Count => "count",
            Task::Fork => "fork",
            Task::ForkAndLock => "fork-and-lock",
        }
    }
}

/// Does what a child process of a [`Suite`](super::Suite) has to do, and ends the process.
///
/// `strategy` is the suite's. Without `fork` the checks that fork are skipped.
pub fn child(strategy: &LockStrategy, task: &str, fork: Option<Fork>) -> ! {
    let done = work(strategy, task, fork);
    if let Err(Trouble::Skip(detail)) = done {
        say(detail);
    } else if let Err(Trouble::Fail(detail)) = done {
        say(&detail);
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn work(strategy: &LockStrategy, task: &str, fork: Option<Fork>) -> Result<(), Trouble> {
    let mut words = task.splitn(3, ' ');
    let (Some(name), Some(region), Some(directory)) = (words.next(), words.next(), words.next()) else {
        return Err(fail(format!("expected a task of the suite, found {task:?}")));
    };
    let region = region.parse().map_err(|error| fail(format!("region {region:?}: {error}")))?;
    let place = LockPlace::new(Path::new(directory), REGIONS);
    let Some(task) = Task::ALL.into_iter().find(|task| task.name() == name) else {
        return Err(fail(format!("no task {name:?}")));
    };
    // A member of a cache holds a lease, and with the first `LockFile` come the engine's handlers of a fork.
    let lease = place.directory.join(format!("conformance-lease-{}", std::process::id()));
    File::create(&lease)?;
    let _lease = LockFile::open(&lease)?;
    let locks = Attached::new(strategy, &place)?;
    match task {
        Task::Hold => hold(&locks, region),
        Task::Count => {
            say("ready");
            wait_for_word();
            count_in_file(&locks, &counter_path(&place.directory))
        }
        Task::Fork | Task::ForkAndLock => {
            let Some(fork) = fork else { return Err(Trouble::Skip(NO_FORK)) };
            fork_and_hold(strategy, &place, &locks, region, fork, task == Task::ForkAndLock)
        }
    }
}

fn hold(locks: &Attached, region: u32) -> Result<(), Trouble> {
    say("waiting");
    let held = lock(locks, region)?;
    say("locked");
    wait_for_word();
    drop(held);
    say("unlocked");
    Ok(())
}

fn fork_and_hold(
    strategy: &LockStrategy,
    place: &LockPlace,
    locks: &Attached,
    region: u32,
    fork: Fork,
    and_lock: bool,
) -> Result<(), Trouble> {
    let held = lock(locks, region)?;
    if !fork()? {
        say("forked");
        // The parent holds the lock until the child has found it busy, or until it is killed.
        let seen = place.directory.join("child-found-it-busy");
        while and_lock && !seen.exists() {
            thread::sleep(Duration::from_millis(1));
        }
        if and_lock {
            drop(held);
        }
        // The child reads the input; the parent stays until that is over, or for ever.
        let ended = place.directory.join("child-is-done");
        while !ended.exists() {
            thread::sleep(Duration::from_millis(1));
        }
        return Ok(());
    }
    // An inherited guard does nothing.
    drop(held);
    let done = in_forked_child(strategy, place, region, and_lock);
    File::create(place.directory.join("child-is-done"))?;
    done
}

fn in_forked_child(strategy: &LockStrategy, place: &LockPlace, region: u32, and_lock: bool) -> Result<(), Trouble> {
    if !and_lock {
        wait_for_word();
        say("alive");
        return Ok(());
    }
    // The engine attaches anew in a forked child.
    let locks = Attached::new(strategy, place)?;
    expect_busy(&locks, region)?;
    say("child: busy");
    File::create(place.directory.join("child-found-it-busy"))?;
    let held = lock(&locks, region)?;
    say("child: locked");
    wait_for_word();
    drop(held);
    say("child: unlocked");
    Ok(())
}

/// Waits for a line from the suite, or for its end.
fn wait_for_word() {
    let mut byte = [0];
    // Byte by byte: what a buffer read ahead would be missed by a forked child.
    while matches!(io::stdin().lock().read(&mut byte), Ok(1)) && byte[0] != b'\n' {}
}

fn say(what: &str) {
    let mut out = io::stdout().lock();
    // If nobody listens any more, the suite has ended and so will this.
    let _ = writeln!(out, "{MARK}{what}").and_then(|()| out.flush());
}
