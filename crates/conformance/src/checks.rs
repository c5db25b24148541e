//! The contract of locks as a list of checks.

use crate::attached::{Attached, counter_path};
use crate::child::Task;
use crate::limits::{AFTER_DEATH, PROCESS_ROUNDS, SHORT, THREAD_ROUNDS, WORKERS};
use crate::trouble::{Trouble, fail};
use crate::worker::Worker;
use kennel::{Error, LockStrategy};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub(crate) type Run = fn(&Bench<'_>) -> Result<(), Trouble>;

/// Every check, the simple ones first: the report of a strategy that fails names its simplest failure.
pub(crate) const CHECKS: &[(&str, Run)] = &[
    ("threads exclude each other", threads_exclude),
    ("two attachments of one process exclude each other", attachments_exclude),
    ("a wait for another thread ends at its limit, not before", busy_thread),
    ("a waiting thread gets a lock that is unlocked", given_to_thread),
    ("a panic unlocks", panic_unlocks),
    ("regions do not wait for each other", regions_are_apart),
    ("readers share the lock, a writer excludes them", readers_share),
    ("processes exclude each other", processes_exclude),
    ("a wait for another process ends at its limit, not before", busy_process),
    ("a waiting process gets a lock that is unlocked", given_to_process),
    ("the lock of a killed process is released", killed_gives),
    ("a stopped process keeps its lock", stopped_keeps),
    ("a forked child does not hold its parent's locks", fork_does_not_hold),
    ("a forked child and its parent exclude each other", fork_excludes),
    ("lost locks are an error, and no second set is made", lost_is_an_error),
];

/// A strategy, with a new cache file in a directory.
pub(crate) struct Bench<'a> {
    pub(crate) strategy: &'a LockStrategy,
    pub(crate) directory: &'a Path,
    pub(crate) child: &'a dyn Fn(&str) -> Command,
}

impl Bench<'_> {
    fn attach(&self) -> Result<Attached, Trouble> {
        Attached::open(self.strategy, self.directory)
    }

    /// Skips a check that needs exclusion of any kind.
    fn needs_locks(&self) -> Result<(), Trouble> {
        match self.strategy {
            LockStrategy::None => {
                Err(Trouble::Skip("the caller promises a single writer, so there is nothing to exclude"))
            }
            _ => Ok(()),
        }
    }

    /// Skips a check that needs several processes, or several openings of the file.
    fn needs_processes(&self) -> Result<(), Trouble> {
        self.needs_locks()?;
        match self.strategy {
            LockStrategy::Process => {
                Err(Trouble::Skip("the strategy is for the threads of one process that opens the file once"))
            }
            _ => Ok(()),
        }
    }

    /// Whether one lock protects all regions.
    fn has_one_lock(&self) -> bool {
        matches!(self.strategy, LockStrategy::RwFile)
    }

    /// Starts a child with a task.
    fn start(&self, task: Task, region: u32) -> Result<Worker, Trouble> {
        Worker::start((self.child)(&task.text(region, self.directory)))
    }

    /// Starts a child that holds a region.
    fn start_holder(&self, region: u32) -> Result<Worker, Trouble> {
        let mut holder = self.start(Task::Hold, region)?;
        holder.expect("waiting")?;
        holder.expect("locked")?;
        Ok(holder)
    }
}

/// Runs a function on a new thread.
fn on_thread<T: Send>(work: impl FnOnce() -> Result<T, Trouble> + Send) -> Result<T, Trouble> {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(fail("a thread panicked")))
}

/// Locks a region and unlocks it.
fn pass(locks: &Attached, region: u32) -> Result<(), Trouble> {
    locks.hold(region, || ())
}

fn threads_exclude(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    let locks = bench.attach()?;
    count_together(&[&locks])
}

fn attachments_exclude(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let (one, other) = (bench.attach()?, bench.attach()?);
    count_together(&[&one, &other])
}

