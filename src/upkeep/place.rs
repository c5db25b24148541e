//! Where a cache file and its locks lie.
//!
//! Symbolic links are resolved first, so that all who mean one file find one lock directory:
//! `REALPATH.locks/FILE-ID/`. The file id ties the locks to the file; a file that was replaced has others.

use super::header::Own;
use super::open::Settings;
use crate::error::{Error, Result};
use crate::platform::{self, DefaultPlace};
use crate::sync::descriptors::OwnFile;
use crate::sync::fork::LockFile;
use crate::sync::locks::{try_lock_data, try_lock_exclusive, try_lock_shared};
use crate::sync::wait::wait_for;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The path for the cache of this user when none is given: the first of [`default_paths`].
///
/// ```
/// println!("{}", kennel::default_path().display());
/// ```
#[must_use]
pub fn default_path() -> PathBuf {
    default_paths().into_iter().next().unwrap_or_else(|| PathBuf::from("kennel.cache"))
}

/// The paths that the cache of this user can have when none is given, the best first; there is at least one.
///
/// They lie in the user's runtime directory (`XDG_RUNTIME_DIR`), in `/dev/shm` and in the temporary directory; on Windows
/// in the user's local application data and in the temporary directory. A path is left out if this process cannot create
/// files in its directory, if the runtime directory belongs to another user, or if another user has put something in the
/// place of the file or of its locks. Only an attempt shows whether a cache of the wanted size fits there:
///
/// ```no_run
/// # fn main() -> kennel::Result<()> {
/// let mut opened = Err(kennel::Error::NotFound(kennel::default_path()));
/// for path in kennel::default_paths() {
///     opened = kennel::Options::new().open_or_create(path);
///     if opened.is_ok() {
///         break;
///     }
/// }
/// let cache = opened?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn default_paths() -> Vec<PathBuf> {
    let places = platform::default_places();
    let path = |place: &DefaultPlace| place.directory.join(&place.name);
    let is_usable = |place: &&DefaultPlace| {
        let path = path(place);
        let no_other_has = |path: &Path| platform::is_ours_or_free(path);
        platform::may_create_in(place) && no_other_has(&path) && no_other_has(&locks_root(&path))
    };
    let mut paths: Vec<PathBuf> = places.iter().filter(is_usable).map(path).collect();
    if paths.is_empty() {
        // An attempt to create a cache there fails with an error that says why.
        paths.extend(places.last().map(path));
    }
    paths.dedup();
    paths
}

/// A cache file's path with all symbolic links resolved; the file itself need not exist.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    linkless(path).map(platform::usual_form)
}

fn linkless(path: &Path) -> Result<PathBuf> {
    let no_file = || Error::BadOption {
        option: "path",
        given: path.display().to_string(),
        expected: "the path of a file".into(),
    };
    if let Ok(real) = fs::canonicalize(path) {
        return if real.file_name().is_none() { Err(no_file()) } else { Ok(real) };
    }
    let Some(name) = path.file_name() else { return Err(no_file()) };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).map_err(Error::io("find the directory", parent))?;
    Ok(parent.join(name))
}

/// The directory of all lock directories that belong to this path.
pub(crate) fn locks_root(real: &Path) -> PathBuf {
    let mut name = real.as_os_str().to_owned();
    name.push(".locks");
    PathBuf::from(name)
}

/// The lock directory of one cache file.
pub(crate) fn lock_directory(real: &Path, id: [u64; 2]) -> PathBuf {
    locks_root(real).join(format_id(id))
}

/// A file id as 32 hexadecimal digits.
pub(crate) fn format_id(id: [u64; 2]) -> String {
    format!("{:016x}{:016x}", id[1], id[0])
}

/// Opens an existing cache file.
pub(crate) fn open_data(real: &Path, writable: bool) -> Result<File> {
    OpenOptions::new().read(true).write(writable).open(real).map_err(not_opened(real))
}

/// Why a data file could not be opened.
fn not_opened(real: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound(real.into()),
        _ => Error::Io { what: "open", path: real.into(), source },
    }
}

