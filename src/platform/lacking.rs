//! What stands where a system has nothing of the kind: each answer is slower, never wrong.

use memmap2::MmapRaw;
use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file that has no name yet: no file is without one here.
pub(crate) fn nameless_file(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Makes every page of a mapping present and writable; `false` where the system has no call for it.
pub(crate) fn populate(_: &MmapRaw) -> io::Result<bool> {
    Ok(false)
}

/// Whether a file lies on a file system that does not outlive the boot: not known.
pub(crate) fn is_in_memory(_: &File) -> bool {
    false
}

/// Where a file has data at or after an offset: nobody keeps an account of holes.
pub(crate) fn next_data(_: &File, offset: u64) -> io::Result<Option<u64>> {
    Ok(Some(offset))
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
