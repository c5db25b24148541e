//! The locks of stripes: how one operation waits for them.

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

/// How long a read waits for the stripe's lock on the slow path.
const READ_WAIT: Duration = Duration::from_millis(20);
/// The longest pause before another attempt to write to a file that is closed.
const CLOSED_PAUSE: Duration = Duration::from_millis(1);
/// Attempts of a task to lock a stripe, which others hold for microseconds, before its first timed pause. Between them
/// other tasks run.
const EAGER: u32 = 8;

/// How one operation waits for locks of stripes. For all locks that it takes, one after the other, it waits as long in
/// total as its handle waits for one.
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
    waiter: Waiter,
}

enum Waiter {
    /// A thread waits in its attempt to lock.
    Thread,
    /// A task only tries to lock, and tries again after a pause.
    Task {
        /// The time of the first of the attempts at the current lock that failed, and how long the task tries.
        failing: Option<(Instant, Duration)>,
        failed: u32,
    },
}

impl Patience {
    pub(super) fn of_thread(whole: Duration) -> Self {
        Self { whole, left: whole, waiter: Waiter::Thread }
    }

    /// For an operation that only tries to lock.
    pub(super) fn none() -> Self {
        Self::of_thread(Duration::ZERO)
    }

    pub(super) fn of_task(whole: Duration) -> Self {
        Self { whole, left: whole, waiter: Waiter::Task { failing: None, failed: 0 } }
    }

    pub(super) fn is_of_thread(&self) -> bool {
        matches!(self.waiter, Waiter::Thread)
    }

    /// The time for all locks together.
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

    /// Locks a stripe for the duration of `work`. A thread that need not wait takes the straight way.
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

    /// [`with_stripe`](Self::with_stripe) for a `work` that uses the rings only to put items.
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

    /// Locks a stripe's lock region: on the straight way, if the process has joined and the region is free.
    #[inline(always)]
    fn lock_soon<'o>(&mut self, opened: &'o AttachedFile, stripe: u32) -> Result<(&'o Membership, RegionGuard<'o>)> {
        let Some(joined) = opened.joined() else { return self.lock_region(opened, stripe, Duration::MAX) };
        let wait = || self.lock_region(opened, stripe, Duration::MAX).map(|(_, lock)| lock.hand_over());
        Ok((joined, opened.lock_at_once(joined, stripe, wait)?))
    }

    /// Locks a stripe's lock region, for which a thread waits up to `limit`. The process joins first, if it has not. A
    /// thread reads the clock only if another holds the lock.
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
        // A process that has not joined yet waits for its seat as well.
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

    /// What follows from an attempt: a task that found a lock taken pauses and makes another one while it has time. Every
    /// other outcome is final, as is each attempt of a thread, which has waited in it.
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
    /// What follows from an attempt of a thread: it has waited for locks in it, but not for a closed file to open.
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

/// The pause of a thread before its next attempt to write to a file that is closed.
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

/// [`lock_region`] for a region that is held, or whose lock takes system calls: it stays locked, for another guard. The
/// arguments fit in registers.
#[cold]
#[inline(never)]
pub(super) fn wait_for_region(joined: &Membership, opened: &AttachedFile, stripe: u32, limit: Duration) -> Result<()> {
    lock_region(joined, opened, stripe, limit).map(RegionGuard::hand_over)
}

#[cold]
fn not_locked(opened: &AttachedFile, stripe: u32, limit: Duration, error: LockError) -> Error {
    // An attempt without a wait is no failure to be counted.
    if !limit.is_zero() {
        count_lock_wait(opened, MemberCount::Busy, limit);
    }
    lock_error(opened, stripe, limit, error)
}

/// After [`lock_for_read`] failed: whether the file is closed, so that no reader repairs what a dead writer left. The
/// process that closed it does so; this waits a little for it.
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

/// Locks a stripe for a read, within a short time. With strategy `none` a read never locks: the one writer may be alive.
pub(super) fn lock_for_read(opened: &AttachedFile, stripe: u32) -> Option<StripeGuard<'_, Mapping>> {
    let joined = opened.joined().filter(|joined| joined.member.locks.exclude())?;
    let lock = opened.lock(joined, stripe, READ_WAIT).ok()?;
    opened.enter(joined, stripe, lock).ok()
}
