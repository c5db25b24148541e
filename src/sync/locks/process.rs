//! Strategy `process`: a flag per lock region, for the threads of one process.

use super::contract::LockError;
use crate::sync::wait::{Waited, wait_for};
use crossbeam::utils::CachePadded;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A lock among threads, for waits with a limit.
///
/// Waiters sleep with growing pauses instead of parking: the lock is held for about a microsecond, and a fork could
/// happen in the middle of a change to the parking state.
#[derive(Default)]
pub(super) struct Flag(CachePadded<AtomicBool>);

impl Flag {
    /// Sets the flag, together with the lock that `attempt` tries to take. Returns how long it waited.
    pub(super) fn lock(
        &self,
        limit: Duration,
        mut attempt: impl FnMut() -> io::Result<bool>,
    ) -> Result<Waited, LockError> {
        let waited = wait_for(limit, || {
            if !self.try_set() {
                return Ok(false);
            }
            let got = attempt();
            if !matches!(got, Ok(true)) {
                self.clear();
            }
            got
        })?;
        waited.ok_or(LockError::Busy)
    }

    #[inline]
    pub(super) fn try_set(&self) -> bool {
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Acquire)
    }

    #[inline]
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

pub(crate) struct ProcessLocks(Vec<Flag>);

impl ProcessLocks {
    pub(super) fn new(regions: u32) -> Self {
        Self((0..regions).map(|_| Flag::default()).collect())
    }

    /// Locks a region; returns how long it waited.
    pub(super) fn lock(&self, region: u32, limit: Duration) -> Result<Waited, LockError> {
        self.0[region as usize].lock(limit, || Ok(true))
    }

    /// Locks a region that is free.
    #[inline]
    pub(super) fn try_lock(&self, region: u32) -> bool {
        self.0[region as usize].try_set()
    }

    #[inline]
    pub(super) fn unlock(&self, region: u32) {
        self.0[region as usize].clear();
    }
}
