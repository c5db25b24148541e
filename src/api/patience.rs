//! One time for waiting that several locks share.

use super::read::count;
use super::write::lock_region;
use crate::error::{Error, Result};
use crate::shm::mapping::Mapping;
use crate::store::exclusive::Exclusive;
use crate::store::tally::MemberCount;
use crate::sync::locks::RegionGuard;
use crate::upkeep::Opened;
use crate::upkeep::opened::Joined;
use std::time::{Duration, Instant};

/// How long one caller waits for the locks of stripes, however many it takes one after the other.
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
    pub(super) fn lock_stripe<'o>(&mut self, opened: &'o Opened, stripe: u32) -> Result<Exclusive<'o, Mapping>> {
        let (joined, lock) = self.lock_region(opened, stripe, Duration::MAX)?;
        opened.enter(joined, stripe, lock)
    }

    /// The clock is asked only when there is somebody to wait for.
    pub(super) fn lock_region<'o>(
        &mut self,
        opened: &'o Opened,
        stripe: u32,
        limit: Duration,
    ) -> Result<(&'o Joined, RegionGuard<'o>)> {
        let limit = limit.min(self.left);
        // A process that is no member yet waits for that, too.
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
