//! The options with which a cache file is created, opened and removed.

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

/// Options for creating and opening a cache file.
///
/// The sizes apply when a file is created. When a file is opened, each size that was set must be that of the file;
/// [`on_mismatch`](Options::on_mismatch) selects what happens otherwise.
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
    /// The defaults: 64 MiB, one lock file per stripe, a file that only its owner can read and write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Space for records in bytes, headers included: at least 2 KiB per stripe; default 64 MiB. The file is larger, by
    /// its index and its fixed parts; see [`Stats::file_size`](crate::Stats::file_size).
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.settings.sizes.capacity = Some(bytes);
        self
    }

    /// Mean size of key and value together, in bytes; default 256. It determines the size of the index. If the items
    /// are smaller, the index fills before the space for records does; if they are larger, part of it stays unused.
    #[must_use]
    pub fn mean_item(mut self, bytes: u64) -> Self {
        self.settings.sizes.mean_item = Some(bytes);
        self
    }

    /// Number of stripes, a power of two up to 4096. With more stripes, fewer writers wait for each other. With fewer
    /// stripes, larger items fit: a record takes at most a quarter of a stripe's main ring. The default is one per
    /// 16 MiB, at least 8 and at most 256, and fewer for caches below 16 MiB.
    #[must_use]
    pub fn stripes(mut self, stripes: u32) -> Self {
        self.settings.sizes.stripes = Some(stripes);
        self
    }

    /// The lock strategy. A new file uses `file` by default. An existing file keeps its own strategy; if another one is
    /// given, that is a mismatch.
    #[must_use]
    pub fn locks(mut self, strategy: LockStrategy) -> Self {
        self.settings.locks = strategy;
        self.settings.locks_asked = true;
        self
    }

    /// Number of lock regions, a power of two, at most the number of stripes, which is the default. The lock of region
    /// `s` modulo this number protects stripe `s`.
    #[must_use]
    pub fn lock_regions(mut self, regions: u32) -> Self {
        self.settings.sizes.lock_regions = Some(regions);
        self
    }

    /// How many processes can have the file open for writing at the same time; default 1024. Each takes 1280 bytes.
    #[must_use]
    pub fn seats(mut self, seats: u32) -> Self {
        self.settings.sizes.seats = Some(seats);
        self
    }

    /// How many namespaces the file has room for, at most 65 535; default 64. Each takes 256 bytes.
    #[must_use]
    pub fn namespaces(mut self, namespaces: u32) -> Self {
        self.settings.sizes.namespaces = Some(namespaces);
        self
    }

    /// How many keys of one stripe can be created or locked at the same time, at most 4096; default 64. Each takes 64
    /// bytes in each stripe. When all claims are taken, values are created without protection, and locks wait.
    #[must_use]
    pub fn claims(mut self, claims: u32) -> Self {
        self.settings.sizes.claims = Some(claims);
        self
    }

    /// Permission bits of a new file, whatever the umask; default `0o600`. They must include `0o600` and be at most
    /// `0o777`; otherwise creating and opening fail with [`BadOption`](crate::Error::BadOption). Files that belong to
    /// the cache and are created later, such as the lease of another process, get the bits of the cache file. Opening
    /// refuses a file that group or others may write, unless [`trust`](Options::trust) is set. Windows ignores the
    /// bits.
    #[must_use]
    pub fn mode(mut self, bits: u32) -> Self {
        self.settings.mode = bits;
        self
    }

    /// What the cache in a new file holds after a crash of the operating system; see [`Cache::flush`].
    #[must_use]
    pub fn after_crash(mut self, what: AfterCrash) -> Self {
        self.settings.after_crash = what;
        self
    }

    /// What to do with an existing file whose sizes or lock strategy differ from these options.
    #[must_use]
    pub fn on_mismatch(mut self, what: OnMismatch) -> Self {
        self.settings.on_mismatch = what;
        self
    }

    /// Verifies the checksum of every value that is read: a value that was damaged in the file is a miss. Each read
    /// additionally hashes the value.
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

    /// Allows a file on a network or user-space file system. Most of these share no mappings between hosts, and some
    /// do not even share locks between processes.
    #[must_use]
    pub fn allow_network(mut self, yes: bool) -> Self {
        self.settings.allow_network = yes;
        self
    }

    /// How long a write waits for the lock of its stripe, and an opening call for the lock of the file, before it fails
    /// with [`Error::Busy`](crate::Error::Busy); default 5 s.
    #[must_use]
    pub fn lock_wait(mut self, limit: Duration) -> Self {
        self.settings.lock_wait = limit;
        self
    }

    /// Seed of the hash function of a new file. It is random by default, so that nobody can choose colliding keys
    /// without reading the file. A fixed seed makes runs repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Maps every page of the file when it is created or opened, so that no write causes a page fault. This is meant
    /// for files in memory: on a disk it marks all pages as changed, and the next sync writes the whole file.
    #[must_use]
    pub fn prefault(mut self, yes: bool) -> Self {
        self.settings.prefault = yes;
        self
    }

    /// Replaces the clock that decides when items expire; see [`Clock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.time = Time::of(clock);
        self
    }

    /// The settings, if the mode is valid. The other settings are checked where they are used.
    fn checked(&self) -> Result<&Settings> {
        const OWNERS: u32 = 0o600;
        let mode = self.settings.mode;
        if mode & OWNERS == OWNERS && mode <= 0o777 {
            return Ok(&self.settings);
        }
        let expected = "at most 0o777, with 0o600 in it: the owner reads and writes the file".into();
        Err(Error::BadOption { option: "mode", given: format!("{mode:#o}"), expected })
    }

    /// Creates a cache file, and reserves all its space if the file system can do that.
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

    /// Opens an existing cache file. That takes the same time for every size: it reads the header, not the records.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound), [`BadFile`](crate::Error::BadFile),
    /// [`Mismatch`](crate::Error::Mismatch), [`NotTrusted`](crate::Error::NotTrusted),
    /// [`LocksLost`](crate::Error::LocksLost), [`SeatsFull`](crate::Error::SeatsFull), and others.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Cache> {
        Ok(Cache::new(open::open(path.as_ref(), self.checked()?)?))
    }

    /// Opens an existing cache file for reading only. Read permission is enough: the handle writes nothing, not even a
    /// counter or an access mark, and takes no lock.
    ///
    /// # Errors
    /// The errors of [`open`](Options::open).
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = Settings { read_only: true, prefault: false, ..self.checked()?.clone() };
        Ok(Cache::new(open::open(path.as_ref(), &settings)?))
    }

    /// Opens a cache file, or creates it if there is none. If several processes do so at the same time, one creates it
    /// and the others open it.
    ///
    /// # Errors
    /// The errors of [`open`](Options::open) and [`create`](Options::create).
    pub fn open_or_create(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = Settings { creates: true, ..self.checked()?.clone() };
        Ok(Cache::new(open::open_or_create(path.as_ref(), &settings)?))
    }

    /// Removes a cache file and its locks. Handles that have it open then see only misses, and their writes fail with
    /// [`NotFound`](crate::Error::NotFound), until the file is created again. Lock files that such handles use are
    /// removed when the last handle is closed, or when the next file is created at this path.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound), [`BadFile`](crate::Error::BadFile) if it is not a cache file,
    /// [`NotTrusted`](crate::Error::NotTrusted), [`Io`](crate::Error::Io).
    pub fn destroy(&self, path: impl AsRef<Path>) -> Result<()> {
        open::destroy(path.as_ref(), &self.settings)
    }
}

impl Cache {
    /// Opens the cache file at a path with the default options.
    ///
    /// # Errors
    /// The errors of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }
}

/// Options for the tests of this repository. `.cargo/config.toml` sets the flag for everything that is built here.
#[cfg(any(fuzzing, kennel_test_hooks))]
impl Options {
    /// Begins the rings of a new file close to the last possible position, to test what happens there.
    #[must_use]
    pub fn near_last_position(mut self, yes: bool) -> Self {
        self.settings.near_last_position = yes;
        self
    }

    /// Replaces random numbers by a fixed sequence that begins with this one, so that whole files can be compared.
    #[must_use]
    pub fn numbers_from(mut self, first: u64) -> Self {
        self.settings.numbers = Some(Arc::new(first.into()));
        self
    }

    /// Replaces the id of this host's boot, to test the effects of a restart.
    #[must_use]
    pub fn boot_id(mut self, id: [u64; 2]) -> Self {
        self.settings.boot_id = id;
        self
    }
}
