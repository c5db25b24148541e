//! Claims: one key being created, or locked, by one owner.
//!
//! ```text
//! number    63..8 number of the claim | 7..0 state      the number is never given twice in a stripe
//! key_hash  128 bits of the key
//! owner     63..32 seat | 31..0 generation              names a member for ever
//! task      thread or task of the owner
//! started   63..40 greatest age in tenths of a second, 0: none | 39..0 milliseconds of the monotonic clock
//! epochs    those of the cache at the start
//! namespace_epochs   63..48 namespace | 47..0 its epochs at the start
//!
//!            take, under the lock             the owner:  stored, failed, not stored
//!  ended  -------------------------> held  ------------------------------------------> ended
//!                                          a write of the key, an invalidation: void
//!                                          a dead owner, too great an age:      failed
//! ```
//!
//! *A claim is taken under the stripe's lock only, in one hold with a look at all claims and at the key itself*:
//! so no two are held for one key, and nothing is created that was stored a moment before. *It ends by one
//! compare-exchange of its number*, by whoever ends it, with the lock or without: it cannot end twice, and what ends
//! is this claim and no later one. An owner stores its value under the lock, while its claim is held.
//!
//! Waiters sleep on the number's word, outside the lock. It changes when the claim ends and never comes back to
//! what it was, so a wake cannot be lost. The number stays in the word with the way the claim ended, until
//! the slot is taken again.

use super::epochs::Epochs;
use super::exclusive::{Entry, Exclusive};
use super::record::Draft;
use super::table::Store;
use super::tally::StripeCount;
use crate::hash::Key;
use crate::plant::{Plant, planted};
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::memory::Word;
use crate::shm::{Memory, Step};

const STATE_BITS: u32 = 8;
const STARTED_BITS: u32 = 40;
const EPOCHS: u64 = (1 << 48) - 1;

/// What a claim is for. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Kind {
    /// A value is being created: a write of the key and an invalidation void the claim.
    Create = 1,
    /// The key is locked: nothing voids that.
    Lock = 2,
}

/// How a claim ended. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum End {
    /// The value is there, or the lock was given back: waiters look.
    Done = 3,
    /// Nothing came of it: the next waiter tries.
    Failed = 4,
    /// The value is not to be cached: all waiters create for themselves.
    NotStored = 5,
    /// Somebody wrote the key, or an invalidation came.
    Void = 6,
}

/// A claim's word: number and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub u64);

impl Number {
    fn kind(self) -> Option<Kind> {
        [Kind::Create, Kind::Lock].into_iter().find(|&kind| kind as u64 == self.0 & 0xff)
    }

    pub(super) fn number(self) -> u64 {
        self.0 >> STATE_BITS
    }

    pub(super) fn is_held(self) -> bool {
        self.kind().is_some()
    }

    /// Whether the state is one that a claim can be in: never taken, held or ended.
    pub(super) fn is_known(self) -> bool {
        let ends = [End::Done, End::Failed, End::NotStored, End::Void];
        self.0 == 0 || self.is_held() || ends.iter().any(|&end| end as u64 == self.0 & 0xff)
    }

    fn ended(self, how: End) -> Self {
        Self(self.number() << STATE_BITS | how as u64)
    }
}

/// One claim of one stripe, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub stripe: u32,
    slot: u32,
    number: Number,
}

impl Ticket {
    /// What a waiter expects in the word that it sleeps on.
    pub(crate) fn expected(&self) -> u64 {
        self.number.0
    }

    /// A number for this claim among those of its file.
    pub(crate) fn id(&self) -> u64 {
        self.number.0 ^ u64::from(self.stripe) << 40
    }
}

/// Who holds a claim.
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

/// A namespace with its epochs of one moment, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespaceEpochs(pub u64);

impl NamespaceEpochs {
    pub(crate) fn new(namespace: u16, epochs: Epochs) -> Self {
        Self(u64::from(namespace) << 48 | epochs.0 & EPOCHS)
    }

