//! The types that all systems share.

use std::fs::{File, Metadata};
use tempfile::TempPath;

/// Identifies a file on this host for as long as the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Inode number; on Windows the file index.
    pub inode: u64,
    /// Device number; on Windows the volume's serial number.
    pub device: u64,
}

/// An open file with its identity and its metadata, so that no caller need ask the system again.
pub(crate) struct Examined {
    pub file: File,
    /// It does not change while the file is open.
    pub identity: Identity,
    pub meta: Metadata,
}

/// A file being created: without a name where the system supports that, else in its lock directory.
pub(crate) struct NewFile {
    pub file: File,
    /// Its path until it gets its name; `None` if it has none.
    pub temporary: Option<TempPath>,
}

/// A function that runs before a fork, or after it in the parent or in the child.
pub(crate) type ForkHandler = extern "C" fn();
