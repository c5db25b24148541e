//! The locks of stripes, and how one operation waits for them.

use super::count::{count, count_lock_wait};
use super::waiting::{Pause, Step, growing_pause};
use crate::error::{Error, Result, WHOLE_FILE};
use crate::file::AttachedFile;
use crate::file::attached::Membership;
use crate::file::flush::lock_error;
use crate::shm::mapping::Mapping;
use crate::store::counters::MemberCount;
use crate::store::stripe_guard::StripeGuard;
use crate::sync::locks::{LockError, RegionGuard};
use std::time::{Duration, Instant};

/// How long a read on the slow path waits for the stripe's lock.
const READ_WAIT: Duration = Duration::from_millis(20);
/// The longest pause before the next attempt to write to a closed file.
const CLOSED_PAUSE: Duration = Duration::from_millis(1);
/// How often a task tries to lock a stripe before its first timed pause. Other holders need the lock for microseconds
/// only. Between the attempts other tasks run.
const EAGER: u32 = 8;

/// How one operation waits for the locks of stripes. The time for which its handle waits for a lock covers all locks
/// that the operation takes, one after another.
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
    waiter: Waiter,
}

enum Waiter {
    /// A thread waits within its attempt to lock.
    Thread,
    /// A task only tries to lock, and tries again after a pause.
    Task {
        /// When the first attempt at the current lock failed, and how long the task tries to take this lock.
        failing: Option<(Instant, Duration)>,
        failed: u32,
    },
}

impl Patience {
    pub(super) fn of_thread(whole: Duration) -> Self {
        Self { whole, left: whole, waiter: Waiter::Thread }
    }

    /// The patience of an operation that only tries to lock.
    pub(super) fn none() -> Self {
        Self::of_thread(Duration::ZERO)
    }

    pub(super) fn of_task(whole: Duration) -> Self {
        Self { whole, left: whole, waiter: Waiter::Task { failing: None, failed: 0 } }
    }

    pub(super) fn is_of_thread(&self) -> bool {
        matches!(self.waiter, Waiter::Thread)
    }

    /// The time for waiting, for all locks together.
    pub(super) fn whole(&self) -> Duration {
        self.whole
    }

    /// Locks a stripe for writing.
    pub(super) fn lock_stripe<'o>(
        &mut self,
        opened: &'o AttachedFile,
        stripe: u32,
    ) -> Result<StripeGuard<'o, Mapping>> {
        let (joined, lock) = self.lock_region(opened, stripe, Duration::MAX)?;
        opened.enter(joined, stripe, lock)
    }

    /// Locks a stripe for the duration of `work`, on the shortest path if the lock is free.
    #[inline(always)]
    pub(super) fn with_stripe<'o, R>(
        &mut self,
        opened: &'o AttachedFile,
        stripe: u32,
        work: impl FnOnce(&mut StripeGuard<'o, Mapping>) -> R,
    ) -> Result<R> {
        let (joined, lock) = self.lock_soon(opened, stripe)?;
        opened.with_stripe(joined, stripe, lock, work)
    }

    /// [`with_stripe`](Self::with_stripe) for a `work` that uses the rings only to put items into them.
    #[inline(always)]
    pub(super) fn with_stripe_to_put<'o, R>(
        &mut self,
        opened: &'o AttachedFile,
        stripe: u32,
        work: impl FnOnce(&mut StripeGuard<'o, Mapping>) -> R,
    ) -> Result<R> {
        let head = opened.store.stripe_head(stripe);
        let (joined, lock) = self.lock_soon(opened, stripe)?;
        opened.with_stripe_to_put(joined, head, lock, work)
    }

    /// Locks a stripe's lock region, on the shortest path if the process has joined and the region is free.
    #[inline(always)]
    fn lock_soon<'o>(&mut self, opened: &'o AttachedFile, stripe: u32) -> Result<(&'o Membership, RegionGuard<'o>)> {
        let Some(joined) = opened.joined() else { return self.lock_region(opened, stripe, Duration::MAX) };
        let wait = || self.lock_region(opened, stripe, Duration::MAX).map(|(_, lock)| lock.hand_over());
        Ok((joined, opened.lock_at_once(joined, stripe, wait)?))
    }

    /// Locks a stripe's lock region, for which a thread waits up to `limit`. The process joins first, if it has not
    /// joined yet. A thread reads the clock only if another thread holds the lock.
    pub(super) fn lock_region<'o>(
        &mut self,
        opened: &'o AttachedFile,
        stripe: u32,
        limit: Duration,
    ) -> Result<(&'o Membership, RegionGuard<'o>)> {
        let lock = |limit| {
            let joined = opened.member_within(limit)?;
            Ok((joined, lock_region(joined, opened, stripe, limit)?))
        };
        let limit = limit.min(self.left);
        if let Waiter::Task { failing, .. } = &mut self.waiter {
            let locked = lock(Duration::ZERO);
            if let Err(Error::Busy { .. }) = locked {
                failing.get_or_insert_with(|| (Instant::now(), limit));
            }
            return locked;
        }
        // A process that has not joined yet also waits for its seat.
        if opened.joined().is_some() {
            match lock(Duration::ZERO) {
                Err(Error::Busy { .. }) => {}
                locked => return locked,
            }
            if limit.is_zero() {
                if !self.whole.is_zero() {
                    count(opened, MemberCount::Busy);
                }
                return Err(Error::Busy { stripe, waited: self.whole });
            }
        }
        let start = Instant::now();
        let locked = lock(limit);
        self.left = self.left.saturating_sub(start.elapsed());
        locked
    }

    /// The step that follows from an attempt. A task that found a lock taken pauses and tries again, as long as it has
    /// time. Every other outcome is final, and so is each attempt of a thread, because the thread has waited within it.
    pub(super) fn retry<T>(
        &mut self,
        attempt: Result<T>,
        count: impl FnOnce(MemberCount, Duration),
    ) -> Result<Step<T>> {
        let Waiter::Task { failing, failed } = &mut self.waiter else { return self.retry_if_closed(attempt) };
        if let Err(Error::Busy { .. }) = attempt {
            let (since, limit) = *failing.get_or_insert_with(|| (Instant::now(), self.left));
            let left = limit.saturating_sub(since.elapsed());
            if !left.is_zero() {
                *failed += 1;
                let pause = failed.checked_sub(EAGER).map_or(Duration::ZERO, growing_pause);
                return Ok(Step::Wait(Pause::Time(pause.min(left))));
            }
        }
        *failed = 0;
        let Some((since, limit)) = failing.take() else { return attempt.map(Step::Done) };
        let waited = since.elapsed();
        self.left = self.left.saturating_sub(waited);
        match attempt {
            Err(Error::Busy { stripe, .. }) => {
                if !self.whole.is_zero() {
                    count(MemberCount::Busy, waited);
                }
                Err(Error::Busy { stripe, waited: limit })
            }
            attempt => {
                count(MemberCount::LockWaits, waited);
                attempt.map(Step::Done)
            }
        }
    }
}