    pub(crate) fn namespace(self) -> u16 {
        (self.0 >> 48) as u16
    }

    pub(crate) fn epochs(self) -> Epochs {
        Epochs(self.0 & EPOCHS)
    }
}

/// What a claimant brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant {
    pub kind: Kind,
    pub owner: Owner,
    /// The host's monotonic clock, in milliseconds.
    pub now_ms: u64,
    /// Greatest age in tenths of a second; 0: none.
    pub max_age: u64,
    /// Epochs that were read before the key was looked at.
    pub epochs: Epochs,
    pub namespace: NamespaceEpochs,
}

impl Claimant {
    fn started(&self) -> u64 {
        let most = (1 << (64 - STARTED_BITS)) - 1;
        self.max_age.min(most) << STARTED_BITS | self.now_ms & ((1 << STARTED_BITS) - 1)
    }
}

/// What became of an attempt to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    Mine(Ticket),
    /// Somebody else holds the claim of this key.
    Held(Ticket, Owner),
    /// All claims of the stripe are held, by these.
    Full(Vec<(Ticket, Owner)>),
}

impl<M: Memory> Store<M> {
    fn claim_word(&self, stripe: u32, slot: u32, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.claim(stripe, slot) + field)
    }

    /// Offset of the word to sleep on.
    pub(crate) fn sleep_at(&self, ticket: &Ticket) -> u64 {
        self.geometry.claim(ticket.stripe, ticket.slot) + at!(Claim.number)
    }

    fn number(&self, stripe: u32, slot: u32) -> Number {
        Number(self.claim_word(stripe, slot, at!(Claim.number)).load(Ordering::Acquire))
    }

    pub(crate) fn is_claim_held(&self, ticket: &Ticket) -> bool {
        self.number(ticket.stripe, ticket.slot) == ticket.number
    }

    /// Whether a claim ended so that those who waited for it create for themselves.
    pub(crate) fn was_not_stored(&self, ticket: &Ticket) -> bool {
        self.number(ticket.stripe, ticket.slot) == ticket.number.ended(End::NotStored)
    }

    /// Ends a claim, with the stripe's lock or without; `false`: it had ended already.
    pub(crate) fn end_claim(&self, ticket: &Ticket, how: End) -> bool {
        let word = self.claim_word(ticket.stripe, ticket.slot, at!(Claim.number));
        let (held, ended) = (ticket.number.0, ticket.number.ended(how).0);
        // Releases what the owner did; acquired by the next who takes a claim of this key, and by waiters.
        let is_ended = word.compare_exchange(Step::ClaimEnd, held, ended, Ordering::AcqRel).is_ok();
        if is_ended {
            self.mem.wake(self.sleep_at(ticket));
        }
        is_ended
    }

    fn claims_used(&self, stripe: u32) -> u32 {
        let used = self.stripe_word(stripe, at!(Stripe.claims_used)).get();
        used.min(self.geometry.shape.claims.into()) as u32
    }

    /// The held claims of a stripe.
    fn held_claims(&self, stripe: u32) -> impl Iterator<Item = (Ticket, Kind)> {
        (0..self.claims_used(stripe)).filter_map(move |slot| {
            let number = self.number(stripe, slot);
            Some((Ticket { stripe, slot, number }, number.kind()?))
        })
    }

    fn owner_of(&self, ticket: &Ticket) -> Owner {
        let word = |field| self.claim_word(ticket.stripe, ticket.slot, field).get();
        Owner { member: word(at!(Claim.owner)), task: word(at!(Claim.task)) }
    }

    fn namespace_of(&self, ticket: &Ticket) -> NamespaceEpochs {
        NamespaceEpochs(self.claim_word(ticket.stripe, ticket.slot, at!(Claim.namespace_epochs)).get())
    }

    fn is_claim_of(&self, ticket: &Ticket, key: &Key<'_>) -> bool {
        let word = |field| self.claim_word(ticket.stripe, ticket.slot, field).get();
        // The second half is computed only if the first fits.
        word(at!(Claim.key_hash)) == key.hash && word(at!(Claim.key_hash) + 8) == key.wide(self.seed)[1]
    }

    /// Whether an invalidation came since a claim began. It knows nothing of a lock claim.
    fn is_claim_outdated(&self, ticket: &Ticket) -> bool {
        let epochs = Epochs(self.claim_word(ticket.stripe, ticket.slot, at!(Claim.epochs)).get());
        let namespace = self.namespace_of(ticket);
        epochs != self.epochs() || namespace != self.namespace_now(namespace.namespace())
    }

    fn is_too_old(&self, ticket: &Ticket, now_ms: u64) -> bool {
        let started = self.claim_word(ticket.stripe, ticket.slot, at!(Claim.started)).get();
        let max_age = started >> STARTED_BITS;
        let age_ms = now_ms.saturating_sub(started & ((1 << STARTED_BITS) - 1));
        max_age != 0 && age_ms > max_age * 100
    }

    /// The claim of a key and its owner, as they look without the lock; whether the owner lives is not asked.
    pub(crate) fn claim_seen(&self, key: &Key<'_>, now_ms: u64) -> Option<(Ticket, Owner)> {
        self.held_claims(self.stripe_of(key)).find_map(|(ticket, kind)| {
            let owner = self.owner_of(&ticket);
            let counts = self.is_claim_of(&ticket, key)
                && !self.is_too_old(&ticket, now_ms)
                && !(kind == Kind::Create && self.is_claim_outdated(&ticket));
            // All of the above belongs to this claim if its number still stands after it was loaded: see `take`.
            fence(Ordering::Acquire);
            (counts && self.is_claim_held(&ticket)).then_some((ticket, owner))
        })
    }

    /// Voids all claims that an invalidation came to; the epochs are raised already. A claim that is taken meanwhile
    /// with epochs from before is voided by the next who looks at it.
    pub(super) fn void_outdated(&self) {
        // Either this sees a claim that was taken before, or its taker sees the new epochs: each stores the one, passes
        // a fence, and loads the other.
        fence(Ordering::SeqCst);
        for stripe in 0..self.geometry.shape.stripes {
            for (ticket, kind) in self.held_claims(stripe) {
                if kind == Kind::Create && self.is_claim_outdated(&ticket) {
                    self.end_claim(&ticket, End::Void);
                }
            }
        }
    }
}

