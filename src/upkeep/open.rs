//! Opening a cache file: proving that it is one, that it is ours, and that its locks are everybody's.

use super::create::{create, make_locks, store_lock_inodes};
use super::header::{AfterCrash, Fixed, Own, boot_id};
use super::opened::{Opened, seat_error};
use super::place::{
    DataLock, held_too_long, lock_directory, locks_root, open_data, replaced_too_often, resolve, still_names,
};
use super::reset::{disown, forget_claims, reset, was_flushed};
use super::tidy::{RootLock, take_path, tidy};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::names::names;
use crate::platform::{self, Examined};
use crate::shm::layout::{HEADER_LEN, RECORD_LEN, RingShape, STRATEGY_NAME, Shape, at};
use crate::shm::mapping::Mapping;
use crate::shm::{Geometry, Memory};
use crate::store::record::mix;
use crate::sync::locks::LockStrategy;
use crate::sync::member::Seats;
use crate::sync::wait::Attempts;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes that the arenas of a cache hold when nothing else is said.
pub const DEFAULT_CAPACITY: u64 = 64 << 20;
const DEFAULT_MEAN_ITEM: u64 = 256;
const DEFAULT_SEATS: u32 = 1024;
const DEFAULT_REGIONS: u32 = 64;
const DEFAULT_CLAIMS: u32 = 64;
/// Most stripes that are chosen when nothing is said; each lock region may cost a process a descriptor.
const MOST_DEFAULT_STRIPES: u64 = 256;
/// A stripe that is chosen by default holds at least so many items of the mean size.
const LEAST_ITEMS: u64 = 300;
/// How long the lock of the data file is tried before the strategy is looked at without it.
const SHORT_WAIT: Duration = Duration::from_millis(50);

/// What happens when a file exists and is not as it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnMismatch {
    /// [`Error::Mismatch`], or [`Error::BadFile`] for another format. Its name is `fail`.
    #[default]
    Fail,
    /// The file is used as it is; `stats` describes it. Its name is `use_existing`.
    UseExisting,
    /// The file is replaced by one as asked for, and those who have it open go over to the new one; but while
    /// living members use one that differs only in sizes, it is used as it is. What is no cache file is never
    /// replaced, unless it holds nothing but zeros. Where nobody can tell whether the host was restarted, a file on a
    /// disk is emptied. Its name is `recreate`.
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

/// The sizes that a caller named; the others are as they are, or by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub capacity: Option<u64>,
    pub mean_item: Option<u64>,
    pub stripes: Option<u32>,
    pub lock_regions: Option<u32>,
    pub seats: Option<u32>,
    pub regions: Option<u32>,
    pub claims: Option<u32>,
}

