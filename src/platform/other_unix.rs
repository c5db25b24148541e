//! What Unix systems do of which nothing else is known. Nobody has run Kennel on one.

use super::super::unknown_boot;
pub(crate) use super::super::wait::{sleep_on, wake_all, wake_one};
use memmap2::MmapRaw;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A path that leads to the very file that is open: there is none.
pub(super) fn path_of(_: &File) -> Option<PathBuf> {
    None
}

/// A number that changes when the host starts anew.
pub(crate) fn boot_id() -> [u64; 2] {
    unknown_boot()
}

/// Gives the file its length with all its blocks reserved, where the file system does that.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    fs2::FileExt::allocate(file, len)?;
    file.set_len(len)
}

/// The kind of a file system on which mappings or locks are not shared as they must be: not known.
pub(crate) fn network_filesystem(_: &File) -> Option<String> {
    None
}

/// Opens a file that has no name yet: no file is without one here.
pub(crate) fn nameless_file(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Makes every page of a mapping present and writable; `false` where the system has no call for it.
pub(crate) fn populate(_: &MmapRaw) -> io::Result<bool> {
    Ok(false)
}

/// Whether a mapping can keep the lock of a file whose descriptor was closed: nobody promises that.
pub(crate) const MAPPINGS_KEEP_LOCKS: bool = false;

/// Whether a mapping of this very file does.
pub(crate) fn mappings_keep_locks(_: &File) -> bool {
    false
}

/// Keeps a mapping from children that are forked from here on: not asked for where mappings keep no locks.
pub(crate) fn keep_from_children(_: &MmapRaw) -> io::Result<()> {
    Ok(())
}
