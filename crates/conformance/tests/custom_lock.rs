//! A complete custom lock strategy, [`RegionFiles`]. The tests run the conformance suite for it and for strategies that
//! only seem to work, and share a cache between two processes under it.
//!
//! The contract in [`kennel::locks`] lists the requirements. The hard parts are not in the locking:
//!
//! * *A killed owner's lock is released.* So the system must release it: a directory or a file that exists while the
//!   lock is held outlives its owner.
//! * *A stopped owner's lock is not released.* So no lock may be taken away because its time is up.
//! * *A forked child does not keep its parent's lock.* A lock like `flock` belongs to the open file, which a child
//!   inherits; [`LockFile`] is an open file that a forked child loses. Record locks (`fcntl`) are not inherited, but
//!   they vanish as soon as the process closes *any* descriptor of that file.
//! * *Threads exclude each other, too.* A lock like `flock` does not exclude threads that share the open file, so the
//!   strategy needs another lock in front of it.

mod again;

use again::again;
use fs2::FileExt;
use kennel::locks::{LockError, LockFactory, LockFile, LockPlace, LockRegions};
use kennel::{Cache, Error, LockStrategy, Options};
use kennel_conformance::{Failure, Report, Suite, child as child_of_suite};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One file per lock region, in the cache's lock directory.
struct RegionFiles;

impl RegionFiles {
    fn path(directory: &Path, region: u32) -> PathBuf {
        directory.join(format!("region-{region}.lock"))
    }

    /// A file that was deleted and created anew is empty, so its length shows that it is not the file that other
    /// processes lock.
    fn length(region: u32) -> u64 {
        u64::from(region) + 1
    }
}

impl LockFactory for RegionFiles {
    fn name(&self) -> &str {
        "region-files"
    }

    fn id(&self) -> u64 {
        1000
    }

    fn prepare(&self, place: &LockPlace) -> io::Result<()> {
        (0..place.regions).try_for_each(|region| {
            let file = File::create_new(Self::path(&place.directory, region))?;
            file.set_len(Self::length(region))
        })
    }

    fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        let open = |region| {
            let path = Self::path(&place.directory, region);
            let file = LockFile::open(&path)?;
            if file.metadata()?.len() != Self::length(region) {
                let why = format!("{}: made anew, the others lock another one", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
            Ok(RegionFile { taken: Mutex::new(false), freed: Condvar::new(), file })
        };
        let regions: io::Result<Vec<_>> = (0..place.regions).map(open).collect();
        Ok(Box::new(Attached(regions?)))
    }
}

/// The state of one process. A forked child attaches anew, so no two processes use the same state.
struct Attached(Vec<RegionFile>);

struct RegionFile {
    /// Whether a thread of this process holds the region, or tries to lock it.
    taken: Mutex<bool>,
    freed: Condvar,
    file: LockFile,
}

impl LockRegions for Attached {
    fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError> {
        let region = &self.0[region as usize];
        let start = Instant::now();
        if !region.take(limit) {
            return Err(LockError::Busy);
        }
        let got = region.lock_file(start, limit);
        if got.is_err() {
            region.free();
        }
        got
    }

