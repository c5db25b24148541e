//! Helpers that several integration tests share.
#![allow(dead_code, reason = "each test program uses a part of it")]

#[cfg(not(any(kennel_test_hooks, doc)))]
compile_error!(
    "these tests need `--cfg kennel_test_hooks`, which .cargo/config.toml sets unless RUSTFLAGS takes its place"
);

pub mod children;
pub mod fork;
pub mod mounted;
pub mod raw;
pub mod stop;

use kennel::{Cache, Clock, Options};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Options of a small cache, in which a few hundred items fill a stripe.
pub fn small_options() -> Options {
    Options::new().capacity(256 << 10).stripes(4).mean_item(64).seats(4)
}

/// A small cache at a place of its own.
pub fn small_cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = small_options().create(place.path()).unwrap();
    (place, cache)
}

/// A directory that is removed with the test, with the path of a cache file in it, and another directory for files that
/// are moved away.
pub struct Place {
    dir: tempfile::TempDir,
    away: tempfile::TempDir,
    /// The starts of processes that other threads had counted when this was made.
    starts: u64,
}

impl Place {
    pub fn new() -> Self {
        Self::with(tempfile::tempdir)
    }

    /// Such a place in memory, if there is enough space: for tests that create thousands of files, each of which a disk
    /// would have to write before the file gets its name.
    pub fn in_memory() -> Self {
        const ENOUGH: u64 = 1 << 30;
        let memory = Path::new("/dev/shm");
        let has_room = fs2::available_space(memory).is_ok_and(|room| room >= ENOUGH);
        Self::with(|| if has_room { tempfile::tempdir_in(memory) } else { tempfile::tempdir() })
    }

    fn with(made: impl Fn() -> std::io::Result<tempfile::TempDir>) -> Self {
        Self { dir: made().unwrap(), away: made().unwrap(), starts: children::starts_of_others() }
    }

    /// Removes a file that may be open. Windows frees the name of an open file immediately, but refuses to remove a
    /// mapped file; Wine frees neither before it is closed. There this moves the file out of sight, with the same
    /// effect: its name is gone, and processes that have it open go on.
    pub fn take_away(&self, path: &Path) {
        if cfg!(windows) {
            static TAKEN: AtomicU64 = AtomicU64::new(0);
            let number = TAKEN.fetch_add(1, Ordering::Relaxed);
            std::fs::rename(path, self.away.path().join(number.to_string())).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    /// Removes a directory and everything in it, files that may be open included.
    pub fn take_all_away(&self, directory: &Path) {
        for name in names_in(directory) {
            let path = directory.join(name);
            if path.is_dir() { self.take_all_away(&path) } else { self.take_away(&path) }
        }
        std::fs::remove_dir(directory).unwrap();
    }

    /// The names of the lock directories of the cache file, sorted.
    pub fn lock_directories(&self) -> Vec<String> {
        lock_directories(&self.path())
    }

    /// Whether the file has one lock directory in the end, which may take further calls that tidy up: a replaced file and
    /// its locks stay while any thread of the program is in the middle of a call, and for a moment what a process has that
    /// another test starts.
    pub fn is_tidy(&self, mut tidy: impl FnMut()) -> bool {
        let start = Instant::now();
        while self.lock_directories().len() > 1 && start.elapsed() < children::PATIENCE {
            tidy();
        }
        self.lock_directories().len() == 1
    }

    /// Whether another test has started a process since this was made. It has copies of all locks for a moment.
    pub fn is_disturbed(&self) -> bool {
        children::starts_of_others() != self.starts
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Path of the cache file.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// The names in the directory, sorted.
    pub fn names(&self) -> Vec<String> {
        names_in(self.dir())
    }

    /// The names in the directory after the file was destroyed, or could not be made: there should be none.
    ///
    /// What is locked is left to the next process that tidies up. That is this one, if any other was
    /// [started](Self::is_disturbed).
    pub fn left(&self) -> Vec<String> {
        let start = Instant::now();
        while self.names() == ["cache.locks"] && self.is_disturbed() && start.elapsed() < children::PATIENCE {
            drop(small().create(self.path()).unwrap());
            small().destroy(self.path()).unwrap();
        }
        self.names()
    }
}

/// A small file that holds the items of [`fill`] without evictions.
pub fn small() -> Options {
    Options::new().capacity(64 << 10).stripes(2).seats(4).seed(1)
}

/// Sets twenty items.
pub fn fill(cache: &Cache) {
    (0..20).for_each(|n: u32| cache.set(n.to_le_bytes(), n.to_string()).unwrap());
}

/// How many of these items are there.
pub fn filled(cache: &Cache) -> usize {
    (0..20u32).filter(|n| cache.get(n.to_le_bytes()).is_some_and(|value| value == n.to_string().as_bytes())).count()
}

/// A path as the cache reports it: with all links resolved, and on Windows in the usual form.
pub fn real(path: &Path) -> PathBuf {
    let real = std::fs::canonicalize(path).unwrap();
    match real.to_str().and_then(|real| real.strip_prefix(r"\\?\")) {
        Some(usual) => usual.into(),
        None => real,
    }
}

/// The names in a directory, sorted.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The names of the lock directories of a cache file, sorted.
pub fn lock_directories(path: &Path) -> Vec<String> {
    let mut names = names_in(&locks_root(path));
    // Where directories cannot be locked, this file is locked in place of the parent directory.
    names.retain(|name| name != "root.lock");
    names
}

/// The directory of all lock directories of a cache file.
pub fn locks_root(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".locks");
    name.into()
}

/// A clock that stands still until a test sets it.
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(ms)))
    }

    pub fn ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        moment(self.ms())
    }
}

/// So many milliseconds after the start of 1970.
pub fn moment(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// A small pseudo-random generator; a seed repeats a run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % limit
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A self-proving value: every word contains key and counter. The length is a multiple of eight bytes, and at least
/// eight.
pub fn proof(key: u32, counter: u32, len: usize) -> Vec<u8> {
    let word = (u64::from(key) << 32 | u64::from(counter)).to_le_bytes();
    let mut value = word.repeat(len.div_ceil(8));
    value.truncate(len);
    value
}

/// The counter of a value that [`proof`] made for this key; panics if any word differs.
pub fn proven(key: u32, value: &[u8]) -> u32 {
    let first = u64::from_le_bytes(value.get(..8).expect("a value that proves itself has a word").try_into().unwrap());
    assert_eq!((first >> 32) as u32, key, "a value of another key");
    assert!(value == proof(key, first as u32, value.len()), "a torn value of {} bytes for key {key}", value.len());
    first as u32
}

/// Checks every invariant that the cache can check, in every stripe.
#[track_caller]
pub fn assert_sound(cache: &Cache) {
    let found = cache.verify();
    assert!(found.is_ok() && found.unchecked.is_empty(), "{found:#?}");
}

/// Runs work that must end; panics if it does not, so that a hang is a failure with a name. Work with many short waits
/// takes long on a busy machine, so the limit is that of several children.
#[track_caller]
pub fn must_end<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = run();
        let _ = done.send(());
        result
    });
    if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(children::PATIENCE * 4) {
        panic!("{what} does not end");
    }
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
