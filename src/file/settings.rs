//! The settings of a cache file: the caller's options, and facts about the process that opens it.

use super::header::{AfterCrash, FileParams};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::names::names;
use crate::platform::{self, Examined, FileSystem, Pages};
use crate::shm::Geometry;
use crate::shm::layout::{
    AskedSizes, HISTOGRAMS, MOST_TAGS, RECORD_LEN, RingShape, STRATEGY_NAME, Shape, TAP_WORDS, namespace_reads_len,
};
use crate::shm::mapping::Mapping;
use crate::store::HeaderWords;
use crate::store::record::mix;
use crate::sync::fork::PerProcess;
use crate::sync::locks::LockStrategy;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Capacity of a cache, in bytes of its arenas, if the caller does not set one.
pub const DEFAULT_CAPACITY: u64 = 64 << 20;
const DEFAULT_MEAN_ITEM: u64 = 256;
const DEFAULT_SEATS: u32 = 1024;
const DEFAULT_NAMESPACES: u32 = 64;
const DEFAULT_CLAIMS: u32 = 64;
/// Reads of namespaces are counted by default if that takes at most one part in this many of the capacity: with the
/// default numbers of seats and namespaces, from 50 MiB on.
const READS_PART: u64 = 50;
/// A file has room for samples of reads by default if that takes at most one part in this many of the capacity: with
/// the default number of seats, from 113 MiB on.
const SAMPLES_PART: u64 = 100;
/// Bytes of capacity for each place in the tables of tags, by default: the tables take one part in 64.
const CAPACITY_PER_TAG: u64 = 1024;
/// The length of the tables of tags of a small cache: a few tags that a program knows by name hardly ever share a
/// place.
const LEAST_DEFAULT_TAGS: u64 = 4096;
/// Maximum number of stripes by default. Each lock region may cost a process a descriptor.
const MOST_DEFAULT_STRIPES: u64 = 256;
/// Minimum number of items of the mean size in a stripe, by default.
const LEAST_ITEMS: u64 = 300;

/// What to do with an existing file that differs from the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnMismatch {
    /// Fail with [`Error::Mismatch`], or with [`Error::BadFile`] for another format. Name `fail`.
    #[default]
    Fail,
    /// Use the file as it is; `stats` describes it. Name `use_existing`.
    UseExisting,
    /// Replace the file by one that matches the options; processes that have the old file open switch to the new one.
    /// There are two exceptions: a file that differs only in sizes is used as it is while it has living members, and a
    /// file that is not a cache file is never replaced, unless it contains only zeros. If the system cannot tell
    /// whether the host was restarted, a file on a disk is emptied. Name `recreate`.
    Recreate,
}

names!(
    OnMismatch,
    "answer to a mismatch",
    "fail, use_existing or recreate",
    Fail = "fail",
    UseExisting = "use_existing",
    Recreate = "recreate",
);

/// Whether a cache file is to lie in large pages, of 2 MiB each, on Linux. Reads and writes of random keys in a
/// gigabyte of data take about 0.7 of the time there, because the processor finds the address of each page sooner. A
/// file shorter than one such page has small ones. Other systems ignore this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LargePages {
    /// A file in memory (tmpfs) lies in large pages where the file system gives them by itself, which it does if it is
    /// mounted with `huge=advise`, `huge=within_size` or `huge=always`. A file on a disk has what the system chooses.
    /// Name `auto`.
    #[default]
    Auto,
    /// A file in memory lies in large pages also where the file system has no such setting: the system then gathers
    /// small pages into large ones (Linux 6.1), which takes a tenth of a second for each GiB when the file is created
    /// or opened, and seconds on a virtual machine that gives free memory back to its host. For a file on a disk the
    /// system is asked to keep it in large pages: then the smallest change of the file writes 2 MiB to the disk. What
    /// the system refuses leaves small pages. Name `always`.
    Always,
    /// In small pages, whatever the file system gives. Name `never`.
    Never,
}