impl<M: Memory> Exclusive<'_, M> {
    /// Claims a key. The caller has looked, in this same hold of the lock, whether it is still needed. Claims of
    /// `dead` members, which never come back, end here.
    pub(crate) fn claim(&mut self, key: &Key<'_>, by: &Claimant, dead: &[u64]) -> Claimed {
        let (store, stripe) = (self.store, self.stripe);
        self.sweep(by.now_ms, dead);
        if let Some((ticket, _)) = self.claim_of(key).filter(|_| !planted(Plant::DoubleClaim)) {
            return Claimed::Held(ticket, store.owner_of(&ticket));
        }
        match self.free_slot() {
            Some(slot) => Claimed::Mine(self.take(slot, key, by)),
            None => {
                Claimed::Full(store.held_claims(stripe).map(|(ticket, _)| (ticket, store.owner_of(&ticket))).collect())
            }
        }
    }

    /// The claim of a key that is held.
    fn claim_of(&self, key: &Key<'_>) -> Option<(Ticket, Kind)> {
        self.store.held_claims(self.stripe).find(|(ticket, _)| self.store.is_claim_of(ticket, key))
    }

    /// Ends the claims whose owners are dead, that are too old, or that an invalidation came to.
    fn sweep(&mut self, now_ms: u64, dead: &[u64]) {
        let store = self.store;
        fence(Ordering::SeqCst); // See `void_outdated`.
        for (ticket, kind) in store.held_claims(self.stripe) {
            if dead.contains(&store.owner_of(&ticket).member) || store.is_too_old(&ticket, now_ms) {
                if store.end_claim(&ticket, End::Failed) {
                    self.count(StripeCount::Takeovers);
                }
            } else if kind == Kind::Create && store.is_claim_outdated(&ticket) {
                store.end_claim(&ticket, End::Void);
            }
        }
        self.forget_ended();
    }

    fn set_claims_used(&self, used: u32) {
        let word = self.word(at!(Stripe.claims_used));
        if word.get() != u64::from(used) {
            word.set(Step::ClaimCount, used.into());
        }
    }

    /// A slot whose claim has ended: the first that no waiter need look at, or else the one that ended first.
    fn free_slot(&self) -> Option<u32> {
        let free = |slot: &u32| !self.store.number(self.stripe, *slot).is_held();
        let slots = 0..self.store.geometry.shape.claims;
        slots.filter(free).min_by_key(|&slot| {
            let number = self.store.number(self.stripe, slot);
            if number == number.ended(End::NotStored) { number.0 } else { 0 }
        })
    }

    fn take(&mut self, slot: u32, key: &Key<'_>, by: &Claimant) -> Ticket {
        let (store, stripe) = (self.store, self.stripe);
        // Who sees a field of this claim without the lock sees that the one before it has ended.
        fence(Ordering::Release);
        let last = self.word(at!(Stripe.claim_number));
        last.bump(Step::ClaimCount, 1);
        let number = Number(last.get() << STATE_BITS | by.kind as u64);
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
        // Releases all of the above: no number that is given is lost by a death, and who sees it sees its fields.
        store.claim_word(stripe, slot, at!(Claim.number)).store(Step::ClaimTake, number.0, Ordering::Release);
        if by.kind == Kind::Create {
            self.count(StripeCount::Creations);
        }
        Ticket { stripe, slot, number }
    }

    /// Voids the claim of a key that is being written or deleted by somebody else, if it is to create it.
    #[inline]
    pub(crate) fn void(&mut self, key: &Key<'_>) {
        if self.word(at!(Stripe.claims_used)).get() != 0 {
            self.void_slow(key);
        }
    }

    #[cold]
    fn void_slow(&mut self, key: &Key<'_>) {
        if let Some((ticket, Kind::Create)) = self.claim_of(key) {
            self.store.end_claim(&ticket, End::Void);
        }
        self.forget_ended();
    }

    /// Spares those who come later the look at claims that have ended, which their owners do without the lock.
    fn forget_ended(&self) {
        let last = self.store.held_claims(self.stripe).map(|(ticket, _)| ticket.slot + 1).max();
        self.set_claims_used(last.unwrap_or(0));
    }

    /// Voids all claims to create of the namespaces that are meant.
    pub(crate) fn void_all(&mut self, meant: impl Fn(NamespaceEpochs) -> bool) {
        for (ticket, kind) in self.store.held_claims(self.stripe) {
            if kind == Kind::Create && meant(self.store.namespace_of(&ticket)) {
                self.store.end_claim(&ticket, End::Void);
            }
        }
    }

    /// Stores what the owner of a claim created, and ends the claim; `None`: it had ended, and nothing is stored.
    pub(crate) fn store_claimed(&mut self, ticket: &Ticket, draft: &Draft<'_>, entry: Option<&Entry>) -> Option<u64> {
        if !self.store.is_claim_held(ticket) || self.store.is_claim_outdated(ticket) {
            self.store.end_claim(ticket, End::Void);
            return None;
        }
        // An invalidation that comes from here on does not find the record current: it has the claim's epochs.
        let stamp = self.put_created(draft, entry);
        self.store.end_claim(ticket, End::Done);
        self.forget_ended();
        Some(stamp)
    }
}
