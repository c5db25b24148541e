//! All other Unix systems. Kennel has not been run on any of them.

use super::boot::unknown_boot;
use super::kinds::FileSystem;
use std::fs::File;
use std::path::PathBuf;

/// A path to an open file; `None`, since these systems have no common way to ask for one.
pub(super) fn path_of(_: &File) -> Option<PathBuf> {
    None
}

/// Stands for the id of the boot, which is unknown here.
pub(crate) fn boot_id() -> [u64; 2] {
    unknown_boot()
}

/// What is known of the file system of a file: nothing here.
pub(crate) fn file_system(_: &File) -> FileSystem {
    FileSystem::default()
}
