//! One suite for the [contract of locks](crate::locks): for the built-in strategies and for one of your own.
//!
//! Exclusion among processes, and what becomes of the lock of one that is killed or stopped, can only be seen
//! with processes. So the suite starts some, through a command that you give it and that must end up in
//! [`child`]. In a test that is the test program itself, told to run one test only:
//!
//! ```
//! use kennel::LockStrategy;
//! use kennel::conformance::{Suite, child};
//! use std::process::Command;
//!
//! const TASK: &str = "LOCK_SUITE_TASK";
//!
//! // #[test]
//! fn child_of_the_suite() {
//!     // Run by the harness like any other test it does nothing.
//!     if let Ok(task) = std::env::var(TASK) {
//!         child(&LockStrategy::File, &task, None);
//!     }
//! }
//!
//! // #[test]
//! fn file_locks_keep_the_contract() {
//!     let again = |task: &str| {
//!         let mut command = Command::new(std::env::current_exe().unwrap());
//!         command.args(["child_of_the_suite", "--exact", "--nocapture"]).env(TASK, task);
//!         command
//!     };
//!     let report = Suite::new(LockStrategy::File, &again).run().unwrap_or_else(|failure| panic!("{failure}"));
//!     println!("{report}");
//! }
//! ```
//!
//! A strategy passes if [`Suite::run`] returns a [`Report`]; that one lists what was held and what does not
//! apply. Nothing here measures how fast a lock is, and no check passes or fails by being a little slow.

use super::lease::Lease;
use super::locks::{
    LockError, LockFile, LockPlace, LockStrategy, Locks, RegionGuard, lock_file_path, try_lock_exclusive,
};
use super::member::{Owner, SeatError, Seats};
use super::wait::wait_for;
use crate::platform::{self, Pause};
use crate::shm::Geometry;
use crate::shm::layout::Shape;
use crate::shm::mapping::Mapping;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Forks the process: `true` in the child, `false` in the parent. The suite cannot, since that needs `unsafe`.
pub type Fork = fn() -> io::Result<bool>;

/// Lock regions of the place that the suite makes.
const REGIONS: u32 = 4;
/// A limit that is waited for in full.
const SHORT: Duration = Duration::from_millis(150);
/// A limit within which a lock must be given; only a failure takes that long.
const LONG: Duration = Duration::from_secs(30);
/// The same for the lock of a dead owner: the engine promises milliseconds, a busy machine may take more.
const AFTER_DEATH: Duration = Duration::from_secs(8);
/// What a wait may take beyond its limit on a machine that is busy with other things.
const SLACK: Duration = Duration::from_secs(10);
/// Threads, and processes, that add to one counter, and how often each of them does.
const WORKERS: u64 = 4;
const THREAD_ROUNDS: u64 = 400;
const PROCESS_ROUNDS: u64 = 150;
/// What a child's lines begin with, among those of a test harness.
const MARK: &str = "kennel-conformance: ";
/// What a child says that was given no way to fork.
const NO_FORK: &str = "no fork";

/// The suite for one strategy.
pub struct Suite<'a> {
    strategy: LockStrategy,
    child: &'a dyn Fn(&str) -> Command,
}

/// What a strategy that passed was checked for.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the strategy.
    pub strategy: String,
    /// The checks in the order in which they ran.
    pub checks: Vec<Check>,
}

/// One check of the contract.
#[derive(Clone, Debug)]
pub struct Check {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Why it was left out, if it was.
    pub skipped: Option<&'static str>,
}

/// The check that a strategy did not pass.
#[derive(Debug, thiserror::Error)]
#[error("lock strategy {strategy}: \"{check}\" does not hold: {detail}")]
pub struct Failure {
    /// Name of the strategy.
    pub strategy: String,
    /// What should hold.
    pub check: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Report {
    /// Whether a check of this name ran; skipped ones did not.
    #[must_use]
    pub fn held(&self, name: &str) -> bool {
        self.checks.iter().any(|check| check.name == name && check.skipped.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lock strategy {}:", self.strategy)?;
        self.checks.iter().try_for_each(|check| match check.skipped {
            None => write!(f, "\n  held     {}", check.name),
            Some(why) => write!(f, "\n  skipped  {}: {why}", check.name),
        })
    }
}

impl<'a> Suite<'a> {
    /// The suite for `strategy`. The command that `child` makes for a task must come to [`child`](fn@child) with
    /// that task, its standard input and output untouched; text of others around the child's is no matter.
    #[must_use]
    pub fn new(strategy: LockStrategy, child: &'a dyn Fn(&str) -> Command) -> Self {
        Self { strategy, child }
    }

    /// Runs every check that applies, each at a place of its own in the temporary directory.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub fn run(&self) -> Result<Report, Failure> {
        let strategy = self.strategy.name().to_owned();
        let mut report = Report { strategy, checks: Vec::new() };
        for &(name, run) in CHECKS {
            let failed = |detail| Failure { strategy: report.strategy.clone(), check: name, detail };
            let skipped = self.at_new_place(run).map_err(failed)?;
            report.checks.push(Check { name, skipped });
        }
        Ok(report)
    }

    fn at_new_place(&self, run: Run) -> Result<Option<&'static str>, String> {
        let directory = tempfile::Builder::new().prefix("kennel-conformance-").tempdir();
        let directory = directory.map_err(|error| format!("no temporary directory: {error}"))?;
        let place = LockPlace::new(&directory.path().join("locks"), REGIONS);
        make(&self.strategy, &place).map_err(|error| format!("the locks cannot be made: {error}"))?;
        match run(&Bench { strategy: &self.strategy, place, child: self.child }) {
            Ok(()) => Ok(None),
            Err(Trouble::Skip(why)) => Ok(Some(why)),
            Err(Trouble::Fail(detail)) => Err(detail),
        }
    }
}