names!(LargePages, "choice of large pages", "auto, always or never", Auto = "auto", Always = "always", Never = "never");

impl LargePages {
    /// Which pages to ask the system for. All pages of a finished file in memory exist.
    fn pages(self, is_in_memory: bool, is_finished: bool) -> Pages {
        match self {
            Self::Never => Pages::Small,
            Self::Auto if !is_in_memory => Pages::Any,
            Self::Auto if is_finished => Pages::LargeIfThere,
            Self::Auto | Self::Always => Pages::Large,
        }
    }
}

/// All options of the caller, and facts about this process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub sizes: AskedSizes,
    pub locks_asked: bool,
    pub locks: LockStrategy,
    pub mode: u32,
    pub after_crash: AfterCrash,
    pub on_mismatch: OnMismatch,
    pub verify_reads: bool,
    pub trust: bool,
    pub allow_network: bool,
    pub prefault: bool,
    pub large_pages: LargePages,
    pub read_only: bool,
    /// Create the file if it does not exist.
    pub creates: bool,
    pub lock_wait: Duration,
    pub seed: Option<u64>,
    pub time: Time,
    pub boot_id: [u64; 2],
    pub near_last_position: bool,
    /// A sequence of numbers to use in place of random ones.
    pub numbers: Option<Arc<AtomicU64>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sizes: AskedSizes::default(),
            locks_asked: false,
            locks: LockStrategy::File,
            mode: 0o600,
            after_crash: AfterCrash::Discard,
            on_mismatch: OnMismatch::Fail,
            verify_reads: false,
            trust: false,
            allow_network: false,
            prefault: false,
            large_pages: LargePages::Auto,
            read_only: false,
            creates: false,
            lock_wait: Duration::from_secs(5),
            seed: None,
            time: Time::default(),
            boot_id: platform::boot_id(),
            near_last_position: false,
            numbers: None,
        }
    }
}

impl Settings {
    /// The layout of a new file.
    pub(super) fn geometry(&self) -> Result<Geometry> {
        let asked = self.sizes;
        let capacity = asked.capacity.unwrap_or(DEFAULT_CAPACITY);
        let mean_item = asked.mean_item.unwrap_or(DEFAULT_MEAN_ITEM.min(capacity));
        let stripes = asked.stripes.unwrap_or_else(|| default_stripes(capacity, mean_item));
        let seats = asked.seats.unwrap_or(DEFAULT_SEATS);
        let namespaces = asked.namespaces.unwrap_or(DEFAULT_NAMESPACES);
        let has_room = namespace_reads_len(seats, namespaces) <= capacity / READS_PART;
        let has_taps = u64::from(seats) * u64::from(TAP_WORDS) * 8 <= capacity / SAMPLES_PART;
        let shape = Shape {
            capacity,
            mean_item,
            stripes,
            lock_regions: asked.lock_regions.unwrap_or(stripes),
            seats,
            namespaces,
            claims: asked.claims.unwrap_or(DEFAULT_CLAIMS),
            histograms: HISTOGRAMS,
            samples: asked.samples.unwrap_or(if has_taps { TAP_WORDS } else { 0 }),
            namespace_reads: asked.namespace_reads.unwrap_or(has_room.into()),
            tags: asked.tags.unwrap_or_else(|| default_tags(capacity)),
        };
        Geometry::new(shape).map_err(|bad| Error::BadOption {
            option: bad.option,
            given: bad.given.to_string(),
            expected: bad.expected,
        })
    }

    /// These settings for the successor of a file that gets another capacity. The numbers of stripes and of lock
    /// regions follow the new capacity if they followed the old one; all other sizes stay.
    pub(super) fn resized(&self, old: &Shape, capacity: u64, mean_item: Option<u64>) -> Self {
        let mean_item = mean_item.unwrap_or(old.mean_item.min(capacity));
        let is_default = old.stripes == default_stripes(old.capacity, old.mean_item);
        let stripes = if is_default { default_stripes(capacity, mean_item) } else { old.stripes };
        let lock_regions = if old.lock_regions == old.stripes { stripes } else { old.lock_regions.min(stripes) };
        let sizes = AskedSizes {
            capacity: Some(capacity),
            mean_item: Some(mean_item),
            stripes: Some(stripes),
            lock_regions: Some(lock_regions),
            seats: Some(old.seats),
            namespaces: Some(old.namespaces),
            claims: Some(old.claims),
            histograms: None,
            samples: Some(old.samples),
            namespace_reads: Some(old.namespace_reads),
            tags: Some(old.tags),
        };
        Self { sizes, ..self.clone() }
    }

