//! The locks of stripes: how one operation waits for them.

use super::count::count;
use super::waiting::{Pause, Step, growing_pause};
use crate::error::{Error, Result};
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
        let at_once = |joined| Some((joined, lock_region(joined, opened, stripe, Duration::ZERO).ok()?));
        let (joined, lock) = match opened.joined().and_then(at_once) {
            Some(locked) => locked,
            None => self.lock_region(opened, stripe, Duration::MAX)?,
        };
        opened.with_stripe(joined, stripe, lock, work)
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
    pub(super) fn retry<T>(&mut self, attempt: Result<T>, count: impl FnOnce(MemberCount)) -> Result<Step<T>> {
        let Waiter::Task { failing, failed } = &mut self.waiter else { return attempt.map(Step::Done) };
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
        self.left = self.left.saturating_sub(since.elapsed());
        match attempt {
            Err(Error::Busy { stripe, .. }) => {
                if !self.whole.is_zero() {
                    count(MemberCount::Busy);
                }
                Err(Error::Busy { stripe, waited: limit })
            }
            attempt => {
                count(MemberCount::LockWaits);
                attempt.map(Step::Done)
            }
        }
    }
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
            if lock.waited {
                count(opened, MemberCount::LockWaits);
            }
            Ok(lock)
        }
        Err(error) => Err(not_locked(opened, stripe, limit, error)),
    }
}

#[cold]
fn not_locked(opened: &AttachedFile, stripe: u32, limit: Duration, error: LockError) -> Error {
    // An attempt without a wait is no failure to be counted.
    if !limit.is_zero() {
        count(opened, MemberCount::Busy);
    }
    lock_error(opened, stripe, limit, error)
}

/// Locks a stripe for a read, within a short time. With strategy `none` a read never locks: the one writer may be alive.
pub(super) fn lock_for_read(opened: &AttachedFile, stripe: u32) -> Option<StripeGuard<'_, Mapping>> {
    let joined = opened.joined().filter(|joined| joined.member.locks.exclude())?;
    let lock = opened.lock(joined, stripe, READ_WAIT).ok()?;
    opened.enter(joined, stripe, lock).ok()
}
