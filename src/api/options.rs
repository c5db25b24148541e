//! Options for creating, opening and destroying cache files.

use super::cache::Cache;
use crate::clock::{Clock, Time};
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::create::create;
use crate::file::header::AfterCrash;
use crate::file::open;
use crate::file::place::resolve;
use crate::file::settings::{LargePages, OnMismatch, Settings};
use crate::shm::layout::TAP_WORDS;
use crate::sync::locks::LockStrategy;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Options for creating, opening and destroying a cache file.
///
/// The sizes determine a new file. When an existing file is opened, the sizes that the caller sets are compared with
/// those of the file: see [`on_mismatch`](Options::on_mismatch).
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
    /// The default options: 64 MiB, one lock file per stripe, and a file that only its owner can read and write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The capacity: how many bytes of records the cache holds, headers included. At least 2 KiB per stripe, and at
    /// most 16 TiB; default 64 MiB. The file is larger by its index and its fixed parts: see
    /// [`Stats::file_size`](crate::Stats::file_size).
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.settings.sizes.capacity = Some(bytes);
        self
    }

    /// The mean size of an item, key and value together, in bytes, which determines the size of the index. From 1 to
    /// the capacity; default 256. If items are smaller, the index is full before the rings are; if they are larger, a
    /// part of the index stays unused.
    #[must_use]
    pub fn mean_item(mut self, bytes: u64) -> Self {
        self.settings.sizes.mean_item = Some(bytes);
        self
    }

    /// The number of stripes, a power of two up to 4096. With more stripes fewer writers wait for each other, but the
    /// largest item is smaller, because a record takes at most a quarter of a stripe's main ring. The default is one
    /// stripe per 16 MiB of capacity, but from 8 to 256. It is lower below a capacity of 16 MiB, and if a stripe would
    /// hold fewer than 300 items of the mean size.
    #[must_use]
    pub fn stripes(mut self, stripes: u32) -> Self {
        self.settings.sizes.stripes = Some(stripes);
        self
    }

    /// The lock strategy of the stripes. The default is `file` for a new file, and the strategy of the file for an
    /// existing one.
    #[must_use]
    pub fn locks(mut self, strategy: LockStrategy) -> Self {
        self.settings.locks = strategy;
        self.settings.locks_asked = true;
        self
    }

    /// The number of lock regions: a power of two, at most the number of stripes, which is the default. Stripe `s`
    /// belongs to the lock region `s` modulo this number.
    #[must_use]
    pub fn lock_regions(mut self, regions: u32) -> Self {
        self.settings.sizes.lock_regions = Some(regions);
        self
    }

    /// How many processes can have the file open for writing at the same time: from 1 to 1 048 576; default 1024. Each
    /// seat takes 1280 bytes of the file.
    #[must_use]
    pub fn seats(mut self, seats: u32) -> Self {
        self.settings.sizes.seats = Some(seats);
        self
    }

    /// How many namespaces the file has room for, at most 65 535; default 64. Each takes 256 bytes of the file.
    #[must_use]
    pub fn namespaces(mut self, namespaces: u32) -> Self {
        self.settings.sizes.namespaces = Some(namespaces);
        self
    }

    /// Whether the file counts the hits and misses of each namespace: see
    /// [`Stats::namespace_reads`](crate::Stats::namespace_reads). This takes 16 bytes of the file per namespace and
    /// seat. By default a file counts them if this is at most a fiftieth of its capacity: with the default numbers of
    /// seats and namespaces, from 50 MiB on.
    #[must_use]
    pub fn namespace_reads(mut self, yes: bool) -> Self {
        self.settings.sizes.namespace_reads = Some(yes.into());
        self
    }

    /// Whether the file has room for samples of reads: see [`Cache::tap`]. This takes 1152 bytes of the file per seat.
    /// By default a file has room for them if this is at most a hundredth of its capacity: with the default number of
    /// seats, from 113 MiB on.
    #[must_use]
    pub fn samples(mut self, yes: bool) -> Self {
        self.settings.sizes.samples = Some(if yes { TAP_WORDS } else { 0 });
        self
    }

    /// How many keys of one stripe can be created or locked at the same time, at most 4096; default 64. Each claim
    /// takes 64 bytes in each stripe. While all claims are held, values of other keys are created without a claim, and
    /// locks wait.
    #[must_use]
    pub fn claims(mut self, claims: u32) -> Self {
        self.settings.sizes.claims = Some(claims);
        self
    }

    /// The length of the tables of tags: 0, or a power of two from 64 to 65 536. Each place in them takes 16 bytes of
    /// the file. The default is one place per KiB of the capacity, but from 4096 to 65 536 places, which makes the file
    /// longer by 1/64, or by 64 KiB. With 0 no value can have tags.
    ///
    /// Tags that share a place are invalidated together. With a table of length `tags`, an invalidation of one tag also
    /// invalidates a value with `k` other tags with a probability of `k / tags`, which costs a miss. See
    /// [`Cache::invalidate_tags`].
    #[must_use]
    pub fn tags(mut self, tags: u32) -> Self {
        self.settings.sizes.tags = Some(tags);
        self
    }

    /// The permission bits of a new file, regardless of the umask; default `0o600`. They must include `0o600`, because
    /// the owner reads and writes the file, and no bits above `0o777`. With other values, creating or opening a file
    /// fails with [`BadOption`](crate::Error::BadOption). Files that belong to the cache file, such as leases, get the
    /// same bits. A file that its group or others may write is refused when it is opened, unless
    /// [`trust`](Options::trust) is set. Windows has no such bits.
    #[must_use]
    pub fn mode(mut self, bits: u32) -> Self {
        self.settings.mode = bits;
        self
    }

    /// What a new file holds after a crash of the operating system; default [`Discard`](AfterCrash::Discard). See also
    /// [`Cache::flush`].
    #[must_use]
    pub fn after_crash(mut self, what: AfterCrash) -> Self {
        self.settings.after_crash = what;
        self
    }

    /// What to do if the file exists and differs from these options; default [`Fail`](OnMismatch::Fail).
    #[must_use]
    pub fn on_mismatch(mut self, what: OnMismatch) -> Self {
        self.settings.on_mismatch = what;
        self
    }

    /// Whether every read checks the checksum of its value; default false. Bytes that a hostile process wrote are then
    /// not returned, unless they have a valid checksum. Each read takes longer by the time to hash the value.
    #[must_use]
    pub fn verify_reads(mut self, yes: bool) -> Self {
        self.settings.verify_reads = yes;
        self
    }

    /// Whether to open a file that belongs to another user, or that other users may write; default false.
    #[must_use]
    pub fn trust(mut self, yes: bool) -> Self {
        self.settings.trust = yes;
        self
    }

    /// Whether to use a file on a network or user-space file system; default false. Most of them do not share mappings
    /// between hosts, or locks even between processes of one host.
    #[must_use]
    pub fn allow_network(mut self, yes: bool) -> Self {
        self.settings.allow_network = yes;
        self
    }

    /// How long a write waits for the lock of its stripe, and an opener for the lock of the file, before it fails with
    /// [`Error::Busy`](crate::Error::Busy); default 5 seconds.
    #[must_use]
    pub fn lock_wait(mut self, limit: Duration) -> Self {
        self.settings.lock_wait = limit;
        self
    }

    /// The seed of a new file's hash function. By default it is random, so that nobody can choose colliding keys
    /// without reading the file. A fixed seed makes runs repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Whether to bring every page of the file into memory when it is created or opened, so that no write causes a page
    /// fault; default false. This is meant for files in memory (tmpfs): on a disk, all pages then count as changed, and
    /// the next sync writes the whole file.
    #[must_use]
    pub fn prefault(mut self, yes: bool) -> Self {
        self.settings.prefault = yes;
        self
    }

    /// Whether the file is to lie in large pages, whether it is created or opened; default [`Auto`](LargePages::Auto).
    /// The pages belong to the file, but each process that uses the file decides for itself whether it maps large
    /// pages. [`Cache::large_mapped`] returns how much of the file is mapped by large pages.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use kennel::{LargePages, Options};
    /// let cache = Options::new().large_pages(LargePages::Always).open_or_create(dir.path().join("cache"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn large_pages(mut self, which: LargePages) -> Self {
        self.settings.large_pages = which;
        self
    }

    /// The clock that decides when items expire, instead of the host's: see [`Clock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.time = Time::of(clock);
        self
    }

    /// The settings, if their values are valid on their own.
    fn checked(&self) -> Result<&Settings> {
        const OWNERS: u32 = 0o600;
        let mode = self.settings.mode;
        if mode & OWNERS == OWNERS && mode <= 0o777 {
            return Ok(&self.settings);
        }
        let expected = "at most 0o777, with 0o600 in it: the owner reads and writes the file".into();
        Err(Error::BadOption { option: "mode", given: format!("{mode:#o}"), expected })
    }

    /// Creates a cache file, and reserves all its space if the file system supports it.
    ///
    /// # Errors
    /// [`Exists`](crate::Error::Exists); [`BadOption`](crate::Error::BadOption) for sizes that no file can have;
    /// [`NoSpace`](crate::Error::NoSpace); [`NetworkFilesystem`](crate::Error::NetworkFilesystem);
    /// [`LeaseRefused`](crate::Error::LeaseRefused) with the strategy `lease`; and [`Io`](crate::Error::Io).
    pub fn create(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = self.checked()?;
        let real = resolve(path.as_ref())?;
        Ok(Cache::new(create(&real, settings, false)?))
    }

    /// Opens an existing cache file. This takes the same time for files of every size, because it does not read the
    /// contents.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound); [`BadFile`](crate::Error::BadFile); [`Mismatch`](crate::Error::Mismatch);
    /// [`NotTrusted`](crate::Error::NotTrusted); [`NetworkFilesystem`](crate::Error::NetworkFilesystem);
    /// [`UnknownStrategy`](crate::Error::UnknownStrategy); [`LeaseRefused`](crate::Error::LeaseRefused);
    /// [`OpenElsewhere`](crate::Error::OpenElsewhere); [`LocksLost`](crate::Error::LocksLost);
    /// [`SeatsFull`](crate::Error::SeatsFull); [`Busy`](crate::Error::Busy) if another process holds the lock of the
    /// file for all of [`lock_wait`](Options::lock_wait); [`BadOption`](crate::Error::BadOption); and
    /// [`Io`](crate::Error::Io). With [`OnMismatch::Recreate`] also those of [`create`](Options::create).
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Cache> {
        Ok(handle(open::open(path.as_ref(), self.checked()?)?))
    }

    /// Opens an existing cache file for reading only. This needs only permission to read. The handle writes nothing,
    /// not even counters or access marks, and takes no lock.
    ///
    /// # Errors
    /// The same as those of [`open`](Options::open).
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = Settings { read_only: true, prefault: false, ..self.checked()?.clone() };
        Ok(Cache::new(open::open(path.as_ref(), &settings)?))
    }

    /// Opens a cache file, or creates it if it does not exist. If several processes do this at the same time, one of
    /// them creates the file, and the others open it.
    ///
    /// # Errors
    /// The same as those of [`open`](Options::open) and [`create`](Options::create).
    pub fn open_or_create(&self, path: impl AsRef<Path>) -> Result<Cache> {
        let settings = Settings { creates: true, ..self.checked()?.clone() };
        Ok(handle(open::open_or_create(path.as_ref(), &settings)?))
    }

    /// Removes a cache file and its locks. In processes that have the file open, reads miss from then on, and writes
    /// fail with [`NotFound`](crate::Error::NotFound) until the file is created again. Lock files that these processes
    /// still use are removed when the last of them closes the file, or when the next file is created at the path.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound); [`BadFile`](crate::Error::BadFile) if the file is not a cache file;
    /// [`NotTrusted`](crate::Error::NotTrusted); [`OpenElsewhere`](crate::Error::OpenElsewhere) with the strategy
    /// `process`; [`Busy`](crate::Error::Busy); and [`Io`](crate::Error::Io).
    pub fn destroy(&self, path: impl AsRef<Path>) -> Result<()> {
        open::destroy(path.as_ref(), &self.settings)
    }
}

/// A handle of a file that was opened for writing. The opening lock is released by now, so no process waits while pages
/// become large.
fn handle(opened: AttachedFile) -> Cache {
    opened.make_pages_large();
    Cache::new(opened)
}

impl Cache {
    /// Opens the cache file at a path with the default options.
    ///
    /// # Errors
    /// The same as those of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }
}

/// Hooks for the tests of this repository. `.cargo/config.toml` sets the flag for everything that is built here.
#[cfg(any(fuzzing, kennel_test_hooks))]
impl Options {
    /// Begins the rings of a new file close to the last possible position, to test what happens there.
    #[must_use]
    pub fn near_last_position(mut self, yes: bool) -> Self {
        self.settings.near_last_position = yes;
        self
    }

    /// Replaces random numbers by a fixed sequence, to compare whole files.
    #[must_use]
    pub fn numbers_from(mut self, first: u64) -> Self {
        self.settings.numbers = Some(Arc::new(first.into()));
        self
    }

    /// Replaces the id of the host's boot, to test what a restart does.
    #[must_use]
    pub fn boot_id(mut self, id: [u64; 2]) -> Self {
        self.settings.boot_id = id;
        self
    }
}
