//! Claims. A claim gives one owner the right to create the value of a key, or locks the key.
//!
//! ```text
//! number    63..8 number of the claim | 7..0 state      a stripe never uses a number twice
//! key_hash  128 bits of the key
//! owner     63..32 seat | 31..0 generation              identifies a member for ever
//! task      thread or task of the owner
//! started   63..40 greatest age in tenths of a second, 0: none | 39..0 milliseconds of the monotonic clock
//!           of a claim that rests: 63..56 failures | 55..40 length of the rest, tenths of a second | 39..0 its end
//! epochs    epochs of the cache at the start
//! namespace_epochs   63..48 namespace | 47..0 its epochs at the start
//!
//!            take, under the lock             the owner:  stored, failed, not stored
//!  ended  -------------------------> held  ------------------------------------------> ended
//!    ^                                |    a write of the key, an invalidation: void     ^
//!    |                                |    a dead owner, too great an age: abandoned     |
//!    |            the creation failed |                                                  |
//!    |          rest, under the lock  +------> resting ----------------------------------+
//!    |                                         a write of the key, an invalidation: void
//!    +---------------------------------------- the rest is over, or its slot is needed: failed
//! ```
//!
//! `rest.rs` describes rests.
//!
//! *A claim is taken only under the stripe's lock, in the same hold of the lock in which the claimant looks at all
//! claims and at the key itself.* So no key has two held claims, and no caller creates a value that was stored a moment
//! before. *A claim ends by one compare-exchange of its number*, with or without the lock. So a claim cannot end twice,
//! and the exchange cannot end a later claim. An owner stores its value under the lock, while its claim is held.
//!
//! Waiters sleep on the word with the number, outside the lock. The word changes when the claim ends and never returns
//! to its old value, so no wake-up is lost. Until the slot is taken again, the word keeps the number and the way the
//! claim ended.

use super::counters::StripeCount;
use super::epochs::{Epochs, NamespaceEpochs};
use super::find::Entry;
use super::record::{NewRecord, RecordEpochs};
use super::stripe_guard::StripeGuard;
use super::table::Store;
use crate::fault::{Fault, injected};
use crate::hash::Key;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::memory::Word;
use crate::shm::{Memory, Step};

const STATE_BITS: u32 = 8;
const STARTED_BITS: u32 = 40;

/// The purpose of a claim. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Kind {
    /// A value is being created: a write of the key or an invalidation voids the claim.
    Create = 1,
    /// The key is locked: nothing voids the claim.
    Lock = 2,
}

/// How a claim ended. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum End {
    /// The value is stored, or the lock released: waiters look again.
    Done = 3,
    /// The creator reported a failure: the next waiter tries, unless that waiter shares failures.
    Failed = 4,
    /// The value must not be cached: each waiter creates its own.
    NotStored = 5,
    /// The key was written or deleted, or an invalidation came.
    Void = 6,
    /// The owner died, panicked or gave up, its value could not be stored, or the claim was too old: the next waiter
    /// tries.
    Abandoned = 8,
}

/// The state of a claim that has ended and whose key rests.
const RESTING: u64 = 7;

/// A claim's word: number and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClaimNumber(pub u64);

impl ClaimNumber {
    fn kind(self) -> Option<Kind> {
        [Kind::Create, Kind::Lock].into_iter().find(|&kind| kind as u64 == self.0 & 0xff)
    }

    pub(super) fn number(self) -> u64 {
        self.0 >> STATE_BITS
    }

    pub(super) fn is_held(self) -> bool {
        self.kind().is_some()
    }

    pub(super) fn is_resting(self) -> bool {
        self.0 & 0xff == RESTING
    }

    /// Whether a thread may still need the word of a claim that is not held. The word tells waiters that the value was
    /// not stored, or that its creator failed. It tells callers that the key rests, which is only a hint.
    fn is_needed(self) -> bool {
        self.is_resting() || [End::NotStored, End::Failed].into_iter().any(|end| self == self.ended(end))
    }

    /// Whether a look at the claims of a stripe must reach this one.
    pub(super) fn counts(self) -> bool {
        self.is_held() || self.is_resting()
    }

    /// Whether the state is a valid one: never taken, held, resting or ended.
    pub(super) fn is_known(self) -> bool {
        let ends = [End::Done, End::Failed, End::NotStored, End::Void, End::Abandoned];
        self.0 == 0 || self.counts() || ends.iter().any(|&end| end as u64 == self.0 & 0xff)
    }

