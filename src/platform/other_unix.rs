//! All other Unix systems. Kennel has not been run on any of them.

pub(crate) use super::super::lacking::{
    MAPPINGS_KEEP_LOCKS, clock_ahead_ms, heavy_barrier, is_in_memory, keep_from_children, light_barrier,
    mappings_keep_locks, nameless_file, next_data, prefault, process_word, zero_process_word_in_children,
};
use super::super::unknown_boot;
pub(crate) use super::super::wait::{sleep_on, wake_all, wake_one};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// A path to an open file: unknown here.
pub(super) fn path_of(_: &File) -> Option<PathBuf> {
    None
}

/// The id of the boot: unknown here.
pub(crate) fn boot_id() -> [u64; 2] {
    unknown_boot()
}

/// Sets the file's length and reserves all its blocks, where the file system supports that.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    fs2::FileExt::allocate(file, len)?;
    file.set_len(len)
}

/// The kind of the file's file system, if mappings or locks on it are not coherent between its users: unknown here.
pub(crate) fn network_filesystem(_: &File) -> Option<String> {
    None
}
