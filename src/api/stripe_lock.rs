//! The locks of stripes: within the time that a handle waits, or that several locks share.

use super::count::count;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::attached::Membership;
use crate::file::flush::lock_error;
use crate::shm::mapping::Mapping;
use crate::store::stripe_guard::StripeGuard;
use crate::store::tally::MemberCount;
use crate::sync::locks::{LockError, RegionGuard};
use std::time::{Duration, Instant};

/// How long a read waits for the stripe's lock on the slow way.
const READ_WAIT: Duration = Duration::from_millis(20);

/// The time that one caller has left to wait for locks of stripes, however many it takes one after the other.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
}

impl Patience {
    pub(super) fn of(whole: Duration) -> Self {
        Self { whole, left: whole }
    }

    /// Locks a stripe and takes it over.
    pub(super) fn lock_stripe<'o>(
        &mut self,
        opened: &'o AttachedFile,
        stripe: u32,
    ) -> Result<StripeGuard<'o, Mapping>> {
        let (joined, lock) = self.lock_region(opened, stripe, Duration::MAX)?;
        opened.enter(joined, stripe, lock)
    }

    /// Locks a stripe's lock region. It reads the clock only if another holds the lock.
    pub(super) fn lock_region<'o>(
        &mut self,
        opened: &'o AttachedFile,
        stripe: u32,
        limit: Duration,
    ) -> Result<(&'o Membership, RegionGuard<'o>)> {
        let limit = limit.min(self.left);
        // A process that has not joined yet waits for its seat as well.
        let is_member = opened.joined().is_some();
        if is_member {
            match lock_region(opened, stripe, Duration::ZERO) {
                Err(Error::Busy { .. }) => {}
                locked => return locked,
            }
        }
        if is_member && limit.is_zero() {
            if !self.whole.is_zero() {
                count(opened, MemberCount::Busy);
            }
            return Err(Error::Busy { stripe, waited: self.whole });
        }
        let start = Instant::now();
        let locked = lock_region(opened, stripe, limit);
        self.left = self.left.saturating_sub(start.elapsed());
        locked
    }
}

/// Locks a stripe within a limit, and takes it over.
pub(super) fn lock_stripe(opened: &AttachedFile, stripe: u32, limit: Duration) -> Result<StripeGuard<'_, Mapping>> {
    let (joined, lock) = lock_region(opened, stripe, limit)?;
    opened.enter(joined, stripe, lock)
}

/// Locks a stripe to claim a key, within the caller's patience and a limit.
pub(super) fn lock_to_claim<'o>(
    opened: &'o AttachedFile,
    stripe: u32,
    patience: &mut Patience,
    limit: Duration,
) -> Result<StripeGuard<'o, Mapping>> {
    let (joined, lock) = patience.lock_region(opened, stripe, limit)?;
    opened.enter_to_claim(joined, stripe, lock)
}

/// Locks a stripe's lock region within a limit. This process joins first, if it has not.
#[inline(always)]
pub(super) fn lock_region(
    opened: &AttachedFile,
    stripe: u32,
    limit: Duration,
) -> Result<(&Membership, RegionGuard<'_>)> {
    let joined = opened.member_within(limit)?;
    Ok((joined, lock_as(joined, opened, stripe, limit)?))
}

/// Locks a stripe's lock region for a member, and counts a wait. The hot path calls it: the pair that
/// [`lock_region`] returns would be copied there.
#[inline(always)]
pub(super) fn lock_as<'a>(
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
