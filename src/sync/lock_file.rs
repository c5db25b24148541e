//! A file that is opened in order to lock it.

use super::own_file::{OwnFile, was_locked};
use crate::platform::{self, Examined, Identity};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;

/// An open file that holds locks; a forked child closes its copy.
///
/// A `flock` lock belongs to the open file description, which a forked child inherits: with a plain [`File`] the child
/// would keep its parent's locks after the parent dies. A custom strategy must use this type for `flock` locks.
#[derive(Debug)]
pub struct LockFile(OwnFile);

impl LockFile {
    /// Opens an existing regular file for locking, with read and write access. Refuses any other kind of file, and does
    /// not follow a symbolic link.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::opened_by(|| platform::open_file(path, true))
    }

    /// Opens a file of a lock directory that must have this inode number; 0 stands for any. `kind` is for messages. If
    /// the file is missing or is another one, the error is of kind [`NotFound`](io::ErrorKind::NotFound).
    pub(super) fn open_known(path: &Path, kind: &str, inode: u64) -> io::Result<Self> {
        let replaced = |why: String| {
            let why = format!("{kind} {}: {why}: it was replaced", path.display());
            io::Error::new(io::ErrorKind::NotFound, why)
        };
        let opened = Self::opened_by(|| platform::open_own_file(path));
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::new(error.kind(), format!("expected the {kind} {}, found none", path.display()))
            }
            // The path leads to something other than a regular file.
            io::ErrorKind::InvalidInput => replaced(error.to_string()),
            other => io::Error::new(other, format!("{kind} {}: {error}", path.display())),
        })?;
        let found = file.identity().inode;
        if inode != 0 && found != inode {
            return Err(replaced(format!("expected inode {inode}, found {found}")));
        }
        Ok(file)
    }

    /// Creates a file for locking, with exactly the permission bits of `mode`: the umask does not apply.
    pub(crate) fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let create = || OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = Self::opened_by(|| Examined::of(create()?))?;
        platform::set_mode(&file, mode)?;
        Ok(file)
    }

    /// Opens the file behind `file` a second time. Its path is, or was, `path`.
    pub(crate) fn reopen(file: &File, identity: Identity, path: &Path) -> io::Result<Self> {
        Self::opened_by(|| platform::reopen(file, identity, path))
    }

    /// [`reopen`](Self::reopen) for a file whose descriptor the program may have closed: in that case the file is
    /// opened by `path`, if that still leads to it.
    pub(crate) fn reopen_own(own: &OwnFile, path: &Path) -> io::Result<Self> {
        if let Some(file) = own.get() {
            return Self::reopen(file, own.identity(), path);
        }
        let named = Self::open(path)?;
        if named.identity() == own.identity() { Ok(named) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Closes the file without unlocking it, in the call that opened it: either it holds no lock, or a mapping of the
    /// file keeps the lock.
    pub(super) fn close_as_it_is(self) {
        self.0.close_as_it_is();
    }

    /// The identity of the file that was opened.
    pub(crate) fn identity(&self) -> Identity {
        self.0.identity()
    }

    /// Tries to lock the file exclusively: `false` while another open file description holds a lock on it.
    pub(crate) fn try_lock_exclusive(&self) -> io::Result<bool> {
        was_locked(fs2::FileExt::try_lock_exclusive(&**self))
    }

    /// Tries to take a shared lock: `false` while another open file description holds an exclusive one.
    pub(crate) fn try_lock_shared(&self) -> io::Result<bool> {
        was_locked(fs2::FileExt::try_lock_shared(&**self))
    }

    /// Tries to lock a data file exclusively, in a way that does not block reads of its content.
    pub(crate) fn try_lock_data(&self) -> io::Result<bool> {
        was_locked(platform::try_lock_data(self))
    }

    /// Whether the descriptor still leads to the file that was opened.
    pub(super) fn is_own(&self) -> bool {
        self.0.get().is_some()
    }

    /// Opens a file for locking with the function `open`.
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