    /// The properties of a new file that never change.
    pub(super) fn fixed(&self, geometry: Geometry) -> Result<FileParams> {
        let name = self.locks.name();
        if name.is_empty() || name.len() > STRATEGY_NAME || name.contains('\0') {
            return Err(Error::BadOption {
                option: "locks",
                given: name.into(),
                expected: format!("a name of 1 to {STRATEGY_NAME} bytes"),
            });
        }
        Ok(FileParams {
            geometry,
            after_crash: self.after_crash,
            seed: match self.seed {
                Some(seed) => seed,
                None => self.random()?,
            },
            strategy_id: self.locks.id(),
            strategy_name: name.into(),
            created_ms: self.time.now_ms(),
        })
    }

    pub(super) fn random(&self) -> Result<u64> {
        if let Some(numbers) = &self.numbers {
            return Ok(mix(numbers.fetch_add(1, Ordering::Relaxed)));
        }
        getrandom::u64().map_err(|error| Error::Io {
            what: "get random bytes for",
            path: "a cache file".into(),
            source: error.into(),
        })
    }

    /// A number that most probably no other member has. It is derived from a random number of this process, so that
    /// only the first one takes a system call.
    pub(super) fn nonce(&self) -> Result<u64> {
        static FIRST: PerProcess<u64> = PerProcess::new();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if self.numbers.is_some() {
            return self.random();
        }
        let first = match FIRST.get() {
            Some(first) => *first,
            None => *FIRST.install(self.random()?),
        };
        Ok(mix(first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))))
    }

    /// The first positions of a new file's rings; tests start close to the last position.
    pub(super) fn first_positions(&self, geometry: &Geometry) -> (u64, u64) {
        let first = |ring: RingShape| if self.near_last_position { ring.limit() - ring.units } else { 0 };
        let lap_start = |ring: RingShape| first(ring) >> ring.bits << ring.bits;
        (lap_start(geometry.small), lap_start(geometry.main))
    }

    /// The file system of a file; an error for one that is refused.
    pub(super) fn check_filesystem(&self, file: &File, real: &Path) -> Result<FileSystem> {
        let system = platform::file_system(file);
        match &system.network {
            Some(kind) if !self.allow_network => {
                Err(Error::NetworkFilesystem { path: real.into(), kind: kind.clone() })
            }
            _ => Ok(system),
        }
    }

    pub(super) fn check_trust(&self, data: &Examined, real: &Path) -> Result<()> {
        match platform::untrusted(&data.meta) {
            Some(detail) if !self.trust => Err(Error::NotTrusted { path: real.into(), detail }),
            _ => Ok(()),
        }
    }

    /// Maps a finished cache file, for writing unless these settings say otherwise.
    pub(super) fn map(&self, data: &File, len: u64, system: &FileSystem, real: &Path) -> Result<Mapping> {
        let pages = match self.large_pages.pages(system.in_memory, true) {
            // A reader allocates nothing.
            Pages::Large if self.read_only => Pages::LargeIfThere,
            pages => pages,
        };
        Mapping::new(data, len, !self.read_only, pages).map_err(Error::io("map", real))
    }

    /// Maps a new cache file.
    pub(super) fn map_new(&self, file: &File, len: u64, system: &FileSystem, real: &Path) -> Result<Mapping> {
        let pages = self.large_pages.pages(system.in_memory, false);
        Mapping::new(file, len, true, pages).map_err(Error::io("map", real))
    }

    /// Makes a lock directory, unless it exists, with the permissions of the file.
    pub(super) fn make_lock_directory(&self, directory: &Path) -> Result<()> {
        platform::make_private_dir(directory, self.mode, self.trust)
            .map_err(Error::io("create the lock directory", directory))
    }

    /// These settings with the lock strategy of a file; an error if this program lacks it or the options exclude it.
    pub(super) fn with_strategy_of(&self, fixed: &FileParams, real: &Path) -> Result<Self> {
        if self.locks.id() == fixed.strategy_id && self.locks.name() == fixed.strategy_name {
            return Ok(self.clone());
        }
        let known = fixed.strategy_name.parse::<LockStrategy>().ok().filter(|known| known.id() == fixed.strategy_id);
        match known {
            Some(locks) if !self.locks_asked || self.on_mismatch == OnMismatch::UseExisting => {
                Ok(Self { locks, ..self.clone() })
            }
            Some(_) => Err(self.mismatch(real, "locks", self.locks.name(), &fixed.strategy_name)),
            None => Err(Error::UnknownStrategy {
                path: real.into(),
                found: fixed.strategy_name.clone(),
                id: fixed.strategy_id,
                asked: self.locks.name().into(),
            }),
        }
    }

    /// Returns an error if a size that the caller set differs from that of a file.
    pub(super) fn check_sizes(&self, fixed: &FileParams, real: &Path) -> Result<()> {
        match self.sizes.difference(&fixed.geometry.shape) {
            Some((option, asked, found)) => Err(self.mismatch(real, option, asked, found)),
            None => Ok(()),
        }
    }

    /// These settings with the boot id of the file, if either of the two ids could not be read, and the file lies in
    /// memory, so that it cannot be from another boot.
    pub(super) fn with_boot_of(self, system: &FileSystem, mapping: &Mapping) -> Self {
        let found = HeaderWords(mapping).boot_id();
        // Zero means that a reset did not finish.
        let is_told = found != [0, 0] && found != self.boot_id;
        let is_unread = platform::is_unread_boot(found) || platform::is_unread_boot(self.boot_id);
        if is_told && is_unread && system.in_memory { Self { boot_id: found, ..self } } else { self }
    }

    /// Returns an error if the system cannot tell whether a file is from this boot: a mere suspicion must not empty it.
    pub(super) fn check_boot(&self, real: &Path) -> Result<()> {
        if !platform::is_unread_boot(self.boot_id) {
            return Ok(());
        }
        let why = "/proc/sys/kernel/random/boot_id cannot be read here; mount /proc, use a file in memory (tmpfs), or let the \
                   cache be emptied (`OnMismatch::Recreate`)";
        Err(Error::Io {
            what: "tell whether the host was restarted since the last use of",
            path: real.into(),
            source: std::io::Error::new(std::io::ErrorKind::Unsupported, why),
        })
    }

    fn mismatch(&self, real: &Path, option: &'static str, asked: impl ToString, found: impl ToString) -> Error {
        Error::Mismatch { path: real.into(), option, asked: asked.to_string(), found: found.to_string() }
    }
}

/// The default length of the tables of tags, in proportion to the capacity. An invalidation of a tag also covers the
/// items of every tag that shares its place, so more items need more places.
fn default_tags(capacity: u64) -> u32 {
    let tags = (capacity / CAPACITY_PER_TAG).clamp(LEAST_DEFAULT_TAGS, MOST_TAGS.into());
    1 << tags.ilog2()
}

/// The default number of stripes: as many as leave room in each for a value of about half a megabyte, and for a few
/// hundred items.
fn default_stripes(capacity: u64, mean_item: u64) -> u32 {
    let by_value = if capacity < 64 << 20 { (capacity >> 21).min(8) } else { (capacity >> 24).max(8) };
    let by_items = capacity / ((RECORD_LEN + mean_item) * LEAST_ITEMS);
    let most = by_value.min(by_items).clamp(1, MOST_DEFAULT_STRIPES);
    1 << most.ilog2()
}
