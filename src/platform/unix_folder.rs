//! Open directories, in which names are looked up without a path to the directory.

use super::kinds::Examined;
use super::unix::my_user;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// An open directory. A symbolic link that replaces its path does not redirect these functions.
pub(crate) struct Folder(OwnedFd);

impl Folder {
    const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

    /// Opens the directory at a path; a symbolic link to one is an error.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, path, Self::FLAGS, Mode::empty())?))
    }

    /// Opens a directory in this one; a symbolic link to one is an error.
    pub(crate) fn folder(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, Self::FLAGS, Mode::empty())?))
    }

    /// Whether it belongs to this user.
    pub(crate) fn is_ours(&self) -> io::Result<bool> {
        Ok(fstat(&self.0)?.st_uid == my_user())
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let names =
            Dir::read_from(&self.0)?.map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()));
        names.filter(|name| !name.as_ref().is_ok_and(|name| name == "." || name == "..")).collect()
    }

    /// Opens a regular file in it for reading and writing. The file must have no other name, and must belong to this
    /// user unless `trust` is set.
    pub(crate) fn file(&self, name: &OsStr, trust: bool) -> io::Result<Examined> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let examined = Examined::of(File::from(openat(&self.0, name, flags, Mode::empty())?))?;
        let meta = &examined.meta;
        let is_ours = meta.file_type().is_file() && meta.nlink() == 1 && (trust || meta.uid() == my_user());
        if is_ours { Ok(examined) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Whether the directory has a regular file of this name.
    pub(crate) fn has_file(&self, name: &OsStr) -> io::Result<bool> {
        let mode = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
        Ok(FileType::from_raw_mode(mode) == FileType::RegularFile)
    }

    /// Removes a file in it.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes an empty directory in it.
    pub(crate) fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }
}
