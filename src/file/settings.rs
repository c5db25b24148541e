//! The settings of a cache file: the caller's options, and facts about the process that opens it.

use super::header::{AfterCrash, FileParams};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::names::names;
use crate::platform::{self, Examined};
use crate::shm::Geometry;
use crate::shm::layout::{AskedSizes, RECORD_LEN, RingShape, STRATEGY_NAME, Shape};
use crate::shm::mapping::Mapping;
use crate::store::HeaderWords;
use crate::store::record::mix;
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
        let shape = Shape {
            capacity,
            mean_item,
            stripes,
            lock_regions: asked.lock_regions.unwrap_or(stripes),
            seats: asked.seats.unwrap_or(DEFAULT_SEATS),
            namespaces: asked.namespaces.unwrap_or(DEFAULT_NAMESPACES),
            claims: asked.claims.unwrap_or(DEFAULT_CLAIMS),
        };
        Geometry::new(shape).map_err(|bad| Error::BadOption {
            option: bad.option,
            given: bad.given.to_string(),
            expected: bad.expected,
        })
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

    /// The first positions of a new file's rings; tests start close to the last position.
    pub(super) fn first_positions(&self, geometry: &Geometry) -> (u64, u64) {
        let first = |ring: RingShape| if self.near_last_position { ring.limit() - ring.units } else { 0 };
        let lap_start = |ring: RingShape| first(ring) >> ring.bits << ring.bits;
        (lap_start(geometry.small), lap_start(geometry.main))
    }

    pub(super) fn check_filesystem(&self, file: &File, real: &Path) -> Result<()> {
        match platform::network_filesystem(file) {
            Some(kind) if !self.allow_network => Err(Error::NetworkFilesystem { path: real.into(), kind }),
            _ => Ok(()),
        }
    }

    pub(super) fn check_trust(&self, data: &Examined, real: &Path) -> Result<()> {
        match platform::untrusted(&data.meta) {
            Some(detail) if !self.trust => Err(Error::NotTrusted { path: real.into(), detail }),
            _ => Ok(()),
        }
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
    pub(super) fn with_boot_of(self, data: &File, mapping: &Mapping) -> Self {
        let found = HeaderWords(mapping).boot_id();
        // Zero means that a reset did not finish.
        let is_told = found != [0, 0] && found != self.boot_id;
        let is_unread = platform::is_unread_boot(found) || platform::is_unread_boot(self.boot_id);
        if is_told && is_unread && platform::is_in_memory(data) { Self { boot_id: found, ..self } } else { self }
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

/// The default number of stripes: as many as leave room in each for a value of about half a megabyte, and for a few
/// hundred items.
fn default_stripes(capacity: u64, mean_item: u64) -> u32 {
    let by_value = if capacity < 64 << 20 { (capacity >> 21).min(8) } else { (capacity >> 24).max(8) };
    let by_items = capacity / ((RECORD_LEN + mean_item) * LEAST_ITEMS);
    let most = by_value.min(by_items).clamp(1, MOST_DEFAULT_STRIPES);
    1 << most.ilog2()
}