/// Makes what a cache file's creator would make.
fn make(strategy: &LockStrategy, place: &LockPlace) -> io::Result<()> {
    fs::create_dir(&place.directory)?;
    let (data, geometry) = (data_path(&place.directory), geometry()?);
    File::create_new(data)?.set_len(geometry.file_len)?;
    for number in 0..strategy.lock_files(place.regions) {
        File::create_new(lock_file_path(&place.directory, number))?;
    }
    strategy.prepare(place)
}

/// The file that stands for the cache file: nothing but seats and lock words is used of it.
fn data_path(directory: &Path) -> PathBuf {
    directory.with_file_name("data")
}

fn geometry() -> io::Result<Geometry> {
    let (stripes, lock_regions, seats) = (REGIONS, REGIONS, 16);
    let shape = Shape { capacity: 16 << 10, mean_item: 64, stripes, lock_regions, seats, regions: 1, claims: 1 };
    Geometry::new(shape).map_err(|bad| io::Error::other(bad.expected))
}

/// The locks as one process has them, with what they stand on.
struct Attached {
    locks: Locks,
    data: Mapping,
    geometry: Geometry,
    /// The strategy needs no other: a strategy of the caller's own knows nothing of seats.
    _lease: Option<Lease>,
}

impl Attached {
    fn new(strategy: &LockStrategy, place: &LockPlace) -> io::Result<Self> {
        let (path, geometry) = (data_path(&place.directory), geometry()?);
        // Opened twice: a mapping keeps the locks of the open file that it was made from.
        let (data, file) = (LockFile::open(&path)?, OpenOptions::new().read(true).write(true).open(&path)?);
        let mapping = Mapping::new(&file, geometry.file_len, true)?;
        let (mut owner, mut lease) = (Owner::default(), None);
        if let LockStrategy::Lease = strategy {
            wait_for(LONG, || try_lock_exclusive(&data))?.ok_or(io::ErrorKind::TimedOut)?;
            let seats = Seats { mem: &mapping, geometry: &geometry };
            let (own, held) = seats.take(&place.directory, 0o600, 0).map_err(no_seat)?;
            if !held.is_proof() {
                return Err(io::Error::other("in the temporary directory no lease proves anything"));
            }
            (owner, lease) = (own, Some(held));
        }
        Ok(Self { locks: strategy.attach(place, owner)?, data: mapping, geometry, _lease: lease })
    }

    fn lock(&self, region: u32, limit: Duration) -> Result<RegionGuard<'_>, LockError> {
        self.locks.lock(Seats { mem: &self.data, geometry: &self.geometry }, region, limit)
    }
}

fn no_seat(error: SeatError) -> io::Error {
    match error {
        SeatError::Full => io::Error::other("all seats are taken"),
        SeatError::Lost(detail) => io::Error::new(io::ErrorKind::NotFound, detail),
        SeatError::Io(error) => error,
    }
}

type Run = fn(&Bench<'_>) -> Result<(), Trouble>;

/// Every check, the simple ones first: a strategy that fails is told by its simplest failure.
const CHECKS: &[(&str, Run)] = &[
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

/// Why a check did not hold, or does not apply.
enum Trouble {
    Skip(&'static str),
    Fail(String),
}

fn fail(detail: impl Into<String>) -> Trouble {
    Trouble::Fail(detail.into())
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Fail(error.to_string())
    }
}

impl From<LockError> for Trouble {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy => fail("the lock was not given"),
            LockError::Failed(error) => fail(format!("the lock failed: {error}")),
        }
    }
}

/// A strategy with fresh locks at a place.
struct Bench<'a> {
    strategy: &'a LockStrategy,
    place: LockPlace,
    child: &'a dyn Fn(&str) -> Command,
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
        let mut command = (self.child)(&text);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let Some(stdout) = child.stdout.take() else { return Err(fail("a child without an output")) };
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            // When the check is over nobody listens any more.
            let said = BufReader::new(stdout).lines().map_while(Result::ok);
            let _ = said.into_iter().try_for_each(|line| heard.send(line));
        });
        Ok(Worker { child, lines })
    }

    /// Starts a child that holds a region.
    fn start_holder(&self, region: u32) -> Result<Worker, Trouble> {
        let mut holder = self.start(Task::Hold, region)?;
        holder.expect("waiting")?;
        holder.expect("locked")?;
        Ok(holder)
    }
}