/// The lock of the data file, under which it is opened, reset, replaced, and seats change hands. Dropping
/// it unlocks.
pub(crate) struct DataLock(#[expect(dead_code, reason = "held, never looked at")] LockFile);

impl DataLock {
    /// Takes the lock of the file that `data` is: `None` when somebody else held it for the whole of `limit`.
    ///
    /// The file is opened once more for it: such a lock belongs to the open file, and `data` is shared with
    /// every child of this process.
    pub(crate) fn take(data: &File, real: &Path, limit: Duration) -> Result<Option<Self>> {
        Self::of(LockFile::reopen(data, real), real, limit)
    }

    /// As [`take`](Self::take), for a file that has been open for a long time.
    pub(crate) fn take_again(data: &OwnFile, real: &Path, limit: Duration) -> Result<Option<Self>> {
        Self::of(LockFile::reopen_own(data, real), real, limit)
    }

    fn of(file: io::Result<LockFile>, real: &Path, limit: Duration) -> Result<Option<Self>> {
        let file = file.map_err(not_opened(real))?;
        let got = wait_for(limit, || try_lock_data(&file));
        let got = got.map_err(Error::io("lock", real))?;
        Ok(got.map(|_| Self(file)))
    }
}

/// Whether a path still names the file that was opened.
pub(crate) fn still_names(real: &Path, data: &File) -> bool {
    let identity = |file: &File| platform::identity(file).ok();
    File::open(real).ok().and_then(|now| identity(&now)) == identity(data)
}

/// The lock of the directory of all lock directories of a path: shared by those who make one there, until it has a
/// lease of its own, and exclusive for those who tidy up.
pub(crate) struct RootLock(#[expect(dead_code, reason = "held, never looked at")] LockFile);

/// How long one who tidies waits for those who create.
const TIDY_WAIT: Duration = Duration::from_secs(1);
/// Pause of one whose directory was removed while it was made.
const AGAIN_WAIT: Duration = Duration::from_millis(1);

impl RootLock {
    /// As [`shared`](Self::shared), for one who makes the locks of a file; a strategy without lock files needs none.
    pub(crate) fn to_make_locks(real: &Path, settings: &Settings) -> Result<Option<Self>> {
        settings.locks.is_shared().then(|| Self::shared(real, settings)).transpose()
    }

    /// Makes the directory, and keeps tidiers out of it.
    pub(crate) fn shared(real: &Path, settings: &Settings) -> Result<Self> {
        let root = locks_root(real);
        let begun = Instant::now();
        let is_last_try = || begun.elapsed() > settings.lock_wait;
        loop {
            // One who tidies up may remove it between any two of these steps.
            let made = platform::make_private_dir(&root, settings.mode, settings.trust);
            let lock = match made.and_then(|()| Self::open(&root)) {
                Err(error) if platform::is_vanishing(&error) && !is_last_try() => {
                    std::thread::sleep(AGAIN_WAIT);
                    continue;
                }
                other => other.map_err(Error::io("create the lock directory", &root))?,
            };
            let got = wait_for(settings.lock_wait, || try_lock_shared(&lock));
            if got.map_err(Error::io("lock the lock directory", &root))?.is_none() {
                return Err(super::open::held_too_long(real, settings));
            }
            // One who tidied up may have removed it before it was locked.
            if Self::is_of(&root, &lock) {
                return Ok(Self(lock));
            }
        }
    }

    /// Keeps creators out; `None` when one does not end, or there is nothing to tidy.
    fn exclusive(root: &Path) -> Option<Self> {
        let lock = Self::open(root).ok()?;
        let got = wait_for(TIDY_WAIT, || try_lock_exclusive(&lock)).ok()?;
        got.filter(|_| Self::is_of(root, &lock)).map(|_| Self(lock))
    }

    fn open(root: &Path) -> io::Result<LockFile> {
        let (path, options) = platform::root_lock(root);
        LockFile::open_with(&options, &path)
    }

    fn is_of(root: &Path, lock: &LockFile) -> bool {
        still_names(&platform::root_lock(root).0, lock)
    }

    /// Removes the directory if nothing is left in it but this lock.
    fn remove_empty(self, root: &Path) {
        let (path, _) = platform::root_lock(root);
        if path == root {
            // Only an empty one goes, and while it is locked: a creator finds then that it is gone.
            let _ = fs::remove_dir(root);
            return;
        }
        let Ok(mut entries) = fs::read_dir(root) else { return };
        if entries.all(|entry| entry.is_ok_and(|entry| entry.path() == path)) {
            // The same for the file in it, which keeps the directory from going while another creator has one.
            let _ = fs::remove_file(&path);
            drop(self);
            let _ = fs::remove_dir(root);
        }
    }
}

/// Takes the path from a cache file that others may have mapped; for them it lives on without. The data lock is held.
/// Returns where the file lies now, if anywhere.
///
/// Where a mapped file cannot be removed it is moved into a lock directory of its own, and goes with that: when the
/// last who has it open closes it, or when somebody tidies up later.
pub(crate) fn take_path(real: &Path, settings: &Settings) -> Result<Option<PathBuf>> {
    if platform::CAN_REPLACE_MAPPED {
        fs::remove_file(real).map_err(Error::io("remove", real))?;
        return Ok(None);
    }
    let _root_lock = RootLock::shared(real, settings)?;
    let directory = lock_directory(real, [settings.random()?, settings.random()?]);
    platform::make_private_dir(&directory, settings.mode, settings.trust)
        .map_err(Error::io("create the directory", &directory))?;
    let aside = directory.join("replaced");
    platform::move_aside(real, &aside).map_err(Error::io("move aside", real))?;
    Ok(Some(aside))
}

/// Removes a lock directory if nobody uses it: if all its locks and leases can be taken.
///
/// It is only tidying: what cannot be removed now is in nobody's way and goes at another time.
fn remove_unused_locks(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut held = Vec::new();
    for entry in entries.flatten() {
        match LockFile::open(&entry.path()) {
            Ok(file) if matches!(try_lock_exclusive(&file), Ok(true)) => held.push((entry.path(), file)),
            _ => return,
        }
    }
    for (path, _lock) in &held {
        let _ = fs::remove_file(path);
    }
    drop(held);
    let _ = fs::remove_dir(directory);
}

/// Removes what killed creators and replaced files left behind beside this cache file.
pub(crate) fn tidy(real: &Path) {
    let root = locks_root(real);
    let Some(lock) = RootLock::exclusive(&root) else { return };
    let Ok(entries) = fs::read_dir(&root) else { return };
    let keep = File::open(real).ok().and_then(|file| Own::read(&file)).map(|own| format_id(own.id));
    for entry in entries.flatten() {
        let name = entry.file_name();
        if Some(name.to_string_lossy().as_ref()) != keep.as_deref() {
            remove_unused_locks(&entry.path());
        }
    }
    lock.remove_empty(&root);
}

/// Tidies up when it is dropped, if it was told to: the last part of what has a file mapped, it is dropped when the
/// mapping is gone.
#[derive(Default)]
pub(crate) struct TidyAtEnd(pub Option<PathBuf>);

impl Drop for TidyAtEnd {
    fn drop(&mut self) {
        if let Some(real) = &self.0 {
            tidy(real);
        }
    }
}
