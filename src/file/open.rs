//! Opening a cache file: the proof that it is a cache file, that this process may trust it, and that its locks are
//! those that all other processes use.

use super::attached::{AttachedFile, MappedFile, Use};
use super::create::{create, make_locks};
use super::header::{FileIdentity, FileParams};
use super::place::{
    held_too_long, length_if_named, lock_directory, lock_own, locks_root, open_data, replaced_too_often, resolve,
    still_names,
};
use super::reset::reset;
use super::resizer::{is_closed_by_living, take_back};
use super::settings::{OnMismatch, Settings};
use super::tidy::{RootLock, take_path, tidy};
use crate::error::{Error, Result, WHOLE_FILE};
use crate::platform::{self, Examined, FileSystem, Pages};
use crate::shm::mapping::Mapping;
use crate::store::HeaderWords;
use crate::sync::locks::LockStrategy;
use crate::sync::member::Seats;
use crate::sync::own_file::OwnFile;
use crate::sync::wait::Attempts;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// How long to try for the opening lock before reading the strategy in the header without the lock.
const SHORT_WAIT: Duration = Duration::from_millis(50);

/// Calls `attempt` until it returns a result; `None` means that other processes created, replaced or destroyed the file
/// meanwhile.
fn retry<T>(path: &Path, settings: &Settings, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let mut attempts = Attempts::within(settings.lock_wait);
    loop {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        if !attempts.again() {
            return Err(replaced_too_often(path, settings));
        }
    }
}

/// Opens the cache file at a path.
pub(crate) fn open(path: &Path, settings: &Settings) -> Result<AttachedFile> {
    // If the kernel's path of the file leads elsewhere by now, the next attempt resolves the path itself.
    let mut asks_kernel = true;
    retry(path, settings, || try_open(path, settings, std::mem::take(&mut asks_kernel)))
}