    fn ended(self, how: End) -> Self {
        Self(self.number() << STATE_BITS | how as u64)
    }

    pub(super) fn at_rest(self) -> Self {
        Self(self.number() << STATE_BITS | RESTING)
    }
}

/// Identifies one claim of a stripe for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimId {
    pub stripe: u32,
    pub(super) slot: u32,
    pub(super) number: ClaimNumber,
}

impl ClaimId {
    /// The word of the held claim, which a waiter passes as the expected value when it goes to sleep.
    pub(crate) fn expected(&self) -> u64 {
        self.number.0
    }

    /// An identifier of this claim in its file.
    pub(crate) fn id(&self) -> u64 {
        self.number.0 ^ u64::from(self.stripe) << 40
    }
}

/// The holder of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Seat, and the lower half of its generation.
    pub member: u64,
    pub task: u64,
}

impl Owner {
    pub(crate) fn member_of(seat: u32, generation: u32) -> u64 {
        u64::from(seat) << 32 | u64::from(generation)
    }

    pub(crate) fn seat(self) -> u32 {
        (self.member >> 32) as u32
    }

    pub(crate) fn generation(self) -> u32 {
        self.member as u32
    }
}

/// The parameters of an attempt to claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant {
    pub kind: Kind,
    pub owner: Owner,
    /// The host's monotonic clock, in milliseconds.
    pub now_ms: u64,
    /// Greatest age in tenths of a second; 0: none.
    pub max_age: u64,
    /// Epochs that were loaded before the caller looked at the key.
    pub epochs: Epochs,
    pub namespace: NamespaceEpochs,
}

impl Claimant {
    fn started(&self) -> u64 {
        let most = (1 << (64 - STARTED_BITS)) - 1;
        self.max_age.min(most) << STARTED_BITS | self.now_ms & ((1 << STARTED_BITS) - 1)
    }
}

/// The result of an attempt to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The claim, and how many creations of the key failed in a row before it.
    Mine(ClaimId, u8),
    /// The key rests for this many milliseconds more.
    Resting(u64),
    /// Another owner holds the claim of this key.
    Held(ClaimId, Owner),
    /// All claims of the stripe are held, by these owners.
    Full(Vec<(ClaimId, Owner)>),
}

