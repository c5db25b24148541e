//! What the contract of locks says, a check each.

use super::attached::{Attached, count_in_file, counter_path, expect_busy, lock};
use super::child::Task;
use super::worker::Worker;
use super::{AFTER_DEATH, LONG, PROCESS_ROUNDS, SHORT, THREAD_ROUNDS, Trouble, WORKERS, fail};
use crate::platform::Pause;
use crate::sync::locks::{LockError, LockPlace, LockStrategy};
use std::fs;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub(super) type Run = fn(&Bench<'_>) -> Result<(), Trouble>;

/// Every check, the simple ones first: a strategy that fails is told by its simplest failure.
pub(super) const CHECKS: &[(&str, Run)] = &[
    ("threads exclude each other", threads_exclude),
    ("two attachments of one process exclude each other", attachments_exclude),
    ("a wait for another thread ends at its limit, not before", busy_thread),
    ("a lock that was unlocked is given to a thread that waits", given_to_thread),
    ("a panic unlocks", panic_unlocks),
    ("regions do not wait for each other", regions_are_apart),
    ("readers share the lock, a writer excludes them", readers_share),
    ("processes exclude each other", processes_exclude),
    ("a wait for another process ends at its limit, not before", busy_process),
    ("a lock that was unlocked is given to a process that waits", given_to_process),
    ("the lock of a killed process is given on", killed_gives),
    ("the lock of a stopped process is not given on", stopped_keeps),
    ("a forked child does not hold what its parent holds", fork_does_not_hold),
    ("a forked child excludes its parent, and is excluded", fork_excludes),
    ("locks that are lost are an error, not a second set", lost_is_an_error),
];

/// A strategy with fresh locks at a place.
pub(super) struct Bench<'a> {
    pub strategy: &'a LockStrategy,
    pub place: LockPlace,
    pub child: &'a dyn Fn(&str) -> Command,
}

impl Bench<'_> {
    fn attach(&self) -> Result<Attached, Trouble> {
        Ok(Attached::new(self.strategy, &self.place)?)
    }

    /// Leaves out what needs exclusion at all.
    fn needs_locks(&self) -> Result<(), Trouble> {
        match self.strategy {
            LockStrategy::None => Err(Trouble::Skip("the caller promises one writer, there is nothing to exclude")),
            _ => Ok(()),
        }
    }

    /// Leaves out what needs several processes, or several openings of the file.
    fn needs_processes(&self) -> Result<(), Trouble> {
        self.needs_locks()?;
        match self.strategy {
            LockStrategy::Process => {
                Err(Trouble::Skip("it is for the threads of one process, that opens the file once"))
            }
            _ => Ok(()),
        }
    }

    /// Starts a child with a task; what it works on besides the locks lies in their directory.
    fn start(&self, task: Task, region: u32) -> Result<Worker, Trouble> {
        let text = format!("{} {region} {}", task.name(), self.place.directory.display());
        Worker::start((self.child)(&text))
    }

    /// Starts a child that holds a region.
    fn start_holder(&self, region: u32) -> Result<Worker, Trouble> {
        let mut holder = self.start(Task::Hold, region)?;
        holder.expect("waiting")?;
        holder.expect("locked")?;
        Ok(holder)
    }
}

/// Runs something on a thread of its own.
fn on_thread<T: Send>(work: impl FnOnce() -> Result<T, Trouble> + Send) -> Result<T, Trouble> {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(fail("a thread panicked")))
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

/// Threads add to a counter with a load and a store of its own each: two at once lose what one of them added.
fn count_together(attached: &[&Attached]) -> Result<(), Trouble> {
    let (counter, start) = (AtomicU64::new(0), Barrier::new(WORKERS as usize));
    let work = |locks: &Attached| -> Result<(), Trouble> {
        start.wait();
        for _ in 0..THREAD_ROUNDS {
            let _held = lock(locks, 0)?;
            let seen = counter.load(Ordering::Relaxed);
            // Without a lock, everybody else comes in here.
            thread::yield_now();
            counter.store(seen + 1, Ordering::Relaxed);
        }
        Ok(())
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
    if found == expected { Ok(()) } else { Err(fail(format!("{expected} additions under the lock came to {found}"))) }
}

fn busy_thread(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    let locks = bench.attach()?;
    let _held = lock(&locks, 0)?;
    on_thread(|| expect_busy(&locks, 0))
}

fn given_to_thread(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    let locks = bench.attach()?;
    let held = lock(&locks, 0)?;
    let locks = &locks;
    thread::scope(|scope| {
        let waiter = scope.spawn(move || lock(locks, 0).map(drop));
        thread::sleep(SHORT);
        let early = waiter.is_finished();
        drop(held);
        waiter.join().unwrap_or_else(|_| Err(fail("a thread panicked")))?;
        if early { Err(fail("it was given while it was held")) } else { Ok(()) }
    })
}

fn panic_unlocks(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    let locks = bench.attach()?;
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = lock(&locks, 0);
        // Not `panic!`, which would print.
        std::panic::resume_unwind(Box::new("of the conformance suite"));
    }));
    if unwound.is_ok() {
        return Err(fail("nothing was unwound"));
    }
    on_thread(|| lock(&locks, 0).map(drop))
}

