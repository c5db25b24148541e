//! A file that is opened to be locked.

use super::own_file::OwnFile;
use crate::platform::{self, Examined, Identity};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;

/// An open file that holds locks; a forked child loses it.
///
/// A lock of `flock` kind belongs to the open file, and a forked child inherits that: with a plain
/// [`File`] the child would keep its parent's locks when the parent dies. Strategies of your own keep theirs in
/// this one, or do without such locks.
#[derive(Debug)]
pub struct LockFile(OwnFile);

impl LockFile {
    /// Opens an existing regular file for locking, to read and write. What is anything else is not opened, and a symbolic
    /// link is not followed.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::opened_by(|| platform::open_file(path, true))
    }

    /// Makes a file for locking, with these permission bits whatever the umask.
    pub(crate) fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let create = || OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = Self::opened_by(|| Examined::of(create()?))?;
        platform::set_mode(&file, mode)?;
        Ok(file)
    }

    /// Opens the very file that is open, whose name is or was `path`, once more.
    pub(crate) fn reopen(file: &File, identity: Identity, path: &Path) -> io::Result<Self> {
        Self::opened_by(|| platform::reopen(file, identity, path))
    }

    /// The same for a file whose descriptor somebody may have closed: then by its path, if that still leads there.
    pub(crate) fn reopen_own(own: &OwnFile, path: &Path) -> io::Result<Self> {
        if let Some(file) = own.get() {
            return Self::reopen(file, own.identity(), path);
        }
        let named = Self::open(path)?;
        if named.identity() == own.identity() { Ok(named) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Closes it without unlocking it: it holds no lock, or leaves it to a mapping of the file.
    pub(super) fn close_as_it_is(self) {
        self.0.close_as_it_is();
    }

    /// Which file was opened.
    pub(crate) fn identity(&self) -> Identity {
        self.0.identity()
    }

    /// Tries to lock it exclusively: `false` while another open file has a lock on it.
    pub(crate) fn try_lock_exclusive(&self) -> io::Result<bool> {
        was_locked(fs2::FileExt::try_lock_exclusive(&**self))
    }

    /// Tries to lock it together with others that share it.
    pub(crate) fn try_lock_shared(&self) -> io::Result<bool> {
        was_locked(fs2::FileExt::try_lock_shared(&**self))
    }

    /// Tries to lock a data file exclusively, in a way that leaves its content to all who read it.
    pub(crate) fn try_lock_data(&self) -> io::Result<bool> {
        was_locked(platform::try_lock_data(self))
    }

    /// Whether its descriptor still leads to the file that was opened.
    pub(super) fn is_own(&self) -> bool {
        self.0.get().is_some()
    }

    /// Opens a file for locking by this function.
    pub(crate) fn opened_by(open: impl FnOnce() -> io::Result<Examined>) -> io::Result<Self> {
        OwnFile::opened_by(open, true).map(Self)
    }
}

impl Deref for LockFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.0.unchecked()
    }
}

/// Tells a lock that another open file has from other errors.
fn was_locked(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}