/// Everything a caller chose, and what this process knows.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub sizes: Sizes,
    pub locks_asked: bool,
    pub locks: LockStrategy,
    pub mode: u32,
    pub after_crash: AfterCrash,
    pub on_mismatch: OnMismatch,
    pub verify_reads: bool,
    pub trust: bool,
    pub allow_network: bool,
    pub populate: bool,
    pub read_only: bool,
    /// Where there is no file, one is made.
    pub creates: bool,
    pub lock_wait: Duration,
    pub seed: Option<u64>,
    pub time: Time,
    pub boot_id: [u64; 2],
    pub near_last_position: bool,
    /// Numbers in place of random ones.
    pub numbers: Option<Arc<AtomicU64>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sizes: Sizes::default(),
            locks_asked: false,
            locks: LockStrategy::File,
            mode: 0o600,
            after_crash: AfterCrash::Discard,
            on_mismatch: OnMismatch::Fail,
            verify_reads: false,
            trust: false,
            allow_network: false,
            populate: false,
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
            regions: asked.regions.unwrap_or(DEFAULT_REGIONS),
            claims: asked.claims.unwrap_or(DEFAULT_CLAIMS),
        };
        Geometry::new(shape).map_err(|bad| Error::BadOption {
            option: bad.option,
            given: bad.given.to_string(),
            expected: bad.expected,
        })
    }

    /// What a new file says about itself for ever.
    pub(super) fn fixed(&self, geometry: Geometry) -> Result<Fixed> {
        let name = self.locks.name();
        if name.is_empty() || name.len() > STRATEGY_NAME || name.contains('\0') {
            return Err(Error::BadOption {
                option: "locks",
                given: name.into(),
                expected: format!("a name of 1 to {STRATEGY_NAME} bytes"),
            });
        }
        Ok(Fixed {
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

    /// Where the rings of a new file begin; tests begin close to the last position.
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

    fn check_trust(&self, data: &Examined, real: &Path) -> Result<()> {
        if self.trust {
            return Ok(());
        }
        match platform::untrusted(&data.meta) {
            Some(detail) => Err(Error::NotTrusted { path: real.into(), detail }),
            None => Ok(()),
        }
    }

    /// These settings with the strategy of a file, if this program has it.
    fn with_strategy_of(&self, fixed: &Fixed, real: &Path) -> Result<Self> {
        if self.locks.id() == fixed.strategy_id && self.locks.name() == fixed.strategy_name {
            return Ok(self.clone());
        }
        let known = fixed.strategy_name.parse::<LockStrategy>().ok().filter(|known| known.id() == fixed.strategy_id);
        match known {
            Some(locks) if !self.locks_asked || self.on_mismatch == OnMismatch::UseExisting => {
                Ok(Self { locks, ..self.clone() })
            }
            Some(_) => Err(self.mismatch(real, "the lock strategy", self.locks.name(), &fixed.strategy_name)),
            None => Err(Error::UnknownStrategy {
                path: real.into(),
                found: fixed.strategy_name.clone(),
                id: fixed.strategy_id,
                asked: self.locks.name().into(),
            }),
        }
    }

    /// Compares the sizes that the caller named with those of a file.
    fn check_sizes(&self, fixed: &Fixed, real: &Path) -> Result<()> {
        let (asked, found) = (self.sizes, fixed.geometry.shape);
        let sizes: [(&'static str, Option<u64>, u64); 7] = [
            ("a capacity of", asked.capacity, found.capacity),
            ("a mean item size of", asked.mean_item, found.mean_item),
            ("a number of stripes of", asked.stripes.map(u64::from), found.stripes.into()),
            ("a number of lock regions of", asked.lock_regions.map(u64::from), found.lock_regions.into()),
            ("a number of seats of", asked.seats.map(u64::from), found.seats.into()),
            ("a number of regions of", asked.regions.map(u64::from), found.regions.into()),
            ("a number of claims of", asked.claims.map(u64::from), found.claims.into()),
        ];
        for (what, asked, found) in sizes {
            if let Some(asked) = asked.filter(|&asked| asked != found) {
                return Err(self.mismatch(real, what, asked, found));
            }
        }
        Ok(())
    }

    /// These settings for a file that cannot be from another boot: its number of the boot is the number of this one, where
    /// either could not be read.
    fn with_boot_of(self, data: &File, mapping: &Mapping) -> Self {
        let found = boot_id(mapping);
        // Zero stands for a reset that did not come to its end.
        let is_told = found != [0, 0] && found != self.boot_id;
        let is_unread = platform::is_unread_boot(found) || platform::is_unread_boot(self.boot_id);
        if is_told && is_unread && platform::is_in_memory(data) { Self { boot_id: found, ..self } } else { self }
    }

    /// An error where nobody can tell whether a file is from this boot: it is not emptied on suspicion.
    fn check_boot(&self, real: &Path) -> Result<()> {
        if !platform::is_unread_boot(self.boot_id) {
            return Ok(());
        }
        let why = "/proc/sys/kernel/random/boot_id cannot be read here; mount /proc, use a file in memory (tmpfs), or let the \
                   cache be emptied (`OnMismatch::Recreate`)";
        Err(Error::Io {
            what: "tell whether the host was restarted since the last use of",
            path: real.into(),
            source: std::io::Error::new(ErrorKind::Unsupported, why),
        })
    }

    fn mismatch(&self, real: &Path, what: &'static str, asked: impl ToString, found: impl ToString) -> Error {
        Error::Mismatch { path: real.into(), what, asked: asked.to_string(), found: found.to_string() }
    }
}

/// As many stripes as leave room for a value of about half a megabyte and for a few hundred items in each.
fn default_stripes(capacity: u64, mean_item: u64) -> u32 {
    let by_value = if capacity < 64 << 20 { (capacity >> 21).min(8) } else { (capacity >> 24).max(8) };
    let by_items = capacity / ((RECORD_LEN + mean_item) * LEAST_ITEMS);
    let most = by_value.min(by_items).clamp(1, MOST_DEFAULT_STRIPES);
    1 << most.ilog2()
}

/// Opens the cache file at a path.
pub(crate) fn open(path: &Path, settings: &Settings) -> Result<Opened> {
    let mut attempts = Attempts::within(settings.lock_wait);
    loop {
        if let Some(opened) = try_open(path, settings)? {
            return Ok(opened);
        }
        if !attempts.again() {
            return Err(replaced_too_often(path, settings));
        }
    }
}

/// `None`: the file was replaced or destroyed meanwhile.
fn try_open(path: &Path, settings: &Settings) -> Result<Option<Opened>> {
    let real = resolve(path)?;
    let data = open_data(&real, !settings.read_only)?;
    settings.check_filesystem(&data.file, &real)?;
    settings.check_trust(&data, &real)?;
    if settings.read_only {
        return open_read_only(&real, data, settings).map(Some);
    }
    let Some(lock) = lock_data(&data, &real, settings)? else { return Ok(None) };
    match open_locked(&real, data, settings, lock) {
        // Where a file is moved aside to be replaced, somebody else made one in between.
        Err(Error::Exists(_)) => Ok(None),
        other => other.map(Some),
    }
}

/// Opens the cache file at a path, or makes it.
pub(crate) fn open_or_create(path: &Path, settings: &Settings) -> Result<Opened> {
    let mut attempts = Attempts::within(settings.lock_wait);
    loop {
        match open(path, settings) {
            Err(Error::NotFound(_)) => {}
            other => return other,
        }
        match create(&resolve(path)?, settings, false) {
            Err(Error::Exists(_)) => {}
            other => return other,
        }
        if !attempts.again() {
            return Err(replaced_too_often(path, settings));
        }
    }
}

/// Takes the lock of the data file; `None` if the path names another file by then: whoever had the lock before may have
/// replaced or destroyed this one.
fn lock_data(data: &Examined, real: &Path, settings: &Settings) -> Result<Option<DataLock>> {
    match wait_for_data_lock(data, real, settings) {
        Ok(lock) => Ok(still_names(real, data.identity)?.then_some(lock)),
        // It cannot be opened once more by its path.
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn wait_for_data_lock(data: &Examined, real: &Path, settings: &Settings) -> Result<DataLock> {
    if let Some(lock) = DataLock::take(data, real, SHORT_WAIT.min(settings.lock_wait))? {
        return Ok(lock);
    }
    if Fixed::read(&data.file, real).is_ok_and(|fixed| fixed.strategy_name == LockStrategy::Process.name()) {
        return Err(Error::OpenElsewhere(real.into()));
    }
    DataLock::take(data, real, settings.lock_wait)?.ok_or_else(|| held_too_long(real, settings))
}

fn open_read_only(real: &Path, data: Examined, settings: &Settings) -> Result<Opened> {
    let fixed = Fixed::read(&data.file, real)?;
    let settings = Settings { locks_asked: false, ..settings.clone() };
    if settings.on_mismatch == OnMismatch::Fail {
        settings.check_sizes(&fixed, real)?;
    }
    let mapping = Mapping::new(&data.file, fixed.geometry.file_len, false).map_err(Error::io("map", real))?;
    let settings = settings.with_boot_of(&data.file, &mapping);
    if boot_id(&mapping) != settings.boot_id && !settings.verify_reads {
        settings.check_boot(real)?;
    }
    Opened::new_read_only(real, data, mapping, &fixed, &settings)
}

fn open_locked(real: &Path, data: Examined, settings: &Settings, lock: DataLock) -> Result<Opened> {
    let fixed = match Fixed::read(&data.file, real) {
        // Never what is no cache file at all.
        Err(error @ Error::BadFile { .. })
            if settings.on_mismatch == OnMismatch::Recreate && !error.is_no_cache_file() =>
        {
            return recreate(real, data, None, settings, lock);
        }
        other => other?,
    };
    let mapping = Mapping::new(&data.file, fixed.geometry.file_len, true).map_err(Error::io("map", real))?;
    // What is made for this file from here on is open to those to whom the file is.
    let mode = platform::mode(&data.meta);
    let own_settings = match settings.with_strategy_of(&fixed, real) {
        Err(Error::Mismatch { .. }) if settings.on_mismatch == OnMismatch::Recreate => {
            return recreate(real, data, Some(mapping), settings, lock);
        }
        other => Settings { mode, ..other? }.with_boot_of(&data.file, &mapping),
    };
    if let Err(mismatch) = settings.check_sizes(&fixed, real) {
        match settings.on_mismatch {
            OnMismatch::Fail => return Err(mismatch),
            OnMismatch::UseExisting => {}
            OnMismatch::Recreate if has_members(real, &mapping, &fixed, &own_settings)? => {}
            OnMismatch::Recreate => return recreate(real, data, Some(mapping), settings, lock),
        }
    }
    let _root_lock = make_ours(real, data.identity, &mapping, &fixed, &own_settings)?;
    if !own_settings.locks.is_shared() {
        // Owners are threads of one process, which is this one from here on.
        (0..fixed.geometry.shape.stripes).for_each(|stripe| forget_claims(&mapping, &fixed.geometry, stripe));
    }
    if settings.populate {
        mapping.populate().map_err(Error::io("populate", real))?;
    }
    Opened::new_locked(real, data, mapping, &fixed, &own_settings, lock)
}

/// Proves that file and locks belong together; adopts a copy, and resets what another boot left.
fn make_ours(
    real: &Path,
    found: platform::Identity,
    mapping: &Mapping,
    fixed: &Fixed,
    settings: &Settings,
) -> Result<Option<RootLock>> {
    let own = Own::load(mapping);
    let same_boot = boot_id(mapping) == settings.boot_id;
    if own.is_copied_to(found, same_boot) {
        let root_lock = adopt(real, mapping, fixed, settings, found)?;
        // The original may have been written to while it was copied, so its flush mark says nothing.
        reset(mapping, fixed, settings, false)?;
        return Ok(root_lock);
    }
    if settings.locks.is_shared() {
        check_lock_directory(real, &lock_directory(real, own.id), own)?;
    }
    if mapping.word(at!(replaced)).get() != 0 {
        // No recreator is at work, since we hold the lock: one that died left its mark behind, and perhaps a new file.
        tidy(real, settings.trust);
    }
    Opened::mark_replaced(mapping, 0);
    if same_boot || has_members(real, mapping, fixed, settings)? {
        return Ok(None);
    }
    if settings.on_mismatch != OnMismatch::Recreate && !was_flushed(mapping) {
        settings.check_boot(real)?;
    }
    Own { data: found, ..own }.store(mapping);
    reset(mapping, fixed, settings, true)?;
    Ok(None)
}

fn check_lock_directory(real: &Path, directory: &Path, own: Own) -> Result<()> {
    let lost = |detail| Error::LocksLost { path: real.into(), detail };
    let failed = |part: &Path, source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => lost(format!("expected the directory {}, found none", directory.display())),
        ErrorKind::NotADirectory => lost(format!("{}: {source}", part.display())),
        // That they cannot be reached does not mean that they are lost.
        _ => Error::Io { what: "enter the lock directory", path: part.into(), source },
    };
    let root = locks_root(real);
    platform::must_be_directory(&root).map_err(|error| failed(&root, error))?;
    platform::must_be_directory(directory).map_err(|error| {
        // Whether its name can be looked up is a matter of the directory that it lies in.
        let part = if error.kind() == ErrorKind::NotADirectory { directory } else { &root };
        failed(part, error)
    })?;
    let found = platform::look_into(directory).map_err(|error| failed(directory, error))?;
    if found != own.lock_directory {
        let expected = own.lock_directory;
        return Err(lost(format!("{}: expected inode {expected}, found {found}", directory.display())));
    }
    Ok(())
}

/// Makes a copy a cache file of its own: its id and locks first, so that it shares none with the original. What is
/// returned keeps its locks from being taken for left behind until it has a member.
fn adopt(
    real: &Path,
    mapping: &Mapping,
    fixed: &Fixed,
    settings: &Settings,
    found: platform::Identity,
) -> Result<Option<RootLock>> {
    // Until the reset is complete the file belongs to no boot: an opener who finds it so resets it again.
    disown(mapping);
    let id = [settings.random()?, settings.random()?];
    let directory = lock_directory(real, id);
    let root_lock = RootLock::to_make_locks(real, settings)?;
    let inodes = make_locks(&directory, settings, &fixed.geometry)?;
    store_lock_inodes(mapping, &fixed.geometry, &inodes);
    Own { id, data: found, lock_directory: platform::directory_inode(&directory) }.store(mapping);
    Ok(root_lock)
}

/// Whether a process lives that has the file open for writing.
fn has_members(real: &Path, mapping: &Mapping, fixed: &Fixed, settings: &Settings) -> Result<bool> {
    if !settings.locks.is_shared() {
        return Ok(false);
    }
    let seats = Seats { mem: mapping, geometry: &fixed.geometry };
    let failed = seat_error("look at the seats of", real, &fixed.geometry);
    seats.any_alive(&lock_directory(real, Own::load(mapping).id)).map_err(failed)
}

/// Replaces a file that differs, or whose header is damaged; then it is not mapped. Its lock is kept until the new
/// one is in place; those who have the old one open see its mark, wait for that lock, and go over.
fn recreate(real: &Path, data: Examined, old: Option<Mapping>, settings: &Settings, lock: DataLock) -> Result<Opened> {
    if let Some(old) = &old {
        Opened::mark_replaced(old, settings.random()? | 1);
    }
    let made = create(real, settings, true);
    if made.is_err()
        && let Some(old) = &old
        // Should that not be known, the mark stays, which costs its handles a look at the path now and then.
        && still_names(real, data.identity).unwrap_or(false)
    {
        Opened::mark_replaced(old, 0);
    }
    drop((old, data, lock));
    if !platform::CAN_REPLACE_MAPPED {
        // Only now nobody keeps the old one from being removed.
        tidy(real, settings.trust);
    }
    made
}

/// Removes a cache file and its locks.
pub(crate) fn destroy(path: &Path, settings: &Settings) -> Result<()> {
    let mut attempts = Attempts::within(settings.lock_wait);
    loop {
        let real = resolve(path)?;
        let data = open_data(&real, true)?;
        settings.check_trust(&data, &real)?;
        if let Some(lock) = lock_data(&data, &real, settings)? {
            return destroy_locked(&real, data, settings, lock);
        }
        if !attempts.again() {
            return Err(replaced_too_often(&real, settings));
        }
    }
}

fn destroy_locked(real: &Path, data: Examined, settings: &Settings, lock: DataLock) -> Result<()> {
    let header = match Fixed::read(&data.file, real) {
        Ok(_) => Some(Mapping::new(&data.file, HEADER_LEN, true).map_err(Error::io("map", real))?),
        // Nobody has a damaged file open. What is no cache file is not ours to remove.
        Err(error @ Error::BadFile { .. }) if !error.is_no_cache_file() => None,
        Err(error) => return Err(error),
    };
    if let Some(header) = &header {
        Opened::mark_replaced(header, settings.random()? | 1);
    }
    let taken = take_path(real, settings);
    if let (Err(_), Some(header)) = (&taken, &header) {
        Opened::mark_replaced(header, 0);
    }
    // What is mapped or open by ourselves would keep it from being removed.
    drop((header, data, lock));
    tidy(real, settings.trust);
    taken.map(drop)
}
