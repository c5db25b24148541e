//! What Unix systems do of which nothing else is known. Nobody has run Kennel on one.

pub(crate) use super::super::lacking::{
    MAPPINGS_KEEP_LOCKS, clock_ahead_ms, heavy_barrier, is_in_memory, keep_from_children, light_barrier,
    mappings_keep_locks, nameless_file, next_data, populate, process_word, zero_process_word_in_children,
};
use super::super::unknown_boot;
pub(crate) use super::super::wait::{sleep_on, wake_all, wake_one};
use std::fs::File;
use std::io;
use std::path::PathBuf;

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