/// Threads add to a counter with a separate load and store: if two threads add at the same time, one addition is lost.
fn count_together(attached: &[&Attached]) -> Result<(), Trouble> {
    let (counter, start) = (AtomicU64::new(0), Barrier::new(WORKERS as usize));
    let add = || {
        let seen = counter.load(Ordering::Relaxed);
        // Without a lock, another thread can add between the load and the store.
        thread::yield_now();
        counter.store(seen + 1, Ordering::Relaxed);
    };
    let work = |locks: &Attached| {
        start.wait();
        (0..THREAD_ROUNDS).try_for_each(|_| locks.hold(0, add))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS as usize)
            .map(|i| {
                let locks = attached[i % attached.len()];
                scope.spawn(move || work(locks))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(fail("a thread panicked"))))
    })?;
    expect_count(counter.into_inner(), WORKERS * THREAD_ROUNDS)
}

fn expect_count(found: u64, expected: u64) -> Result<(), Trouble> {
    if found == expected {
        Ok(())
    } else {
        Err(fail(format!("{expected} additions under the lock resulted in {found}")))
    }
}

fn busy_thread(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    let locks = bench.attach()?;
    locks.hold(0, || on_thread(|| locks.expect_busy(0)))?
}

fn given_to_thread(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    let locks = &bench.attach()?;
    thread::scope(|scope| {
        let (waiter, early) = locks.hold(0, || {
            let waiter = scope.spawn(move || pass(locks, 0));
            thread::sleep(SHORT);
            let early = waiter.is_finished();
            (waiter, early)
        })?;
        waiter.join().unwrap_or_else(|_| Err(fail("a thread panicked")))?;
        if early { Err(fail("the waiting thread got the lock while it was held")) } else { Ok(()) }
    })
}

fn panic_unlocks(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    let locks = bench.attach()?;
    // Unlike `panic!`, this prints no message.
    let unwind = || panic::resume_unwind(Box::new("of the conformance suite"));
    match panic::catch_unwind(AssertUnwindSafe(|| locks.hold(0, unwind))) {
        Err(_) => on_thread(|| pass(&locks, 0)),
        Ok(not_locked) => not_locked,
    }
}

fn regions_are_apart(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    if bench.has_one_lock() {
        return Err(Trouble::Skip("the strategy has one lock for the whole cache"));
    }
    let locks = bench.attach()?;
    locks.hold(1, || {
        [0, 2, 3].into_iter().try_for_each(|region| on_thread(|| pass(&locks, region)))?;
        on_thread(|| locks.expect_busy(1))
    })?
}

/// Only under `rw-file` do reads take a lock: a shared lock of the single lock file. The lock that this check takes
/// stands for a reader that is stopped in the middle of a read.
fn readers_share(bench: &Bench<'_>) -> Result<(), Trouble> {
    let LockStrategy::RwFile = bench.strategy else { return Err(Trouble::Skip("reads take no lock")) };
    let attach = || Attached::open_impatient(bench.strategy, bench.directory);
    let (locks, other) = (attach()?, attach()?);
    let reader = OpenOptions::new().read(true).write(true).open(locks.lock_directory().join("0000.lock"))?;
    if !try_share(&reader)? {
        return Err(fail("the readers' lock is held although nobody reads"));
    }
    if !locks.can_read() || !other.can_read() {
        return Err(fail("a reader excluded another reader"));
    }
    on_thread(|| locks.expect_busy(0))?;
    on_thread(|| other.expect_busy(0))?;
    fs2::FileExt::unlock(&reader)?;
    locks.hold(0, || {
        if locks.can_read() || other.can_read() || try_share(&reader)? {
            return Err(fail("a writer did not exclude a reader"));
        }
        Ok(())
    })??;
    if locks.can_read() && other.can_read() {
        Ok(())
    } else {
        Err(fail("a reader could not read although nobody held the lock"))
    }
}

