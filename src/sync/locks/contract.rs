//! What a lock strategy must offer, and where its locks live.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why a lock was not given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another thread or process held it for the whole of the limit.
    #[error("the lock was held by another thread or process for the whole of the limit")]
    Busy,
    /// The system refused, or the lock is not where it should be.
    #[error("the lock cannot be taken")]
    Failed(#[from] io::Error),
}

/// How a lock was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive,
    Shared,
}

/// Where the locks of one cache file live.
#[derive(Clone, Debug)]
pub struct LockPlace {
    /// The lock directory of the cache file. What a strategy puts here goes when the cache is destroyed.
    pub directory: PathBuf,
    /// Lock regions, numbered from 0.
    pub regions: u32,
    /// Inode numbers that the lock files of the built-in strategies must have; one that differs is not the
    /// lock that everybody else holds.
    pub(crate) inodes: Arc<[u64]>,
}

impl LockPlace {
    /// A place without a cache file, where the locks of a strategy of your own can be made and attached to.
    #[must_use]
    pub fn new(directory: &Path, regions: u32) -> Self {
        Self { directory: directory.into(), regions, inodes: Arc::new([]) }
    }
}

/// Path of a built-in strategy's lock file.
pub(crate) fn lock_file_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:04}.lock"))
}

/// Whether a name in a lock directory is that of a lock file, be it of a strategy of a caller's own.
pub(crate) fn is_lock_name(name: &str) -> bool {
    name.strip_suffix(".lock").is_some_and(|rest| !rest.is_empty())
}

/// A lock strategy of the caller's own.
///
/// Open the file with [`Options::locks`](crate::Options::locks) set to the same strategy everywhere; a process
/// without it is refused. `tests/custom_lock.rs` of the crate `kennel-conformance` shows one in full.
pub trait LockFactory: Send + Sync {
    /// Up to 32 bytes, stored in the file.
    fn name(&self) -> &str;

    /// A number of your choice, from 1000 on, stored in the file.
    fn id(&self) -> u64;

    /// Makes what the locks need, once, while the cache file is being created.
    ///
    /// Give its files names that end in `.lock`. They are removed with the directory once the cache file is destroyed and
    /// nobody uses them. A directory that holds anything else is left as it is, for you to remove.
    ///
    /// # Errors
    /// Whatever keeps the locks from being made; the cache is not created then.
    fn prepare(&self, place: &LockPlace) -> io::Result<()>;

    /// Attaches this process; called again in a forked child.
    ///
    /// # Errors
    /// When the locks that `prepare` made are not there.
    fn attach(&self, place: &LockPlace) -> io::Result<Box<dyn LockRegions>>;
}

/// The lock regions of one cache file, as one process sees them. See the [contract](crate::locks).
pub trait LockRegions: Send + Sync {
    /// Locks a region for this thread within `limit`.
    ///
    /// # Errors
    /// [`LockError::Busy`] at the limit, [`LockError::Failed`] when the system refuses.
    fn lock(&self, region: u32, limit: Duration) -> Result<(), LockError>;

    /// Unlocks a region that this thread locked.
    fn unlock(&self, region: u32);
}