fn regions_are_apart(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_locks()?;
    if matches!(bench.strategy, LockStrategy::RwFile) {
        return Err(Trouble::Skip("it has one lock for the whole cache"));
    }
    let locks = bench.attach()?;
    let _held = lock(&locks, 1)?;
    for region in [0, 2, 3] {
        on_thread(|| lock(&locks, region).map(drop))?;
    }
    on_thread(|| expect_busy(&locks, 1))
}

fn readers_share(bench: &Bench<'_>) -> Result<(), Trouble> {
    let locks = bench.attach()?;
    if !locks.locks.reads_are_locked() {
        return Err(Trouble::Skip("reads take no lock"));
    }
    let read = |locks: &Attached| locks.locks.lock_shared(0, SHORT).map(|guard| guard.is_some());
    {
        let other = bench.attach()?;
        let _shared = locks.locks.lock_shared(0, LONG)?;
        on_thread(|| if read(&locks)? && read(&other)? { Ok(()) } else { Err(fail("no guard for a reader")) })?;
        on_thread(|| expect_busy(&locks, 0))?;
        on_thread(|| expect_busy(&other, 0))?;
    }
    let _held = lock(&locks, 0)?;
    match on_thread(|| Ok(read(&locks)))? {
        Err(LockError::Busy) => Ok(()),
        _ => Err(fail("a reader came in beside a writer")),
    }
}

fn processes_exclude(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let path = counter_path(&bench.place.directory);
    fs::write(&path, 0u64.to_le_bytes())?;
    let locks = bench.attach()?;
    let mut workers = Vec::new();
    for _ in 1..WORKERS {
        workers.push(bench.start(Task::Count, 0)?);
    }
    workers.iter_mut().try_for_each(|worker| worker.expect("ready"))?;
    workers.iter_mut().try_for_each(|worker| worker.tell("go"))?;
    count_in_file(&locks, &path)?;
    workers.into_iter().try_for_each(Worker::finish)?;
    let counted = fs::read(&path)?;
    expect_count(u64::from_le_bytes(counted.try_into().unwrap_or_default()), WORKERS * PROCESS_ROUNDS)
}

fn busy_process(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut holder = bench.start_holder(0)?;
    expect_busy(&locks, 0)?;
    if !matches!(bench.strategy, LockStrategy::RwFile) {
        drop(lock(&locks, 1)?);
    }
    holder.tell("unlock")?;
    holder.expect("unlocked")?;
    drop(lock(&locks, 0)?);
    holder.finish()
}

fn given_to_process(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let held = lock(&locks, 0)?;
    let mut waiter = bench.start(Task::Hold, 0)?;
    waiter.expect("waiting")?;
    thread::sleep(SHORT);
    drop(held);
    waiter.expect("locked")?;
    expect_busy(&locks, 0)?;
    waiter.tell("unlock")?;
    waiter.finish()
}

fn killed_gives(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut holder = bench.start_holder(0)?;
    expect_busy(&locks, 0)?;
    holder.kill()?;
    drop(locks.lock(0, AFTER_DEATH)?);
    // And to the next, in a process of its own.
    let mut next = bench.start_holder(0)?;
    next.tell("unlock")?;
    next.finish()
}

fn stopped_keeps(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut holder = bench.start_holder(0)?;
    holder.pause(Pause::Stop)?;
    expect_busy(&locks, 0)?;
    expect_busy(&locks, 0)?;
    holder.pause(Pause::Resume)?;
    holder.tell("unlock")?;
    holder.expect("unlocked")?;
    drop(lock(&locks, 0)?);
    holder.finish()
}

/// The parent is killed in the middle while its child lives: the child must not keep the lock alive.
fn fork_does_not_hold(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut parent = bench.start(Task::Fork, 0)?;
    parent.expect_forked()?;
    expect_busy(&locks, 0)?;
    parent.kill()?;
    drop(locks.lock(0, AFTER_DEATH)?);
    // The child was there all the time, else nothing is proved.
    parent.tell("are you there?")?;
    parent.expect("alive")?;
    parent.drain()
}

/// The parent holds the lock and lives: its child waits for it like everybody, and then excludes others.
fn fork_excludes(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    let locks = bench.attach()?;
    let mut parent = bench.start(Task::ForkAndLock, 0)?;
    parent.expect_forked()?;
    parent.expect("child: busy")?;
    parent.expect("child: locked")?;
    expect_busy(&locks, 0)?;
    parent.tell("unlock")?;
    parent.expect("child: unlocked")?;
    drop(lock(&locks, 0)?);
    parent.finish()
}

fn lost_is_an_error(bench: &Bench<'_>) -> Result<(), Trouble> {
    bench.needs_processes()?;
    // A lease is a file only once a member was there. It has left: a file that is open may keep its name.
    drop(bench.attach()?);
    for entry in fs::read_dir(&bench.place.directory)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    let Ok(locks) = bench.attach() else { return Ok(()) };
    match locks.lock(0, SHORT) {
        Err(LockError::Failed(_)) => Ok(()),
        Err(LockError::Busy) => Err(fail("expected an error, found Busy")),
        Ok(_) => Err(fail("the files of the locks were deleted, and still one was given")),
    }
}
