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

/// What is known of a file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileSystem {
    /// A restart empties it.
    pub in_memory: bool,
    /// Its kind, if mappings or locks on it are not coherent between its users.
    pub network: Option<String>,
    /// It is known not to be laid over others.
    pub is_plain: bool,
}

/// A file being created: without a name where the system supports that, else in its lock directory.
pub(crate) struct NewFile {
    pub file: File,
    /// Its path until it gets its name; `None` if it has none.
    pub temporary: Option<TempPath>,
}

/// A function that runs before a fork, or after it in the parent or in the child.
pub(crate) type ForkHandler = extern "C" fn();

/// Which pages a mapping asks the system for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Small ones, even where the file lies in large ones.
    Small,
    /// What the system chooses.
    Any,
    /// Large ones where the file has them.
    LargeIfThere,
    /// Large ones where the file has them, and for what the mapping is the first to write.
    Large,
}