impl Patience {
    /// The step that follows from an attempt of a thread. Within the attempt it has waited for locks, but not for a
    /// closed file to open.
    pub(super) fn retry_if_closed<T>(&mut self, attempt: Result<T>) -> Result<Step<T>> {
        match attempt {
            Err(error) if error.says_closed() => {
                let pause = CLOSED_PAUSE.min(self.left);
                if pause.is_zero() {
                    return Err(Error::Busy { stripe: WHOLE_FILE, waited: self.whole });
                }
                self.left -= pause;
                Ok(Step::Wait(Pause::Time(pause)))
            }
            attempt => attempt.map(Step::Done),
        }
    }
}

/// The pause of a thread before its next attempt to write to a closed file.
pub(super) fn growing_wait(earlier: u32) -> Duration {
    CLOSED_PAUSE.min(Duration::from_micros(100 << earlier.min(8)))
}

/// Locks a stripe's lock region for a member, and counts a wait.
#[inline(always)]
pub(super) fn lock_region<'a>(
    joined: &'a Membership,
    opened: &'a AttachedFile,
    stripe: u32,
    limit: Duration,
) -> Result<RegionGuard<'a>> {
    match opened.lock(joined, stripe, limit) {
        Ok(lock) => {
            if let Some(waited) = lock.waited.time() {
                count_lock_wait(opened, MemberCount::LockWaits, waited);
            }
            Ok(lock)
        }
        Err(error) => Err(not_locked(opened, stripe, limit, error)),
    }
}

/// [`lock_region`] for a region that is held, or whose lock takes system calls. The region stays locked, for a guard
/// that the caller makes. The arguments fit in registers.
#[cold]
#[inline(never)]
pub(super) fn wait_for_region(joined: &Membership, opened: &AttachedFile, stripe: u32, limit: Duration) -> Result<()> {
    lock_region(joined, opened, stripe, limit).map(RegionGuard::hand_over)
}

#[cold]
fn not_locked(opened: &AttachedFile, stripe: u32, limit: Duration, error: LockError) -> Error {
    // A mere attempt that finds the lock held is not a failure to be counted.
    if !limit.is_zero() {
        count_lock_wait(opened, MemberCount::Busy, limit);
    }
    lock_error(opened, stripe, limit, error)
}

/// Called after [`lock_for_read`] failed. Returns whether the file is closed. No reader repairs what a dead writer left
/// in a closed file: the process that closed the file does, and this waits a little for it.
pub(super) fn await_settled(opened: &AttachedFile) -> bool {
    if !opened.is_closed() {
        return false;
    }
    let began = Instant::now();
    while opened.is_closed() && !opened.is_replaced() && began.elapsed() < READ_WAIT {
        std::thread::sleep(CLOSED_PAUSE / 4);
    }
    true
}

/// Locks a stripe for a read, within a short time. With the strategy `none` a read never locks, because the one writer
/// may be alive.
pub(super) fn lock_for_read(opened: &AttachedFile, stripe: u32) -> Option<StripeGuard<'_, Mapping>> {
    let joined = opened.joined().filter(|joined| joined.member.locks.exclude())?;
    let lock = opened.lock(joined, stripe, READ_WAIT).ok()?;
    opened.enter(joined, stripe, lock).ok()
}