impl<M: Memory> Store<M> {
    pub(super) fn claim_word(&self, stripe: u32, slot: u32, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.claim(stripe, slot) + field)
    }

    /// Offset of the word to sleep on.
    pub(crate) fn sleep_at(&self, claim_id: &ClaimId) -> u64 {
        self.geometry.claim(claim_id.stripe, claim_id.slot) + at!(Claim.number)
    }

    pub(super) fn number(&self, stripe: u32, slot: u32) -> ClaimNumber {
        ClaimNumber(self.claim_word(stripe, slot, at!(Claim.number)).load(Ordering::Acquire))
    }

    pub(crate) fn is_claim_held(&self, claim_id: &ClaimId) -> bool {
        self.number(claim_id.stripe, claim_id.slot) == claim_id.number
    }

    /// Whether a claim ended as [`End::NotStored`], so that each waiter creates its own value.
    pub(crate) fn was_not_stored(&self, claim_id: &ClaimId) -> bool {
        self.number(claim_id.stripe, claim_id.slot) == claim_id.number.ended(End::NotStored)
    }

    /// Whether a claim ended because its creator reported a failure.
    pub(crate) fn has_failed(&self, claim_id: &ClaimId) -> bool {
        let number = self.number(claim_id.stripe, claim_id.slot);
        number == claim_id.number.ended(End::Failed) || number == claim_id.number.at_rest()
    }

    /// Ends a claim, or a rest, with or without the stripe's lock; `false` if it had ended already.
    pub(crate) fn end_claim(&self, claim_id: &ClaimId, how: End) -> bool {
        let word = self.claim_word(claim_id.stripe, claim_id.slot, at!(Claim.number));
        let (held, ended) = (claim_id.number.0, claim_id.number.ended(how).0);
        // `Release`: waiters, and the next owner of a claim of this key, see what this owner did. They load the word
        // with `Acquire` in `number`.
        let is_ended = word.compare_exchange(Step::ClaimEnd, held, ended, Ordering::AcqRel).is_ok();
        if is_ended {
            self.mem.wake(self.sleep_at(claim_id));
        }
        is_ended
    }

    pub(super) fn claims_used(&self, stripe: u32) -> u32 {
        let used = self.stripe_word(stripe, at!(Stripe.claims_used)).get();
        used.min(self.geometry.shape.claims.into()) as u32
    }

    /// Whether a key's stripe has claims to look at.
    pub(crate) fn has_claims(&self, key: &Key<'_>) -> bool {
        self.claims_used(self.stripe_of(key)) != 0
    }

    /// The held claims of a stripe, each with its kind, and the claims that rest, which have none.
    pub(super) fn claims(&self, stripe: u32) -> impl Iterator<Item = (ClaimId, Option<Kind>)> {
        (0..self.claims_used(stripe)).filter_map(move |slot| {
            let number = self.number(stripe, slot);
            number.counts().then(|| (ClaimId { stripe, slot, number }, number.kind()))
        })
    }

    /// The held claims of a stripe.
    fn held_claims(&self, stripe: u32) -> impl Iterator<Item = (ClaimId, Kind)> {
        self.claims(stripe).filter_map(|(claim_id, kind)| Some((claim_id, kind?)))
    }

    fn owner_of(&self, claim_id: &ClaimId) -> Owner {
        let word = |field| self.claim_word(claim_id.stripe, claim_id.slot, field).get();
        Owner { member: word(at!(Claim.owner)), task: word(at!(Claim.task)) }
    }

    fn namespace_of(&self, claim_id: &ClaimId) -> NamespaceEpochs {
        NamespaceEpochs(self.claim_word(claim_id.stripe, claim_id.slot, at!(Claim.namespace_epochs)).get())
    }

    pub(super) fn is_claim_of(&self, claim_id: &ClaimId, key: &Key<'_>) -> bool {
        let word = |field| self.claim_word(claim_id.stripe, claim_id.slot, field).get();
        // The second half is computed only if the first matches.
        word(at!(Claim.key_hash)) == key.hash && word(at!(Claim.key_hash) + 8) == key.wide(self.seed)[1]
    }

    /// Whether an invalidation came after a claim began. The answer means nothing for a lock claim.
    pub(super) fn is_claim_outdated(&self, claim_id: &ClaimId) -> bool {
        let epochs = Epochs(self.claim_word(claim_id.stripe, claim_id.slot, at!(Claim.epochs)).get());
        let namespace = self.namespace_of(claim_id);
        epochs != self.epochs() || namespace != self.namespace_now(namespace.namespace())
    }

    fn is_too_old(&self, claim_id: &ClaimId, now_ms: u64) -> bool {
        let started = self.claim_word(claim_id.stripe, claim_id.slot, at!(Claim.started)).get();
        let max_age = started >> STARTED_BITS;
        let age_ms = now_ms.saturating_sub(started & ((1 << STARTED_BITS) - 1));
        max_age != 0 && age_ms > max_age * 100
    }

    /// Whether a key of a stripe is locked. The owner may be dead.
    pub(crate) fn has_held_locks(&self, stripe: u32) -> bool {
        !injected(Fault::MovedLocks) && self.held_claims(stripe).any(|(_, kind)| kind == Kind::Lock)
    }

    /// Ends all creations of a stripe whose file was replaced: no thread claims a key in that file any more. Returns
    /// how many creations this ended.
    pub(crate) fn void_creations(&self, stripe: u32) -> u64 {
        let creations = self.held_claims(stripe).filter(|(_, kind)| *kind == Kind::Create);
        creations.map(|(claim_id, _)| u64::from(self.end_claim(&claim_id, End::Void))).sum()
    }

    /// The claim of a key and its owner, read without the lock. The owner may be dead.
    pub(crate) fn claim_seen(&self, key: &Key<'_>, now_ms: u64) -> Option<(ClaimId, Owner)> {
        self.held_claims(self.stripe_of(key)).find_map(|(claim_id, kind)| {
            let owner = self.owner_of(&claim_id);
            let counts = self.is_claim_of(&claim_id, key)
                && !self.is_too_old(&claim_id, now_ms)
                && !(kind == Kind::Create && self.is_claim_outdated(&claim_id));
            // If the number is unchanged after these loads, all that they returned belongs to this claim: see `take`.
            fence(Ordering::Acquire);
            (counts && self.is_claim_held(&claim_id)).then_some((claim_id, owner))
        })
    }

    /// Voids all claims that began before an invalidation; the caller has raised the epochs. If a claim with older
    /// epochs is taken meanwhile, the next operation that looks at it voids it.
    pub(super) fn void_outdated(&self) {
        // Pairs with the fence in `sweep`. One thread stores the epochs and then loads the claims; the other stores a
        // claim and then loads the epochs. Each has a fence in between, so at least one of them sees what the other
        // stored.
        fence(Ordering::SeqCst);
        for stripe in 0..self.geometry.shape.stripes {
            for (claim_id, kind) in self.claims(stripe) {
                if kind != Some(Kind::Lock) && self.is_claim_outdated(&claim_id) {
                    self.end_claim(&claim_id, End::Void);
                }
            }
        }
    }
}