/// Locks within a long limit.
fn lock(locks: &Attached, region: u32) -> Result<RegionGuard<'_>, Trouble> {
    Ok(locks.lock(region, LONG)?)
}

/// Proves that a region is held: a wait for it ends in `Busy`, at its limit and not before.
fn expect_busy(locks: &Attached, region: u32) -> Result<(), Trouble> {
    let start = Instant::now();
    let got = locks.lock(region, SHORT);
    let took = start.elapsed();
    match got {
        Ok(_) => Err(fail("a lock that somebody holds was given away")),
        Err(LockError::Failed(error)) => Err(fail(format!("expected Busy, found an error: {error}"))),
        Err(LockError::Busy) if took < SHORT => Err(fail(format!("Busy after {took:?}, the limit was {SHORT:?}"))),
        Err(LockError::Busy) if took > SHORT + SLACK => {
            Err(fail(format!("Busy only after {took:?}, the limit was {SHORT:?}")))
        }
        Err(LockError::Busy) => Ok(()),
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

fn counter_path(directory: &Path) -> PathBuf {
    directory.join("conformance-counter")
}

/// Adds to the number in a file, in a read and a write of its own.
fn count_in_file(locks: &Attached, path: &Path) -> Result<(), Trouble> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    for _ in 0..PROCESS_ROUNDS {
        let _held = lock(locks, 0)?;
        let mut number = [0; 8];
        file.rewind()?;
        file.read_exact(&mut number)?;
        thread::yield_now();
        file.rewind()?;
        file.write_all(&(u64::from_le_bytes(number) + 1).to_le_bytes())?;
    }
    Ok(())
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

/// A child at work; it is killed when the check that started it is left.
struct Worker {
    child: Child,
    /// What it says; a thread reads it, so that a child that hangs does not hang the suite.
    lines: Receiver<String>,
}

impl Worker {
    /// What the child says next.
    fn hear(&mut self) -> Result<String, Trouble> {
        loop {
            let line = self.lines.recv_timeout(LONG + SLACK).map_err(|error| match error {
                RecvTimeoutError::Timeout => fail("a child hangs"),
                RecvTimeoutError::Disconnected => {
                    fail("a child ended before it was done: did its command come to `conformance::child`?")
                }
            })?;
            // A harness may have begun the line.
            if let Some(at) = line.find(MARK) {
                return Ok(line[at + MARK.len()..].to_owned());
            }
        }
    }

    fn expect(&mut self, expected: &str) -> Result<(), Trouble> {
        let heard = self.hear()?;
        if heard == expected {
            Ok(())
        } else {
            Err(fail(format!("a child should say {expected:?}, and said {heard:?}")))
        }
    }

    fn expect_forked(&mut self) -> Result<(), Trouble> {
        let heard = self.hear()?;
        match heard.as_str() {
            "forked" => Ok(()),
            NO_FORK => Err(Trouble::Skip("the children of this suite were given no way to fork")),
            _ => Err(fail(format!("a child should fork, and said {heard:?}"))),
        }
    }

    fn tell(&mut self, what: &str) -> Result<(), Trouble> {
        let Some(stdin) = &mut self.child.stdin else { return Err(fail("a child without an input")) };
        Ok(writeln!(stdin, "{what}")?)
    }

    fn kill(&mut self) -> Result<(), Trouble> {
        // `wait` closes the child's input, which a forked child of it may still want to read.
        let stdin = self.child.stdin.take();
        self.child.kill()?;
        self.child.wait()?;
        self.child.stdin = stdin;
        Ok(())
    }

    fn pause(&self, what: Pause) -> Result<(), Trouble> {
        match platform::stop_process(self.child.id(), what) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                Err(Trouble::Skip("processes cannot be stopped here"))
            }
            other => Ok(other?),
        }
    }

    /// Closes the input, and hears all until nobody is left to say anything.
    fn drain(&mut self) -> Result<(), Trouble> {
        drop(self.child.stdin.take());
        loop {
            match self.lines.recv_timeout(LONG + SLACK) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => return Err(fail("a child does not end")),
            }
        }
    }

    /// Waits for the child to end well.
    fn finish(mut self) -> Result<(), Trouble> {
        self.drain()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(fail(format!("a child ended with {status}"))) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
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

    fn name(self) -> &'static str {
        match self {
            Task::Hold => "hold",
            Task::Count => "count",
            Task::Fork => "fork",
            Task::ForkAndLock => "fork-and-lock",
        }
    }
}

/// Does what a child process of a [`Suite`] has to do, and ends the process.
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
