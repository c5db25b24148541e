//! How callers wait. A step of an operation never waits for another caller's claim: it returns how long to pause before
//! the next step. Threads and tokio tasks take the same steps; only their pauses differ.

use crate::error::Result;
use crate::file::AttachedFile;
use crate::platform::sleep_on;
use crate::shm::Memory;
use crate::store::claim::ClaimId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a caller waits for a lock that another caller holds, or for a value that another caller creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Without a limit. A stopped process keeps a lock, unless the lock has a [maximum
    /// age](crate::LockOptions::max_age), so the wait may never end. A wait for a creation does end, because the claim
    /// to create has a [maximum age](crate::CreateOptions::claim_max_age).
    Forever,
    /// At most this long.
    For(Duration),
    /// Not at all. The caller still waits up to 250 ms for the stripe's own lock, which a write holds for microseconds,
    /// before it gets [`Busy`](crate::Error::Busy). With [`Cache::with_lock_wait`](crate::Cache::with_lock_wait) it
    /// waits for less.
    No,
}

impl Default for Wait {
    /// 30 seconds.
    fn default() -> Self {
        Self::For(Duration::from_secs(30))
    }
}

impl Wait {
    /// The end of a wait that begins at `now`; `None` if it has no limit.
    pub(super) fn deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Wait::Forever => None,
            // A time that the clock cannot represent means no limit.
            Wait::For(limit) => now.checked_add(limit),
            Wait::No => Some(now),
        }
    }
}

/// The result of one step of an operation.
pub(super) enum Step<T> {
    Done(T),
    /// The next step is due after this pause.
    Wait(Pause),
}

/// A pause between two steps.
pub(super) enum Pause {
    /// Until a claim ends, but no longer than `limit`.
    Claim { opened: Arc<AttachedFile>, claim_id: ClaimId, limit: Duration },
    /// For a fixed time. A task whose pause is zero lets other tasks run once.
    Time(Duration),
}

impl Pause {
    /// Whether a pause that began at `since` is not over yet.
    pub(super) fn lasts(&self, since: Instant) -> bool {
        match self {
            Pause::Claim { opened, claim_id, limit } => {
                since.elapsed() < *limit && opened.store.is_claim_held(claim_id)
            }
            Pause::Time(time) => since.elapsed() < *time,
        }
    }
}

/// Takes the steps of an operation on a thread, which sleeps between them.
pub(super) fn run<T>(mut step: impl FnMut() -> Result<Step<T>>) -> Result<T> {
    loop {
        match step()? {
            Step::Done(done) => return Ok(done),
            Step::Wait(Pause::Time(time)) => std::thread::sleep(time),
            // The end of the claim wakes the thread.
            Step::Wait(Pause::Claim { opened, claim_id, limit }) => {
                let word = opened.store.mem.word(opened.store.sleep_at(&claim_id));
                let seen = claim_id.expected();
                sleep_on(word.low_half(), seen as u32, || word.get() == seen, limit);
            }
        }
    }
}

/// Takes the steps of an operation in a task, which holds no thread between them. The end of a claim does not wake a
/// task, so the task looks at the claim's word from time to time.
#[cfg(feature = "tokio")]
pub(super) async fn run_as_task<T>(mut step: impl FnMut() -> Result<Step<T>>) -> Result<T> {
    loop {
        match step()? {
            Step::Done(done) => return Ok(done),
            Step::Wait(Pause::Time(Duration::ZERO)) => tokio::task::yield_now().await,
            Step::Wait(Pause::Time(time)) => tokio::time::sleep(time).await,
            Step::Wait(Pause::Claim { opened, claim_id, limit }) => {
                let (start, mut looks) = (Instant::now(), 0);
                while opened.store.is_claim_held(&claim_id) {
                    let left = limit.saturating_sub(start.elapsed());
                    if left.is_zero() {
                        break;
                    }
                    tokio::time::sleep(growing_pause(looks).min(left)).await;
                    looks += 1;
                }
            }
        }
    }
}

/// The pause of a task before it looks at a claim's word again, or tries to lock again: from 1 to 10 milliseconds.
pub(super) fn growing_pause(earlier: u32) -> Duration {
    Duration::from_millis((1 << earlier.min(8)).min(10))
}
