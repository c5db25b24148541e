//! How callers wait. A step of an operation never waits for another caller's claim: it returns the pause until the next
//! step. A thread and a task of tokio take the same steps; only their pauses differ.

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
    /// Without a limit. Nobody takes over from an owner that is stopped, so this may never end.
    Forever,
    /// At most this long.
    For(Duration),
    /// Not at all. The stripe's own lock, which a write holds for microseconds, is still awaited for up to a quarter of a
    /// second before [`Busy`](crate::Error::Busy), or for less with [`Cache::with_lock_wait`](crate::Cache::with_lock_wait).
    No,
}

impl Default for Wait {
    /// 30 seconds.
    fn default() -> Self {
        Self::For(Duration::from_secs(30))
    }
}

impl Wait {
    /// The end of a wait that begins `now`; `None` if it has no limit.
    pub(super) fn deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Wait::Forever => None,
            // A time that the clock cannot represent means no limit.
            Wait::For(limit) => now.checked_add(limit),
            Wait::No => Some(now),
        }
    }
}

/// What one step of an operation returns.
pub(super) enum Step<T> {
    Done(T),
    /// The next step is due after this pause.
    Wait(Pause),
}

/// A pause between two steps.
pub(super) enum Pause {
    /// Until a claim ends, but no longer than `limit`.
    Claim { opened: Arc<AttachedFile>, claim_id: ClaimId, limit: Duration },
    /// For a fixed time. A task whose pause is zero lets other tasks run.
    Time(Duration),
}

impl Pause {
    /// Whether a pause that began at this moment is not over.
    pub(super) fn lasts(&self, since: Instant) -> bool {
        match self {
            Pause::Claim { opened, claim_id, limit } => {
                since.elapsed() < *limit && opened.store.is_claim_held(claim_id)
            }
            Pause::Time(time) => since.elapsed() < *time,
        }
    }
}

/// Takes the steps of an operation on a thread, which sleeps in between.
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

/// Takes the steps of an operation in a task, which holds no thread in between. Nothing wakes a task at the end of a claim;
/// it looks at the claim's word from time to time.
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

/// A task's pause before another look at a claim's word, or another attempt to lock: from one millisecond to ten.
pub(super) fn growing_pause(earlier: u32) -> Duration {
    Duration::from_millis((1 << earlier.min(8)).min(10))
}
