//! How long the checks wait, and how much they do.

use std::time::Duration;

/// Lock regions of the cache file of a check.
pub(crate) const REGIONS: u32 = 4;
/// A limit that a check waits for in full.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// A limit within which a lock must be given; only a failure takes that long.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// The same for the lock of a dead owner: the engine promises milliseconds, a busy machine may take more.
pub(crate) const AFTER_DEATH: Duration = Duration::from_secs(8);
/// What a wait may take beyond its limit on a machine that is busy with other things.
pub(crate) const SLACK: Duration = Duration::from_secs(10);
/// Threads, or processes, that add to one counter.
pub(crate) const WORKERS: u64 = 4;
/// Additions of each thread.
pub(crate) const THREAD_ROUNDS: u64 = 400;
/// Additions of each process.
pub(crate) const PROCESS_ROUNDS: u64 = 150;
