//! Time limits and sizes of the checks.

use std::time::Duration;

/// The number of lock regions of a check's cache file.
pub(crate) const REGIONS: u32 = 4;
/// A time limit that a check waits for to its end.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// A limit within which a lock must be acquired; only a failure takes that long.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// A limit within which the lock of a dead owner must be acquired. The engine promises milliseconds; a busy machine may
/// take longer.
pub(crate) const AFTER_DEATH: Duration = Duration::from_secs(8);
/// How far a wait may exceed its limit on a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(10);
/// The number of threads or processes that add to one counter.
pub(crate) const WORKERS: u64 = 4;
/// The number of additions of each thread.
pub(crate) const THREAD_ROUNDS: u64 = 400;
/// The number of additions of each process.
pub(crate) const PROCESS_ROUNDS: u64 = 150;