    fn unlock(&self, region: u32) {
        let region = &self.0[region as usize];
        // Unlocking a locked file does not fail.
        let _ = FileExt::unlock(&*region.file);
        region.free();
    }
}

impl RegionFile {
    /// Excludes the other threads of this process.
    fn take(&self, limit: Duration) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.freed.wait_timeout_while(taken, limit, |taken| *taken);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return false;
        }
        *taken = true;
        true
    }

    fn free(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.freed.notify_one();
    }

    /// Excludes the other processes. A blocking call would have no limit, so this tries again and again.
    fn lock_file(&self, start: Instant, limit: Duration) -> Result<(), LockError> {
        loop {
            match FileExt::try_lock_exclusive(&*self.file) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() != fs2::lock_contended_error().raw_os_error() => {
                    return Err(LockError::Failed(error));
                }
                Err(_) if start.elapsed() >= limit => return Err(LockError::Busy),
                Err(_) => thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

/// The strategies of this file by name, for a child process.
fn strategy(name: &str) -> LockStrategy {
    match name {
        "region-files" => LockStrategy::Custom(Arc::new(RegionFiles)),
        name => LockStrategy::Custom(Arc::new(flawed::Flawed::named(name))),
    }
}

#[test]
fn child() {
    let Some((what, task)) = again::task() else { return };
    match what.as_str() {
        "add" => add(Path::new(&task)),
        name => child_of_suite(&strategy(name), &task),
    }
}

fn run_suite(name: &str) -> Result<Report, Failure> {
    let again = |task: &str| -> Command { again(name, task) };
    Suite::new(strategy(name), &again).run()
}

#[test]
fn region_files_keep_the_contract() {
    let report = run_suite("region-files").unwrap_or_else(|failure| panic!("{failure}"));
    let skipped: Vec<_> = report.checks.iter().filter(|check| check.skipped.is_some()).map(|c| c.name).collect();
    if cfg!(unix) {
        assert_eq!(skipped, ["readers share the lock, a writer excludes them"], "{report}");
    }
}

const ROUNDS: u64 = 300;

fn options() -> Options {
    Options::new().capacity(256 << 10).stripes(4).locks(strategy("region-files"))
}

fn increment(cache: &Cache, key: &str, times: u64) {
    (0..times).for_each(|_| assert!(cache.incr(key, 1).unwrap().is_some()));
}

fn add(path: &Path) {
    let cache = options().open(path).unwrap();
    increment(&cache, "ready", 1);
    wait_for(&cache, "go", "1");
    increment(&cache, "counter", ROUNDS);
}

fn wait_for(cache: &Cache, key: &str, value: &str) {
    let start = Instant::now();
    while cache.get(key).as_deref() != Some(value.as_bytes()) {
        assert!(start.elapsed() < Duration::from_secs(60), "{key} never is {value}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn processes_share_a_cache_under_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("cache");
    let cache = options().create(&path).unwrap();
    assert_eq!(cache.stats().strategy, "region-files");
    ["ready", "counter"].into_iter().for_each(|key| cache.set(key, "0").unwrap());
    let others: Vec<_> = (0..2).map(|_| again("add", path.to_str().unwrap()).spawn().unwrap()).collect();
    wait_for(&cache, "ready", "2");
    cache.set("go", "1").unwrap();
    increment(&cache, "counter", ROUNDS);
    others.into_iter().for_each(|mut other| assert!(other.wait().unwrap().success()));
    assert_eq!(cache.get("counter"), Some((3 * ROUNDS).to_string().into_bytes()));
    assert!(cache.verify().is_ok());
}

#[test]
fn a_lock_of_it_that_was_made_anew_is_refused() {
    let (place, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = place.path().join("cache");
    let cache = options().create(&path).unwrap();
    let directory = place.path().join("cache.locks").join(cache.stats().file_id);
    let lock = RegionFiles::path(&directory, 0);
    // On Windows, removing an open file does not free its name.
    fs::rename(&lock, elsewhere.path().join("taken")).unwrap();
    assert!(matches!(options().open(&path), Err(Error::LocksLost { .. })));
    File::create_new(&lock).unwrap();
    let refused = options().open(&path);
    assert!(matches!(&refused, Err(Error::LocksLost { detail, .. }) if detail.contains("made anew")), "{refused:?}");
    // A process that has the old file open continues to use it.
    cache.set("key", "value").unwrap();
}

/// Wrong strategies, each with one flaw that the suite finds.
mod flawed {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Clone, Copy, PartialEq)]
    pub enum Flaw {
        /// Locks nothing.
        Nothing,
        /// Excludes the threads of one attachment only.
        ThreadsOnly,
        /// A directory that exists while the lock is held.
        Directory,
        /// Like `Directory`, but takes the lock away from an owner that seems to take too long.
        Impatient,
        /// Like `RegionFiles`, but with an open file that a forked child keeps.
        Inherited,
        /// Does not wait.
        Hasty,
        /// Recreates missing locks.
        MakesAnew,
    }

    const NAMES: [(Flaw, &str); 7] = [
        (Flaw::Nothing, "nothing"),
        (Flaw::ThreadsOnly, "threads-only"),
        (Flaw::Directory, "directory"),
        (Flaw::Impatient, "impatient"),
        (Flaw::Inherited, "inherited"),
        (Flaw::Hasty, "hasty"),
        (Flaw::MakesAnew, "makes-anew"),
    ];

    pub struct Flawed(Flaw);

    impl Flawed {
        pub fn named(name: &str) -> Self {
            Self(NAMES.into_iter().find(|&(_, known)| known == name).unwrap().0)
        }
    }

    impl LockFactory for Flawed {
        fn name(&self) -> &str {
            NAMES.into_iter().find(|&(known, _)| known == self.0).unwrap().1
        }

        fn id(&self) -> u64 {
            1001
        }

        fn prepare(&self, place: &LockPlace) -> io::Result<()> {
            RegionFiles.prepare(place)
        }

        fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
            if self.0 == Flaw::MakesAnew && !RegionFiles::path(&place.directory, 0).exists() {
                self.prepare(place)?;
            }
            let sound = RegionFiles.attach(place)?;
            let region = |region| {
                let path = RegionFiles::path(&place.directory, region);
                Ok(Region {
                    taken: AtomicBool::new(false),
                    directory: path.with_extension("held"),
                    file: File::options().read(true).write(true).open(path)?,
                })
            };
            let regions: io::Result<Vec<_>> = (0..place.regions).map(region).collect();
            Ok(Box::new(Attached { flaw: self.0, sound, regions: regions? }))
        }
    }

    struct Attached {
        flaw: Flaw,
        sound: Box<dyn LockRegions>,
        regions: Vec<Region>,
    }

    struct Region {
        taken: AtomicBool,
        directory: PathBuf,
        file: File,
    }

    impl Region {
        fn try_lock(&self, flaw: Flaw) -> bool {
            match flaw {
                Flaw::ThreadsOnly => !self.taken.swap(true, Ordering::Acquire),
                Flaw::Directory | Flaw::Impatient => fs::create_dir(&self.directory).is_ok(),
                Flaw::Inherited => {
                    let taken = !self.taken.swap(true, Ordering::Acquire);
                    if taken && FileExt::try_lock_exclusive(&self.file).is_err() {
                        self.taken.store(false, Ordering::Release);
                        return false;
                    }
                    taken
                }
                Flaw::Nothing | Flaw::Hasty | Flaw::MakesAnew => true,
            }
        }
    }

    impl LockRegions for Attached {
        fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError> {
            match self.flaw {
                Flaw::Hasty => return self.sound.lock(region, Duration::ZERO.min(limit)),
                Flaw::MakesAnew => return self.sound.lock(region, limit),
                _ => {}
            }
            let start = Instant::now();
            while !self.regions[region as usize].try_lock(self.flaw) {
                if self.flaw == Flaw::Impatient && start.elapsed() > Duration::from_millis(100) {
                    return Ok(());
                }
                if start.elapsed() >= limit {
                    return Err(LockError::Busy);
                }
                thread::sleep(Duration::from_micros(100));
            }
            Ok(())
        }

        fn unlock(&self, number: u32) {
            let region = &self.regions[number as usize];
            match self.flaw {
                Flaw::Hasty | Flaw::MakesAnew => return self.sound.unlock(number),
                Flaw::Directory | Flaw::Impatient => drop(fs::remove_dir(&region.directory)),
                Flaw::Inherited => drop(FileExt::unlock(&region.file)),
                Flaw::Nothing | Flaw::ThreadsOnly => {}
            }
            region.taken.store(false, Ordering::Release);
        }
    }

    fn fails(name: &str) -> &'static str {
        match run_suite(name) {
            Err(failure) => failure.check,
            Ok(report) => panic!("a flawed strategy passed: {report}"),
        }
    }

    #[test]
    fn the_suite_finds_what_is_wrong() {
        assert_eq!(fails("nothing"), "threads exclude each other");
        assert_eq!(fails("threads-only"), "two attachments of one process exclude each other");
        assert_eq!(fails("directory"), "the lock of a killed process is released");
        assert_eq!(fails("makes-anew"), "lost locks are an error, and no second set is made");
    }

    #[test]
    fn the_suite_finds_one_that_does_not_wait_and_one_that_does_not_wait_long_enough() {
        // Chance decides which check fails first: a thread gets `Busy`, or the lock, too early.
        for name in ["hasty", "impatient"] {
            let check = fails(name);
            let known = ["threads exclude", "two attachments", "a wait for another thread"];
            assert!(known.iter().any(|known| check.starts_with(known)), "{name}: {check}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_suite_finds_a_lock_that_a_forked_child_keeps() {
        assert_eq!(fails("inherited"), "a forked child does not hold its parent's locks");
    }
}