/// One attempt to open the file; `None` if it was replaced or destroyed meanwhile.
fn try_open(path: &Path, settings: &Settings, asks_kernel: bool) -> Result<Option<AttachedFile>> {
    let named = if asks_kernel { platform::open_and_name(path, !settings.read_only) } else { None };
    let (data, real) = match named {
        Some(named) => named,
        None => {
            let real = resolve(path)?;
            (open_data(&real, !settings.read_only)?, real)
        }
    };
    let system = settings.check_filesystem(&data.file, &real)?;
    settings.check_trust(&data, &real)?;
    if settings.read_only {
        let is_named = still_names(&real, data.identity)?;
        return if is_named { open_read_only(&real, data, system, settings).map(Some) } else { Ok(None) };
    }
    // Files that are made for this one get its permissions.
    let mode = platform::mode(&data.meta);
    let Some((data, len)) = lock_data(data, &real, settings)? else { return Ok(None) };
    match open_locked(&real, (data, len, mode), system, settings) {
        // On systems that move a file aside to replace it, another process created one in between. Or a process that
        // has lost the opening lock is about to replace the file.
        Err(Error::Exists(_) | Error::Busy { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// Maps the file at a path for reads, without its opening lock and without a seat, which this process takes later.
/// `None` if a process must first open the file with the lock, because the host was restarted or the file is a copy.
pub(crate) fn open_unjoined(real: &Path, settings: &Settings) -> Result<Option<AttachedFile>> {
    let data = open_data(real, true)?;
    let system = settings.check_filesystem(&data.file, real)?;
    settings.check_trust(&data, real)?;
    let fixed = FileParams::read(&data.file, real)?;
    let mapping = settings.map(&data.file, fixed.geometry.file_len, &system, real)?;
    let mode = platform::mode(&data.meta);
    let settings = Settings { mode, ..settings.with_strategy_of(&fixed, real)? }.with_boot_of(&system, &mapping);
    let own = FileIdentity::load(&mapping);
    if HeaderWords(&mapping).boot_id() != settings.boot_id || own.is_copied_to(data.identity, true) {
        return Ok(None);
    }
    if settings.locks.is_shared() {
        enter_lock_directory(real, own)?;
    }
    let data = OwnFile::keep(data).map_err(Error::io("examine", real))?;
    AttachedFile::new(MappedFile { real, data, system, mapping, fixed, settings }, Use::ToRead).map(Some)
}

/// Opens the cache file at a path, or creates it.
pub(crate) fn open_or_create(path: &Path, settings: &Settings) -> Result<AttachedFile> {
    retry(path, settings, || {
        match open(path, settings) {
            Err(Error::NotFound(_)) => {}
            other => return other.map(Some),
        }
        match create(&resolve(path)?, settings, false) {
            Err(Error::Exists(_)) => Ok(None),
            other => other.map(Some),
        }
    })
}

/// Takes the opening lock. Returns the file with the length that it has then; `None` if the path now names another
/// file, since the previous holder of the lock may have replaced or destroyed this one.
fn lock_data(data: Examined, real: &Path, settings: &Settings) -> Result<Option<(OwnFile, u64)>> {
    let data = OwnFile::keep_to_lock(data).map_err(Error::io("examine", real))?;
    if !lock_own(&data, real, SHORT_WAIT.min(settings.lock_wait))? {
        let header = FileParams::read(data.unchecked(), real);
        if header.is_ok_and(|fixed| fixed.strategy_name == LockStrategy::Process.name()) {
            return Err(Error::OpenElsewhere(real.into()));
        }
        if !lock_own(&data, real, settings.lock_wait)? {
            return Err(held_too_long(real, settings));
        }
    }
    Ok(length_if_named(real, data.identity())?.map(|len| (data, len)))
}

fn open_read_only(real: &Path, data: Examined, system: FileSystem, settings: &Settings) -> Result<AttachedFile> {
    let fixed = FileParams::read(&data.file, real)?;
    let settings = Settings { locks_asked: false, ..settings.clone() };
    if settings.on_mismatch == OnMismatch::Fail {
        settings.check_sizes(&fixed, real)?;
    }
    let mapping = settings.map(&data.file, fixed.geometry.file_len, &system, real)?;
    let settings = settings.with_boot_of(&system, &mapping);
    if HeaderWords(&mapping).boot_id() != settings.boot_id && !settings.verify_reads {
        settings.check_boot(real)?;
    }
    let data = OwnFile::keep(data).map_err(Error::io("examine", real))?;
    AttachedFile::new(MappedFile { real, data, system, mapping, fixed, settings }, Use::ToRead)
}

fn open_locked(
    real: &Path,
    (data, len, mode): (OwnFile, u64, u32),
    system: FileSystem,
    settings: &Settings,
) -> Result<AttachedFile> {
    let fixed = match FileParams::read_of_length(data.unchecked(), len, real) {
        // A file that is not a cache file at all is never replaced.
        Err(error @ Error::BadFile { .. })
            if settings.on_mismatch == OnMismatch::Recreate && !error.is_no_cache_file() =>
        {
            return recreate(real, data, None, settings);
        }
        other => other?,
    };
    let mapping = settings.map(data.unchecked(), fixed.geometry.file_len, &system, real)?;
    if is_closed_by_living(&mapping, &fixed, real)? {
        return Err(Error::Busy { stripe: WHOLE_FILE, waited: Duration::ZERO });
    }
    let own_settings = match settings.with_strategy_of(&fixed, real) {
        Err(Error::Mismatch { .. }) if settings.on_mismatch == OnMismatch::Recreate => {
            return recreate(real, data, Some(mapping), settings);
        }
        other => Settings { mode, ..other? }.with_boot_of(&system, &mapping),
    };
    let file = MappedFile { real, data, system, mapping, fixed, settings: own_settings };
    if let Err(mismatch) = settings.check_sizes(&file.fixed, real) {
        match settings.on_mismatch {
            OnMismatch::Fail => return Err(mismatch),
            OnMismatch::UseExisting => {}
            OnMismatch::Recreate if file.has_members()? => {}
            OnMismatch::Recreate => return recreate(real, file.data, Some(file.mapping), settings),
        }
    }
    let _root_lock = file.make_ours()?;
    if !file.settings.locks.is_shared() {
        // Owners of claims are threads of one process, which is this one from here on: all existing claims are stale.
        let (words, geometry) = (HeaderWords(&file.mapping), &file.fixed.geometry);
        (0..geometry.shape.stripes).for_each(|stripe| words.end_all_claims(geometry, stripe));
    }
    if settings.prefault {
        file.mapping.prefault().map_err(Error::io("prefault", real))?;
    }
    let own = FileIdentity::load(&file.mapping);
    let has_locks = file.settings.locks.is_shared();
    AttachedFile::new(file, Use::Locked).map_err(|error| match has_locks {
        // A directory that this process may not enter explains more than a file in it that cannot be opened.
        true => enter_lock_directory(real, own).err().unwrap_or(error),
        false => error,
    })
}

impl MappedFile<'_> {
    /// Proves that file and locks belong together. Adopts a copy, and resets a file from another boot.
    fn make_ours(&self) -> Result<Option<RootLock>> {
        let Self { real, mapping, settings, .. } = self;
        let (own, words) = (FileIdentity::load(mapping), HeaderWords(mapping));
        let same_boot = words.boot_id() == settings.boot_id;
        if own.is_copied_to(self.data.identity(), same_boot) {
            let root_lock = self.adopt()?;
            // The original may have been written to during the copy, so the copy's flush mark proves nothing.
            reset(self.real, mapping, &self.fixed, settings, false)?;
            return Ok(root_lock);
        }
        if settings.locks.is_shared() {
            check_lock_directory(real, own)?;
        }
        if !same_boot && settings.locks.is_shared() {
            // Checked before the reset below changes anything. Without a reset, the first file that is opened in the
            // directory shows whether this process may enter it.
            enter_lock_directory(real, own)?;
        }
        if words.replaced_mark() != 0 {
            // No process is replacing the file, since this one holds the lock: a dead process left the mark, and
            // perhaps a new file.
            tidy(real, settings.trust);
        }
        take_back(mapping).map_err(Error::io("open to writers", real))?;
        if same_boot || self.has_members()? {
            return Ok(None);
        }
        if settings.on_mismatch != OnMismatch::Recreate && !words.was_flushed() {
            settings.check_boot(real)?;
        }
        FileIdentity { data: self.data.identity(), ..own }.store(mapping);
        reset(self.real, mapping, &self.fixed, settings, true)?;
        Ok(None)
    }

    /// Turns a copy into a cache file of its own: first it gets its own id and locks, so that it shares none with the
    /// original. The returned lock keeps the new locks, if the strategy has any, from being tidied away until the file
    /// has a member.
    fn adopt(&self) -> Result<Option<RootLock>> {
        let Self { real, mapping, settings, fixed, .. } = self;
        // Until the reset is complete the file belongs to no boot, and an opener resets it again.
        HeaderWords(mapping).disown();
        let id = [settings.random()?, settings.random()?];
        let directory = lock_directory(real, id);
        let is_shared = settings.locks.is_shared();
        let root_lock = is_shared.then(|| RootLock::shared(real, settings)).transpose()?;
        let inodes = make_locks(&directory, settings, &fixed.geometry)?;
        HeaderWords(mapping).set_lock_inodes(&fixed.geometry, &inodes);
        let lock_directory = platform::directory_inode(&directory);
        FileIdentity { id, data: self.data.identity(), lock_directory, lineage: settings.random()? }.store(mapping);
        Ok(root_lock)
    }

    /// Whether any living process has the file open for writing.
    fn has_members(&self) -> Result<bool> {
        if !self.settings.locks.is_shared() {
            return Ok(false);
        }
        let seats = Seats { mem: &self.mapping, geometry: &self.fixed.geometry };
        let directory = lock_directory(self.real, FileIdentity::load(&self.mapping).id);
        seats.any_alive(&directory).map_err(Error::locks("look at the seats of", self.real))
    }
}

/// Returns an error if the lock directory of a file is not there, or is another one.
fn check_lock_directory(real: &Path, own: FileIdentity) -> Result<()> {
    let directory = lock_directory(real, own.id);
    let root = locks_root(real);
    platform::must_be_directory(&root).map_err(|error| not_entered(real, &directory, &root, error))?;
    let meta = platform::must_be_directory(&directory).map_err(|error| {
        // Other errors concern the lookup of its name, which depends on the directory that contains it.
        let part = if error.kind() == ErrorKind::NotADirectory { &directory } else { &root };
        not_entered(real, &directory, part, error)
    })?;
    let found = platform::inode_of(&directory, &meta);
    if found != own.lock_directory {
        let expected = own.lock_directory;
        let detail = format!("{}: expected inode {expected}, found {found}", directory.display());
        return Err(Error::LocksLost { path: real.into(), detail });
    }
    Ok(())
}

/// [`check_lock_directory`], and an error unless this process can look up names there.
fn enter_lock_directory(real: &Path, own: FileIdentity) -> Result<()> {
    check_lock_directory(real, own)?;
    let directory = lock_directory(real, own.id);
    platform::look_into(&directory).map_err(|error| not_entered(real, &directory, &directory, error))
}

/// Why a lock directory cannot be used, given the part of its path that caused an error.
fn not_entered(real: &Path, directory: &Path, part: &Path, source: std::io::Error) -> Error {
    let lost = |detail| Error::LocksLost { path: real.into(), detail };
    match source.kind() {
        ErrorKind::NotFound => lost(format!("expected the directory {}, found none", directory.display())),
        ErrorKind::NotADirectory => lost(format!("{}: {source}", part.display())),
        // Locks that cannot be reached are not necessarily lost.
        _ => Error::Io { what: "enter the lock directory", path: part.into(), source },
    }
}

/// Replaces a file that differs from the settings, or whose header is damaged (then `old` is `None`). The lock is kept
/// until the new file is in place. Processes that have the old file open see its mark, wait for that lock, and switch
/// to the new file.
fn recreate(real: &Path, data: OwnFile, old: Option<Mapping>, settings: &Settings) -> Result<AttachedFile> {
    if let Some(old) = &old {
        HeaderWords(old).set_replaced_mark(settings.random()? | 1);
    }
    let made = create(real, settings, true);
    if made.is_err()
        && let Some(old) = &old
        // On an error the mark stays, which costs the file's handles a check of the path now and then.
        && still_names(real, data.identity()).unwrap_or(false)
    {
        HeaderWords(old).set_replaced_mark(0);
    }
    drop((old, data));
    if !platform::CAN_REPLACE_MAPPED {
        // Only now has this process closed the old file, so that it can be removed.
        tidy(real, settings.trust);
    }
    made
}

/// Removes a cache file and its locks.
pub(crate) fn destroy(path: &Path, settings: &Settings) -> Result<()> {
    retry(path, settings, || {
        let real = resolve(path)?;
        let data = open_data(&real, true)?;
        settings.check_trust(&data, &real)?;
        let Some((data, _)) = lock_data(data, &real, settings)? else { return Ok(None) };
        match destroy_locked(&real, data, settings) {
            // A process that has lost the opening lock is about to replace the file.
            Err(Error::Busy { .. }) => Ok(None),
            other => other.map(Some),
        }
    })
}

fn destroy_locked(real: &Path, data: OwnFile, settings: &Settings) -> Result<()> {
    let header = match FileParams::read(data.unchecked(), real) {
        Ok(fixed) => {
            let whole = Mapping::new(data.unchecked(), fixed.geometry.file_len, true, Pages::Any);
            let whole = whole.map_err(Error::io("map", real))?;
            if is_closed_by_living(&whole, &fixed, real)? {
                return Err(Error::Busy { stripe: WHOLE_FILE, waited: Duration::ZERO });
            }
            Some(whole)
        }
        // No process has a damaged file open. A file that is not a cache file must not be removed.
        Err(error @ Error::BadFile { .. }) if !error.is_no_cache_file() => None,
        Err(error) => return Err(error),
    };
    if let Some(header) = &header {
        HeaderWords(header).set_replaced_mark(settings.random()? | 1);
    }
    let taken = take_path(real, settings);
    if let (Err(_), Some(header)) = (&taken, &header) {
        HeaderWords(header).set_replaced_mark(0);
    }
    // A mapping or descriptor of this process would keep the file from being removed.
    drop((header, data));
    tidy(real, settings.trust);
    taken.map(drop)
}