impl<M: Memory> StripeGuard<'_, M> {
    /// Claims a key. In this same hold of the lock, the caller has checked that the claim is still needed. Claims of
    /// `dead` members, which never come back, end here. A rest keeps creators away; it does not concern key locks.
    pub(crate) fn claim(&mut self, key: &Key<'_>, by: &Claimant, dead: &[u64]) -> Claimed {
        let (store, stripe) = (self.store, self.stripe);
        self.sweep(by.now_ms, dead);
        if let Some((claim_id, _)) = self.claim_of(key).filter(|_| !injected(Fault::DoubleClaim)) {
            return Claimed::Held(claim_id, store.owner_of(&claim_id));
        }
        let rest = (by.kind == Kind::Create).then(|| self.rest_of(key)).flatten();
        if let Some((rest, remembered)) = rest {
            return match remembered.left_ms(by.now_ms) {
                Some(left_ms) => Claimed::Resting(left_ms),
                None => Claimed::Mine(self.take(&rest, key, by), remembered.failures),
            };
        }
        match self.free_slot() {
            Some(free) => Claimed::Mine(self.take(&free, key, by), 0),
            None => Claimed::Full(
                store.held_claims(stripe).map(|(claim_id, _)| (claim_id, store.owner_of(&claim_id))).collect(),
            ),
        }
    }

    /// The held claim of a key.
    fn claim_of(&self, key: &Key<'_>) -> Option<(ClaimId, Kind)> {
        self.store.held_claims(self.stripe).find(|(claim_id, _)| self.store.is_claim_of(claim_id, key))
    }

    /// Ends the claims whose owner is dead, that are too old, or that began before an invalidation. Also ends the rests
    /// that need not be remembered any more.
    fn sweep(&mut self, now_ms: u64, dead: &[u64]) {
        let store = self.store;
        fence(Ordering::SeqCst); // See `void_outdated`.
        for (claim_id, kind) in store.claims(self.stripe) {
            if kind.is_none() {
                store.sweep_rest(&claim_id, now_ms);
            } else if dead.contains(&store.owner_of(&claim_id).member) || store.is_too_old(&claim_id, now_ms) {
                if store.end_claim(&claim_id, End::Abandoned) {
                    self.count(StripeCount::Takeovers);
                }
            } else if kind == Some(Kind::Create) && store.is_claim_outdated(&claim_id) {
                store.end_claim(&claim_id, End::Void);
            }
        }
        self.forget_ended();
    }

    /// Sweeps the claims, which ends those of `dead` members and those that are too old. Returns the key locks that are
    /// still held in this stripe.
    pub(crate) fn held_locks(&mut self, now_ms: u64, dead: &[u64]) -> Vec<(ClaimId, Owner)> {
        self.sweep(now_ms, dead);
        let locks = self.store.held_claims(self.stripe).filter(|(_, kind)| *kind == Kind::Lock);
        locks.map(|(claim_id, _)| (claim_id, self.store.owner_of(&claim_id))).collect()
    }

    fn set_claims_used(&self, used: u32) {
        let word = self.word(at!(Stripe.claims_used));
        if word.get() != u64::from(used) {
            word.set(Step::ClaimCount, used.into());
        }
    }

    /// A slot whose claim is not held, and that claim: the first slot whose word no thread needs any more, or else the
    /// slot with the oldest claim.
    fn free_slot(&self) -> Option<ClaimId> {
        let last = |slot| ClaimId { stripe: self.stripe, slot, number: self.store.number(self.stripe, slot) };
        let free = || (0..self.store.geometry.shape.claims).map(last).filter(|last| !last.number.is_held());
        free().find(|last| !last.number.is_needed()).or_else(|| free().min_by_key(|last| last.number.0))
    }

    /// Takes the slot of a claim that is not held.
    fn take(&mut self, last_in_slot: &ClaimId, key: &Key<'_>, by: &Claimant) -> ClaimId {
        let (store, stripe, slot) = (self.store, self.stripe, last_in_slot.slot);
        if last_in_slot.number.is_resting() {
            store.end_claim(last_in_slot, End::Failed);
        }
        // A thread that sees a field of this claim without the lock also sees that the previous claim, or rest, has
        // ended.
        fence(Ordering::Release);
        let last = self.word(at!(Stripe.claim_number));
        last.bump(Step::ClaimCount, 1);
        let number = ClaimNumber(last.get() << STATE_BITS | by.kind as u64);
        let set = |field, value| store.claim_word(stripe, slot, field).set(Step::ClaimFields, value);
        let [low, high] = key.wide(store.seed);
        set(at!(Claim.key_hash), low);
        set(at!(Claim.key_hash) + 8, high);
        set(at!(Claim.owner), by.owner.member);
        set(at!(Claim.task), by.owner.task);
        set(at!(Claim.started), by.started());
        set(at!(Claim.epochs), by.epochs.0);
        set(at!(Claim.namespace_epochs), by.namespace.0);
        self.set_claims_used(store.claims_used(stripe).max(slot + 1));
        // `Release` orders all stores above before this one. So a thread that sees the number sees the claim's fields,
        // and a death leaves no number in use that the stripe does not count as used.
        store.claim_word(stripe, slot, at!(Claim.number)).store(Step::ClaimTake, number.0, Ordering::Release);
        if by.kind == Kind::Create {
            self.count(StripeCount::Creations);
        }
        ClaimId { stripe, slot, number }
    }

    /// Voids the claim to create a key, because another caller writes or deletes the key.
    #[inline]
    pub(crate) fn void(&mut self, key: &Key<'_>) {
        if self.word(at!(Stripe.claims_used)).get() != 0 {
            self.void_slow(key);
        }
    }

    #[cold]
    fn void_slow(&mut self, key: &Key<'_>) {
        if let Some((claim_id, Kind::Create)) = self.claim_of(key) {
            self.store.end_claim(&claim_id, End::Void);
        }
        if let Some((rest, _)) = self.rest_of(key) {
            self.store.end_claim(&rest, End::Void);
        }
        self.sweep_rests_if_any();
        self.forget_ended();
    }

    /// Lowers the number of claims to look at. An owner that ends its claim without the lock cannot do this itself.
    fn forget_ended(&self) {
        let used = self.store.claims_used(self.stripe);
        let last = (0..used).rev().find(|&slot| self.store.number(self.stripe, slot).counts());
        self.set_claims_used(last.map_or(0, |slot| slot + 1));
    }

    /// Voids all claims to create, and all rests, in the namespaces that `meant` selects.
    pub(crate) fn void_all(&mut self, meant: impl Fn(NamespaceEpochs) -> bool) {
        for (claim_id, kind) in self.store.claims(self.stripe) {
            if kind != Some(Kind::Lock) && meant(self.store.namespace_of(&claim_id)) {
                self.store.end_claim(&claim_id, End::Void);
            }
        }
    }

    /// Stores the value that a claim's owner created, and ends the claim. Stores nothing and returns `None` if the
    /// claim had ended, or if an invalidation came after it began.
    pub(crate) fn store_claimed(
        &mut self,
        claim_id: &ClaimId,
        draft: &NewRecord<'_>,
        entry: Option<&Entry>,
        epochs: RecordEpochs,
    ) -> Option<u64> {
        if !self.store.is_claim_held(claim_id)
            || self.store.is_claim_outdated(claim_id)
            || self.store.is_covered_by_tags(draft)
        {
            self.store.end_claim(claim_id, End::Void);
            return None;
        }
        // An invalidation from here on makes the record outdated, because the record has the claim's epochs and clock.
        let stamp = self.put_created(draft, entry, epochs);
        self.store.end_claim(claim_id, End::Done);
        self.forget_ended();
        Some(stamp)
    }
}
