//! The paths of a cache file and its locks.
//!
//! Symbolic links are resolved first, so that all processes that use one file find the same lock directory:
//! `REALPATH.locks/FILE-ID/`. The file id ties the locks to the file: the successor of a replaced file has other locks.

use super::settings::Settings;
use crate::error::{Error, Result};
use crate::platform::{self, Examined, Identity, Irregular};
use crate::sync::lock_file::LockFile;
use crate::sync::own_file::OwnFile;
use crate::sync::wait::wait_in_crowd;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The path of this user's cache if the caller gives none: the first of [`default_paths`].
///
/// ```
/// println!("{}", kennel::default_path().display());
/// ```
#[must_use]
pub fn default_path() -> PathBuf {
    default_paths().next().unwrap_or_else(|| PathBuf::from("kennel.cache"))
}

/// The candidate paths of this user's cache if the caller gives none, the best first; there is at least one. The
/// iterator checks each path only when it is about to yield it.
///
/// They lie in the user's runtime directory (`XDG_RUNTIME_DIR`), in `/dev/shm` and in the temporary directory; on
/// Windows in the user's local application data and in the temporary directory. A path is left out if this process
/// cannot create files in its directory, if the runtime directory belongs to another user, or if another user has put
/// something at the path of the file or of its locks. Only an attempt shows whether a cache of the desired size fits
/// there:
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
pub fn default_paths() -> impl Iterator<Item = PathBuf> {
    let mut paths = platform::default_paths();
    paths.dedup();
    let last = paths.last().cloned();
    let mut usable = paths.into_iter().filter(|path| is_usable(path)).peekable();
    // If no path is usable, the last one is kept: creating a cache there fails with an error that says why.
    let otherwise = if usable.peek().is_none() { last } else { None };
    usable.chain(otherwise)
}

fn is_usable(path: &Path) -> bool {
    path.parent().is_some_and(platform::may_create_in)
        && platform::is_ours_or_free(path)
        && platform::is_ours_or_free(&locks_root(path))
}

/// Resolves all symbolic links in a cache file's path. The file itself need not exist.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    linkless(path).map(platform::usual_form)
}

fn linkless(path: &Path) -> Result<PathBuf> {
    let no_file = || Error::BadOption {
        option: "path",
        given: path.display().to_string(),
        expected: "the path of a file".into(),
    };
    match fs::canonicalize(path) {
        Ok(real) if real.file_name().is_none() => return Err(no_file()),
        Ok(real) => return Ok(real),
        Err(error) if platform::is_vanishing(&error) => {}
        Err(source) => return Err(Error::Io { what: "find", path: path.into(), source }),
    }
    let Some(name) = path.file_name() else { return Err(no_file()) };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).map_err(Error::io("find the directory", parent))?;
    Ok(parent.join(name))
}

/// The directory that contains all lock directories of this path.
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

/// Opens an existing cache file. Refuses anything but a regular file.
pub(crate) fn open_data(real: &Path, writable: bool) -> Result<Examined> {
    platform::open_file(real, writable).map_err(not_opened(real))
}

/// Why a data file could not be opened.
fn not_opened(real: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound(real.into()),
        _ => match source.get_ref().and_then(|source| source.downcast_ref()) {
            Some(&Irregular(found)) => no_file(real, found),
            None => Error::Io { what: "open", path: real.into(), source },
        },
    }
}

/// The error for something other than a regular file at the path of a cache file.
fn no_file(real: &Path, found: &str) -> Error {
    let expected = "a regular file".into();
    Error::BadFile { path: real.into(), field: "file type", expected, found: found.into() }
}

/// Returns an error if anything exists at a path.
pub(crate) fn must_be_free(real: &Path) -> Result<()> {
    match fs::symlink_metadata(real) {
        Ok(meta) => Err(platform::irregular(meta.file_type())
            .map_or_else(|| Error::Exists(real.into()), |found| no_file(real, found))),
        Err(error) if platform::is_vanishing(&error) => Ok(()),
        Err(source) => Err(Error::Io { what: "examine", path: real.into(), source }),
    }
}

/// The opening lock: a lock on the data file, held by a descriptor of its own. A process holds it while it opens,
/// resets or replaces the file, and while it takes a seat. Dropping this unlocks the file.
pub(crate) struct DataLock(#[expect(dead_code, reason = "held, never read")] LockFile);

impl DataLock {
    /// Takes the opening lock of a new file; `None` if it was held elsewhere for the whole `limit`.
    ///
    /// The file is opened a second time for the lock, which belongs to an open file description: children of this
    /// process share that of `data`.
    pub(crate) fn take(data: &Examined, real: &Path, limit: Duration) -> Result<Option<Self>> {
        Self::of(LockFile::reopen(&data.file, data.identity, real), real, limit)
    }

    /// [`take`](Self::take) for a file opened long ago, whose descriptor the program may have closed since.
    pub(crate) fn take_again(data: &OwnFile, real: &Path, limit: Duration) -> Result<Option<Self>> {
        Self::of(LockFile::reopen_own(data, real), real, limit)
    }

    fn of(file: io::Result<LockFile>, real: &Path, limit: Duration) -> Result<Option<Self>> {
        let file = file.map_err(not_opened(real))?;
        let got = wait_in_crowd(limit, || file.try_lock_data());
        let got = got.map_err(Error::io("lock", real))?;
        Ok(got.map(|_| Self(file)))
    }
}

/// Takes the opening lock through the descriptor by which this process will use the file: see
/// [`OwnFile::keep_to_lock`]. Returns `false` if it was held elsewhere for the whole `limit`.
pub(crate) fn lock_own(data: &OwnFile, real: &Path, limit: Duration) -> Result<bool> {
    let got = wait_in_crowd(limit, || data.try_lock_data());
    Ok(got.map_err(Error::io("lock", real))?.is_some())
}

/// Whether a path names this file. A caller must not take an error for a "no": it would retry without end.
pub(crate) fn is_named(path: &Path, file: Identity) -> io::Result<bool> {
    Ok(platform::identity_at(path)? == Some(file))
}

/// [`is_named`] for a cache file, with an error that names its path.
pub(crate) fn still_names(real: &Path, data: Identity) -> Result<bool> {
    is_named(real, data).map_err(Error::io("examine", real))
}

/// The length of a cache file, if a path names it.
pub(crate) fn length_if_named(real: &Path, data: Identity) -> Result<Option<u64>> {
    let found = platform::file_at(real).map_err(Error::io("examine", real))?;
    Ok(found.filter(|(identity, _)| *identity == data).map(|(_, len)| len))
}

/// The error for an opening lock, of a file or of its lock directories, that other processes held for too long.
pub(crate) fn held_too_long(real: &Path, settings: &Settings) -> Error {
    if settings.locks.is_one_process() {
        return Error::OpenElsewhere(real.into());
    }
    timed_out(real, format!("another process held its opening lock for {:?}", settings.lock_wait))
}

/// The error for a file that was replaced at each attempt to open it.
pub(crate) fn replaced_too_often(real: &Path, settings: &Settings) -> Error {
    timed_out(real, format!("other processes kept creating, replacing or destroying it for {:?}", settings.lock_wait))
}

fn timed_out(real: &Path, why: String) -> Error {
    Error::Io { what: "open", path: real.into(), source: io::Error::new(io::ErrorKind::TimedOut, why) }
}
