//! The interface of a lock strategy, and the place of its locks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another thread or process held the lock for the whole limit.
    #[error("the lock was held by another thread or process for the whole limit")]
    Busy,
    /// The operating system reported an error, or the lock is missing.
    #[error("the lock cannot be taken")]
    Failed(#[from] io::Error),
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive,
    Shared,
}

/// Where the locks of one cache file live.
#[derive(Clone, Debug)]
pub struct LockPlace {
    /// The lock directory of the cache file. Lock files in it are removed when the cache is destroyed.
    pub directory: PathBuf,
    /// Number of lock regions, which count from 0.
    pub regions: u32,
    /// Expected inode numbers of the built-in strategies' lock files. A file with another number is not the one that
    /// the other processes lock.
    pub(crate) inodes: Arc<[u64]>,
}

impl LockPlace {
    /// A place without a cache file, to prepare and attach to the locks of a custom strategy, for example in a test.
    #[must_use]
    pub fn new(directory: &Path, regions: u32) -> Self {
        Self { directory: directory.into(), regions, inodes: Arc::new([]) }
    }
}

/// Path of a built-in strategy's lock file.
pub(crate) fn lock_file_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:04}.lock"))
}

/// Whether a name in a lock directory has the form of a lock file's name, including those of custom strategies.
pub(crate) fn is_lock_name(name: &str) -> bool {
    name.strip_suffix(".lock").is_some_and(|rest| !rest.is_empty())
}

/// A custom lock strategy.
///
/// All processes must open the file with [`Options::locks`](crate::Options::locks) set to the same strategy; a process
/// without it gets [`Error::UnknownStrategy`](crate::Error::UnknownStrategy). `tests/custom_lock.rs` of the crate
/// `kennel-conformance` has a complete example.
pub trait LockFactory: Send + Sync {
    /// The name of the strategy: 1 to 32 bytes, stored in the file.
    fn name(&self) -> &str;

    /// A number of your choice, at least 1000, stored in the file.
    fn id(&self) -> u64;

    /// Creates what the locks need. Called once, while the cache file is being created.
    ///
    /// Give its files names that end in `.lock`. Kennel removes them with the directory once the cache file is
    /// destroyed and no process uses them. You must remove a directory that holds anything else.
    ///
    /// # Errors
    /// Any error that keeps the locks from being created; the cache file is not created then.
    fn prepare(&self, place: &LockPlace) -> io::Result<()>;

    /// Attaches this process to the locks. Called again in a forked child.
    ///
    /// # Errors
    /// When the locks that `prepare` made are missing.
    fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>>;
}

/// The lock regions of one cache file, as one process sees them. They must keep the [contract](crate::locks).
pub trait LockRegions: Send + Sync {
    /// Locks a region for this thread within `limit`.
    ///
    /// # Errors
    /// [`LockError::Busy`] at the limit; [`LockError::Failed`] for an error of the operating system.
    fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError>;

    /// Unlocks a region that this thread locked.
    fn unlock(&self, region: u32);
}
