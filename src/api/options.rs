//! How a cache file is made and opened.

use super::cache::Cache;
use crate::clock::{Clock, Time};
use crate::error::{Error, Result};
use crate::file::create::create;
use crate::file::header::AfterCrash;
use crate::file::open;
use crate::file::place::resolve;
use crate::file::settings::{OnMismatch, Settings};
use crate::sync::locks::LockStrategy;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a cache file shall be like, and how it is opened.
///
/// Sizes matter when a file is created. When one is opened they are compared with what it has, if they were
/// given; see [`on_mismatch`](Options::on_mismatch).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("cache");
/// let options = kennel::Options::new().capacity(16 << 20).mean_item(100);
/// let cache = options.open_or_create(&path)?;
/// assert_eq!(cache.stats().capacity, 16 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    settings: Settings,
}

impl Options {
    /// The defaults: 64 MiB, one lock file per stripe, a file that only its owner reads and writes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of records that the cache holds, headers included. The file is larger by its index and its fixed
    /// parts; [`Stats::file_size`](crate::Stats::file_size) tells. At least 2 KiB per stripe; default 64 MiB.
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.settings.sizes.capacity = Some(bytes);
        self
    }

    /// Mean size of key and value together, in bytes: it decides how large the index is. Smaller items than
    /// this and the index is full before the arenas are; larger ones and it stays partly unused. Default 256.
    #[must_use]
    pub fn mean_item(mut self, bytes: u64) -> Self {
        self.settings.sizes.mean_item = Some(bytes);
        self
    }

    /// Number of stripes, a power of two up to 4096. More stripes, fewer writers that wait for each other, and
    /// smaller items that still fit: a record takes at most a quarter of a stripe's main ring. By default one
    /// per 16 MiB, from 8 to 256, fewer below 16 MiB.
    #[must_use]
    pub fn stripes(mut self, stripes: u32) -> Self {
        self.settings.sizes.stripes = Some(stripes);
        self
    }

    /// How stripes are locked. By default `file` when a file is created, and what it has when it is opened.
    #[must_use]
    pub fn locks(mut self, strategy: LockStrategy) -> Self {
        self.settings.locks = strategy;
        self.settings.locks_asked = true;
        self
    }

    /// Number of locks, a power of two, at most the number of stripes, which is the default. Stripe `s` is
    /// locked by region `s` modulo this number.
    #[must_use]
    pub fn lock_regions(mut self, regions: u32) -> Self {
        self.settings.sizes.lock_regions = Some(regions);
        self
    }

    /// Processes that can have the file open for writing at once; default 1024. Each takes 1280 bytes.
    #[must_use]
    pub fn seats(mut self, seats: u32) -> Self {
        self.settings.sizes.seats = Some(seats);
        self
    }

    /// Namespaces that the file has room for, at most 65 535; default 64. Each takes 256 bytes.
    #[must_use]
    pub fn namespaces(mut self, namespaces: u32) -> Self {
        self.settings.sizes.namespaces = Some(namespaces);
        self
    }

    /// Keys of one stripe that can be created or locked at the same time, at most 4096; default 64. Each takes 64
    /// bytes in each stripe. Once all are taken, keys are created without protection, and locks wait.
    #[must_use]
    pub fn claims(mut self, claims: u32) -> Self {
        self.settings.sizes.claims = Some(claims);
        self
    }

    /// Permission bits of a new file, whatever the umask; default `0o600`. Its owner must be able to read and write it, and
    /// there are no bits above `0o777`: anything else is [`BadOption`](crate::Error::BadOption) when a file is created or
    /// opened. What is made for it later, such as the
    /// lease of another process, follows the file. A file that group or others may write is refused at open unless
    /// [`trust`](Options::trust) is given. On Windows there are no such bits.
    #[must_use]
    pub fn mode(mut self, bits: u32) -> Self {
        self.settings.mode = bits;
        self
    }

    /// What a new file's cache holds after a crash of the operating system; see [`Cache::flush`].
    #[must_use]
    pub fn after_crash(mut self, what: AfterCrash) -> Self {
        self.settings.after_crash = what;
        self
    }

    /// What happens when the file exists and differs from what is asked for here.
    #[must_use]
    pub fn on_mismatch(mut self, what: OnMismatch) -> Self {
        self.settings.on_mismatch = what;
        self
    }

    /// Checks the checksum of every value that is read, so that not even a hostile writer's bytes are returned
    /// for a key unless he sealed them. A read then costs a hash of the value more.
    #[must_use]
    pub fn verify_reads(mut self, yes: bool) -> Self {
        self.settings.verify_reads = yes;
        self
    }

    /// Opens a file that belongs to another user, or that others may write.
    #[must_use]
    pub fn trust(mut self, yes: bool) -> Self {
        self.settings.trust = yes;
        self
    }

    /// Uses a network or user-space file system all the same. On most of them mappings are not shared between
    /// hosts, and locks not even between processes.
    #[must_use]
    pub fn allow_network(mut self, yes: bool) -> Self {
        self.settings.allow_network = yes;
        self
    }

    /// How long a write waits for its stripe's lock, and an opener for the file's, before it ends in
    /// [`Error::Busy`](crate::Error::Busy); default 5 s.
    #[must_use]
    pub fn lock_wait(mut self, limit: Duration) -> Self {
        self.settings.lock_wait = limit;
        self
    }

    /// Seed of the hash of a new file; by default random, so that nobody can choose keys that collide without
    /// reading the file. Fixed, runs can be repeated.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Makes every page of the file present when it is created or opened, so that no write meets a page fault. Meant for
    /// files in memory: on a disk all pages count as changed then, and the next sync writes the whole file.
    #[must_use]
    pub fn prefault(mut self, yes: bool) -> Self {
        self.settings.prefault = yes;
        self
    }

    /// Replaces the clock that decides when items expire: see [`Clock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.time = Time::of(clock);
        self
    }

    /// The settings, if all that is said can be.
    fn checked(&self) -> Result<&Settings> {
        const OWNERS: u32 = 0o600;
        let mode = self.settings.mode;
        if mode & OWNERS == OWNERS && mode <= 0o777 {
            return Ok(&self.settings);
        }
        let expected = "at most 0o777, with 0o600 in it: the owner reads and writes the file".into();
        Err(Error::BadOption { option: "mode", given: format!("{mode:#o}"), expected })
    }

    /// Creates a cache file. All its space is reserved on file systems that can.
    ///
    /// # Errors
    /// [`Exists`](crate::Error::Exists), [`BadOption`](crate::Error::BadOption),
    /// [`NoSpace`](crate::Error::NoSpace), [`NetworkFilesystem`](crate::Error::NetworkFilesystem),
    /// [`Io`](crate::Error::Io).
    pub fn create(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = self.checked()?;
        let real = resolve(path.as_ref())?;
        Ok(Cache::new(create(&real, settings, false)?))
    }

    /// Opens an existing cache file. It costs no look at its content, however large it is.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound), [`BadFile`](crate::Error::BadFile),
    /// [`Mismatch`](crate::Error::Mismatch), [`NotTrusted`](crate::Error::NotTrusted),
    /// [`LocksLost`](crate::Error::LocksLost), [`SeatsFull`](crate::Error::SeatsFull), and others.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Cache> {
        Ok(Cache::new(open::open(path.as_ref(), self.checked()?)?))
    }

    /// Opens an existing cache file to read only: it takes read permission, writes nothing, not even a counter
    /// or an access mark, and locks nothing.
    ///
    /// # Errors
    /// As [`open`](Options::open).
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = Settings { read_only: true, prefault: false, ..self.checked()?.clone() };
        Ok(Cache::new(open::open(path.as_ref(), &settings)?))
    }

    /// Opens a cache file, or creates it if there is none; of several who do so at once, one creates it.
    ///
    /// # Errors
    /// As [`open`](Options::open) and [`create`](Options::create).
    pub fn open_or_create(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = Settings { creates: true, ..self.checked()?.clone() };
        Ok(Cache::new(open::open_or_create(path.as_ref(), &settings)?))
    }

    /// Removes a cache file and its locks. Those who have it open see only misses from then on, and their writes
    /// fail with [`NotFound`](crate::Error::NotFound) until somebody creates it again. Their locks are removed when the last
    /// of them closes it, or with the next file that is created there.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound), [`BadFile`](crate::Error::BadFile) for what is no cache file,
    /// [`NotTrusted`](crate::Error::NotTrusted), [`Io`](crate::Error::Io).
    pub fn destroy(&self, path: impl AsRef<Path>) -> Result<()> {
        open::destroy(path.as_ref(), &self.settings)
    }
}

impl Cache {
    /// Opens the cache file at a path with the default options.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }
}

/// What only the tests of this repository set. `.cargo/config.toml` sets the flag for everything that is built here.
#[cfg(any(fuzzing, kennel_test_hooks))]
impl Options {
    /// Begins the rings of a new file close to the last position there is, to test what happens there.
    #[must_use]
    pub fn near_last_position(mut self, yes: bool) -> Self {
        self.settings.near_last_position = yes;
        self
    }

    /// Replaces random numbers by those that follow from this one, to compare whole files.
    #[must_use]
    pub fn numbers_from(mut self, first: u64) -> Self {
        self.settings.numbers = Some(Arc::new(first.into()));
        self
    }

    /// Replaces the number of this host's boot, to test what a restart does.
    #[must_use]
    pub fn boot_id(mut self, id: [u64; 2]) -> Self {
        self.settings.boot_id = id;
        self
    }
}
