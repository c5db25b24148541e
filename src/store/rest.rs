//! Rests: after a creation failed, no caller tries to create the value again for a time.
//!
//! A rest is a claim that has ended and keeps its slot. It is a hint: a write of the key or an invalidation ends it,
//! and so may a new claim that needs a slot. After its end a rest is remembered for as long again as it lasted, so that
//! another failure in that time makes a longer rest.
//!
//! *A rest begins under the stripe's lock*, while its claim is held, since no other claim may begin in the slot
//! meanwhile.

use super::claim::{ClaimId, End};
use super::stripe_guard::StripeGuard;
use super::table::Store;
use crate::hash::Key;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::{Memory, Step};
#[cfg(not(loom))]
use crate::sync::clock::monotonic_ms;

/// Time stands still in models.
#[cfg(loom)]
fn monotonic_ms() -> u64 {
    0
}

const DUE_BITS: u32 = 40;
const LENGTH_BITS: u32 = 16;
const DUE: u64 = (1 << DUE_BITS) - 1;

/// The word `started` of a claim that rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// How many creations failed in a row.
    pub failures: u8,
    length_tenths: u16,
    /// The host's monotonic clock when the rest ends, in milliseconds.
    due_ms: u64,
}

impl Rest {
    pub(crate) fn new(failures: u8, now_ms: u64, length_ms: u64) -> Self {
        let length_tenths = length_ms.div_ceil(100).min(u16::MAX.into()) as u16;
        let length_ms = length_ms.min(u64::from(length_tenths) * 100);
        Self { failures, length_tenths, due_ms: now_ms.wrapping_add(length_ms) & DUE }
    }

    fn from_word(word: u64) -> Self {
        let length_tenths = (word >> DUE_BITS) as u16;
        Self { failures: (word >> (DUE_BITS + LENGTH_BITS)) as u8, length_tenths, due_ms: word & DUE }
    }

    fn to_word(self) -> u64 {
        u64::from(self.failures) << (DUE_BITS + LENGTH_BITS) | u64::from(self.length_tenths) << DUE_BITS | self.due_ms
    }

    fn length_ms(self) -> u64 {
        u64::from(self.length_tenths) * 100
    }

    /// How long the rest lasts from now on; `None` if it is over. If the end is farther away than the rest is long, the
    /// word is damaged or comes from another clock, and the rest counts as over.
    pub(crate) fn left_ms(self, now_ms: u64) -> Option<u64> {
        let left_ms = self.due_ms.checked_sub(now_ms & DUE)?;
        (left_ms != 0 && left_ms <= self.length_ms()).then_some(left_ms)
    }

    /// Whether the rest lasts, or ended so recently that its failures still count.
    fn is_remembered(self, now_ms: u64) -> bool {
        match self.due_ms.checked_sub(now_ms & DUE) {
            Some(left_ms) => left_ms <= self.length_ms(),
            None => (now_ms & DUE) - self.due_ms < self.length_ms(),
        }
    }
}

impl<M: Memory> Store<M> {
    /// The rests of a stripe.
    pub(super) fn rests(&self, stripe: u32) -> impl Iterator<Item = ClaimId> {
        self.claims(stripe).filter(|(_, kind)| kind.is_none()).map(|(rest, _)| rest)
    }

    /// Ends a rest that need not be remembered any more, or that an invalidation ends.
    pub(super) fn sweep_rest(&self, rest: &ClaimId, now_ms: u64) {
        if !self.rest_in(rest).is_remembered(now_ms) {
            self.end_claim(rest, End::Failed);
        } else if self.is_claim_outdated(rest) {
            self.end_claim(rest, End::Void);
        }
    }

    fn rest_in(&self, rest: &ClaimId) -> Rest {
        Rest::from_word(self.claim_word(rest.stripe, rest.slot, at!(Claim.started)).get())
    }

    /// How many milliseconds a key still rests, read without the lock.
    pub(crate) fn rest_seen(&self, key: &Key<'_>, now_ms: u64) -> Option<u64> {
        self.rests(self.stripe_of(key)).find_map(|claim_id| {
            let counts = self.is_claim_of(&claim_id, key) && !self.is_claim_outdated(&claim_id);
            let rest = self.rest_in(&claim_id);
            // If the number is unchanged after these loads, all that they returned belongs to this rest: see `take`.
            fence(Ordering::Acquire);
            let is_same = self.number(claim_id.stripe, claim_id.slot) == claim_id.number;
            (counts && is_same).then(|| rest.left_ms(now_ms)).flatten()
        })
    }
}

impl<M: Memory> StripeGuard<'_, M> {
    /// The rest of a key, which may be over.
    pub(super) fn rest_of(&self, key: &Key<'_>) -> Option<(ClaimId, Rest)> {
        let rest = self.store.rests(self.stripe).find(|rest| self.store.is_claim_of(rest, key))?;
        Some((rest, self.store.rest_in(&rest)))
    }

    /// Ends a claim so that its key rests; `false` if the claim has ended otherwise. If an invalidation came after the
    /// claim began, it ends as void instead.
    pub(crate) fn rest(&mut self, claim_id: &ClaimId, rest: Rest) -> bool {
        let store = self.store;
        if !store.is_claim_held(claim_id) {
            return false;
        }
        if store.is_claim_outdated(claim_id) {
            store.end_claim(claim_id, End::Void);
            return false;
        }
        // The claim is still held, so no thread takes its slot. A death between the two stores leaves a claim whose
        // owner is dead, like a death at any other point.
        store.claim_word(self.stripe, claim_id.slot, at!(Claim.started)).set(Step::ClaimRest, rest.to_word());
        let word = store.claim_word(self.stripe, claim_id.slot, at!(Claim.number));
        // `Release`: a thread that sees the rest sees `started`, and what the owner did.
        let (held, resting) = (claim_id.number.0, claim_id.number.at_rest().0);
        let rests = word.compare_exchange(Step::ClaimRest, held, resting, Ordering::AcqRel).is_ok();
        if rests {
            store.mem.wake(store.sleep_at(claim_id));
        }
        rests
    }

    /// Ends the rests that need not be remembered any more. Reads the clock only where a key rests.
    pub(super) fn sweep_rests_if_any(&mut self) {
        let mut rests = self.store.rests(self.stripe).peekable();
        if rests.peek().is_some() {
            let now_ms = monotonic_ms();
            rests.for_each(|rest| self.store.sweep_rest(&rest, now_ms));
        }
    }
}