/// Tries to take a shared lock of a file. Returns `false` if the file is locked exclusively.
fn try_share(file: &File) -> io::Result<bool> {
    match fs2::FileExt::try_lock_shared(file) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

fn processes_exclude(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let path = counter_path(bench.directory);
    fs::write(&path, 0u64.to_le_bytes())?;
    let locks = bench.attach()?;
    let mut workers = Vec::new();
    for _ in 1..WORKERS {
        workers.push(bench.start(Task::Count, 0)?);
    }
    workers.iter_mut().try_for_each(|worker| worker.expect("ready"))?;
    workers.iter_mut().try_for_each(|worker| worker.tell("go"))?;
    locks.count_in_file(&path)?;
    workers.into_iter().try_for_each(Worker::finish)?;
    let counted = fs::read(&path)?;
    expect_count(u64::from_le_bytes(counted.try_into().unwrap_or_default()), WORKERS * PROCESS_ROUNDS)
}

fn busy_process(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut holder = bench.start_holder(0)?;
    locks.expect_busy(0)?;
    if !bench.has_one_lock() {
        pass(&locks, 1)?;
    }
    holder.tell("unlock")?;
    holder.expect("unlocked")?;
    pass(&locks, 0)?;
    holder.finish()
}

fn given_to_process(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut waiter = locks.hold(0, || {
        let mut waiter = bench.start(Task::Hold, 0)?;
        waiter.expect("waiting")?;
        thread::sleep(SHORT);
        Ok::<_, Trouble>(waiter)
    })??;
    waiter.expect("locked")?;
    locks.expect_busy(0)?;
    waiter.tell("unlock")?;
    waiter.finish()
}

fn killed_gives(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut holder = bench.start_holder(0)?;
    locks.expect_busy(0)?;
    holder.kill()?;
    locks.hold_within(AFTER_DEATH, 0, || ())?;
    // After that, another process gets the lock, too.
    let mut next = bench.start_holder(0)?;
    next.tell("unlock")?;
    next.finish()
}

fn stopped_keeps(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut holder = bench.start_holder(0)?;
    holder.stop()?;
    locks.expect_busy(0)?;
    locks.expect_busy(0)?;
    holder.resume()?;
    holder.tell("unlock")?;
    holder.expect("unlocked")?;
    pass(&locks, 0)?;
    holder.finish()
}

/// A parent is killed while it holds the lock, and its child lives on: the child must not keep the lock alive.
fn fork_does_not_hold(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut parent = bench.start(Task::Fork, 0)?;
    parent.expect_forked()?;
    locks.expect_busy(0)?;
    parent.kill()?;
    locks.hold_within(AFTER_DEATH, 0, || ())?;
    // The child must have been there all the time; otherwise the check proves nothing.
    parent.tell("are you there?")?;
    parent.expect("alive")?;
    parent.drain()
}

/// A parent holds the lock and lives: its child waits for the lock like any other process, and then excludes others.
fn fork_excludes(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut parent = bench.start(Task::ForkAndLock, 0)?;
    parent.expect_forked()?;
    parent.expect("child: busy")?;
    parent.expect("child: locked")?;
    locks.expect_busy(0)?;
    parent.tell("unlock")?;
    parent.expect("child: unlocked")?;
    pass(&locks, 0)?;
    parent.finish()
}

fn lost_is_an_error(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    // No process uses the files when they are removed: an open file may keep its name.
    let directory = bench.attach()?.lock_directory();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Only one strategy uses leases as its locks. Under any other strategy, the cache would report the missing
        // leases before it reports the missing locks.
        let is_lease = path.extension().is_some_and(|extension| extension == "lease");
        if is_lease && !matches!(bench.strategy, LockStrategy::Lease) {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    let Ok(locks) = bench.attach() else { return Ok(()) };
    match locks.hold_within(SHORT, 0, || ()) {
        Ok(()) => Err(fail("a lock was acquired although its file was deleted")),
        Err(Error::Busy { .. }) => Err(fail("expected an error, found Busy")),
        Err(_) => Ok(()),
    }
}
