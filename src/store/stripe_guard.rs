//! A stripe under its lock: the guard, without which no change of a stripe is possible, and the single steps that make
//! up an operation.
//!
//! Repairs and readers rely on the order of the steps. If one step must not become visible before the step in front of
//! it, a release fence stands between them. For a process that may be killed, the fence need only restrain the
//! compiler; for a reader on another core, it restrains the processor, too. `docs/orderings.md` says what each fence is
//! for and which test fails without it. Two steps without a fence between them may happen in either order.

use super::counters::StripeCount;
use super::ends::Ends;
use super::epochs::{CrashState, Epochs, NamespaceEpochs, NamespaceId};
use super::intent::Intent;
use super::read::ERA_SHIFT;
use super::record::{Head, NewRecord, RecordEpochs, RecordLocation, mix, reseal};
use super::slot::{Ring, Slot};
use super::table::Store;
use super::tag_words::TagWords;
use crate::hash::Key;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::{BUCKET_LEN, EXTENSION_LEN, RECORD_LEN, RingShape, SLOTS, STRIPE_LEN, at};
use crate::shm::memory::{Word, Words};
use crate::shm::{Memory, Step};
use crate::sync::locks::RegionGuard;
use std::cell::Cell;

/// The holder of the lock, for the note that a repair leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HolderId {
    pub seat: u32,
    pub pid: u32,
    /// A random number of this process, from which an emptied stripe derives its new stamps.
    pub nonce: u64,
}

/// A source of wall time.
pub(crate) trait Wall {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// A clock that stands still, for tests.
#[cfg(any(test, loom))]
impl Wall for u64 {
    fn now_ms(&self) -> u64 {
        *self
    }
}

/// The longest key that is examined without an allocation.
pub(super) const SHORT_KEY: usize = 64;
/// Words of a stripe's head.
const HEAD_WORDS: usize = (STRIPE_LEN / 8) as usize;

/// The head of a stripe, located before the stripe is locked.
#[derive(Clone, Copy)]
pub(crate) struct StripeHead<'a> {
    stripe: u32,
    words: Words<'a, HEAD_WORDS>,
}

impl<M: Memory> Store<M> {
    #[inline(always)]
    pub(crate) fn stripe_head(&self, stripe: u32) -> StripeHead<'_> {
        StripeHead { stripe, words: self.mem.words(self.geometry.stripe(stripe)) }
    }
}

/// A stripe whose lock is held. A function that takes `&mut StripeGuard` cannot run without the lock.
pub(crate) struct StripeGuard<'a, M: Memory> {
    pub(super) store: &'a Store<M>,
    pub(super) stripe: u32,
    /// Located once, because every step of an operation loads or stores a word of it.
    head: Words<'a, HEAD_WORDS>,
    pub(super) ends: Ends,
    wall: &'a dyn Wall,
    /// The time of this operation, in milliseconds since 1970. It is read when the first record that expires needs it:
    /// most operations meet none.
    now_ms: Cell<Option<u64>>,
    who: &'a HolderId,
    /// The epochs when the stripe was entered. Records of these or later epochs count as live.
    pub(super) epochs: Epochs,
    /// Private memory for a record that is examined or moved.
    pub(super) scratch: Vec<u8>,
    _lock: RegionGuard<'a>,
}

impl<'a, M: Memory> StripeGuard<'a, M> {
    /// Enters a locked stripe, and first completes what the previous holder left undone.
    ///
    /// # Errors
    /// If the file is closed, or was flushed and the flush mark cannot be withdrawn on the device.
    pub(crate) fn enter(
        store: &'a Store<M>,
        stripe: u32,
        wall: &'a dyn Wall,
        who: &'a HolderId,
        lock: RegionGuard<'a>,
    ) -> std::io::Result<Self> {
        store.mark_dirty()?;
        Self::enter_to_claim(store, stripe, wall, who, lock)
    }

    /// [`enter`](Self::enter) for a caller that only looks up keys, claims them and ends claims. These are not writes,
    /// so a flushed file stays flushed unless there is something to repair. The caller must call
    /// [`mark_dirty`](Store::mark_dirty) before it stores an item.
    pub(crate) fn enter_to_claim(
        store: &'a Store<M>,
        stripe: u32,
        wall: &'a dyn Wall,
        who: &'a HolderId,
        lock: RegionGuard<'a>,
    ) -> std::io::Result<Self> {
        store.must_be_open()?;
        let mut this = Self::new(store, stripe, wall, who, lock);
        this.settle()?;
        Ok(this)
    }

    /// [`enter_to_claim`](Self::enter_to_claim) for the process that resizes the file, even if that process has closed
    /// the file. This writes nothing but a repair.
    pub(crate) fn enter_as_resizer(
        store: &'a Store<M>,
        stripe: u32,
        wall: &'a dyn Wall,
        who: &'a HolderId,
        lock: RegionGuard<'a>,
    ) -> std::io::Result<Self> {
        let mut this = Self::new(store, stripe, wall, who, lock);
        if !this.is_settled() {
            store.mark_dirty_though_closed()?;
            this.settle_marked();
        }
        Ok(this)
    }

    /// [`enter`](Self::enter) for the duration of `work`. The `StripeGuard` is built in place: a move would read with
    /// wide loads what narrow stores have just written. The processor cannot forward such stores, and the wait takes
    /// longer than the loads of the write itself.
    #[inline(always)]
    pub(crate) fn within<R>(
        store: &'a Store<M>,
        stripe: u32,
        wall: &'a dyn Wall,
        who: &'a HolderId,
        lock: RegionGuard<'a>,
        work: impl FnOnce(&mut Self) -> R,
    ) -> std::io::Result<R> {
        let mut this = Self::new(store, stripe, wall, who, lock);
        store.mark_dirty()?;
        this.settle()?;
        Ok(work(&mut this))
    }

    /// [`within`](Self::within) for a `work` that uses the ends of the rings only through [`put`](Self::put), which
    /// checks them before it makes room. An overwrite in place takes no room, and so pays nothing for that check.
    #[inline(always)]
    pub(crate) fn within_to_put<R>(
        store: &'a Store<M>,
        head: StripeHead<'a>,
        wall: &'a dyn Wall,
        who: &'a HolderId,
        lock: RegionGuard<'a>,
        work: impl FnOnce(&mut Self) -> R,
    ) -> std::io::Result<R> {
        // Made first, before anything can fail, so that the lock is not moved.
        let mut this = Self::at(store, head, wall, who, lock);
        store.mark_dirty()?;
        if !this.is_settled_but_for_rings() {
            this.settle_all()?;
        }
        Ok(work(&mut this))
    }

    #[inline(always)]
    fn new(store: &'a Store<M>, stripe: u32, wall: &'a dyn Wall, who: &'a HolderId, lock: RegionGuard<'a>) -> Self {
        Self::at(store, store.stripe_head(stripe), wall, who, lock)
    }

    #[inline(always)]
    fn at(
        store: &'a Store<M>,
        StripeHead { stripe, words: head }: StripeHead<'a>,
        wall: &'a dyn Wall,
        who: &'a HolderId,
        lock: RegionGuard<'a>,
    ) -> Self {
        let epochs = store.epochs();
        let ends = Ends::load(|field| head.get((field / 8) as usize));
        let (now_ms, scratch) = (Cell::new(None), Vec::new());
        Self { store, stripe, head, ends, wall, now_ms, who, epochs, scratch, _lock: lock }
    }

    /// Completes what the previous holder left undone.
    #[inline(always)]
    fn settle(&mut self) -> std::io::Result<()> {
        if self.is_settled() { Ok(()) } else { self.settle_all() }
    }

    #[inline(always)]
    fn is_settled(&self) -> bool {
        self.is_settled_but_for_rings() && self.has_sane_rings()
    }

    #[inline(always)]
    fn is_settled_but_for_rings(&self) -> bool {
        self.store.distrust(self.stripe) == CrashState::None
            && !Intent::is_in_flight(self.word(at!(Stripe.intent)).get())
            && self.word(at!(Stripe.live_epoch)).get() == self.epochs.hard()
    }

    #[cold]
    fn settle_all(&mut self) -> std::io::Result<()> {
        self.store.mark_dirty()?;
        self.settle_marked();
        Ok(())
    }

    fn settle_marked(&mut self) {
        match self.store.distrust(self.stripe) {
            CrashState::None if Intent::is_in_flight(self.word(at!(Stripe.intent)).get()) => self.repair(),
            CrashState::None => {}
            CrashState::Verify => self.rebuild(),
            CrashState::Discard => self.discard(),
        }
        if !self.has_sane_rings() {
            self.empty();
        }
        self.count_for_current_epoch();
    }

    /// The time of this operation, in milliseconds since 1970. Each call returns the same time.
    pub(super) fn now_ms(&self) -> u64 {
        let now_ms = self.now_ms.get().unwrap_or_else(|| self.wall.now_ms());
        self.now_ms.set(Some(now_ms));
        now_ms
    }

    /// A word of the stripe's head, by its offset there.
    #[inline(always)]
    pub(super) fn word(&self, field: u64) -> Word<'a> {
        self.head.at((field / 8) as usize)
    }

    #[inline]
    pub(super) fn shape(&self, ring: Ring) -> RingShape {
        self.store.ring_shape(ring)
    }

    #[inline]
    pub(super) fn slot(&self, slot_at: u64) -> Slot {
        Slot(self.store.mem.word(slot_at).get())
    }

    /// Offset in the file of a ring position in this stripe.
    #[inline]
    pub(super) fn address(&self, ring: Ring, position: u64) -> u64 {
        self.store.address(self.stripe, ring, position)
    }

    #[inline]
    pub(super) fn location(&self, slot: Slot) -> RecordLocation {
        RecordLocation { stripe: self.stripe, ring: slot.ring(), position: slot.position() }
    }

    /// Stores the intent. From here until [`end`](Self::end), the next holder repairs what a death leaves.
    #[inline]
    pub(super) fn begin(&self, intent: Intent, slot_at: u64, old: Slot, new: Slot, live_after: u64) {
        let word = self.word(at!(Stripe.intent));
        let field = |field, value| self.word(field).set(Step::IntentFields, value);
        field(at!(Stripe.intent_slot), slot_at);
        field(at!(Stripe.intent_old), old.0);
        field(at!(Stripe.intent_new), new.0);
        field(at!(Stripe.intent_live_done), live_after);
        field(at!(Stripe.intent_live_undone), self.word(at!(Stripe.live)).get());
        fence(Ordering::Release);
        // The number above the kind changes with each operation, so that a reader that copies the whole stripe notices
        // an operation that took place meanwhile.
        word.set(Step::IntentKind, (word.get() >> 8).wrapping_add(1) << 8 | intent as u64);
        fence(Ordering::Release);
    }

    /// Clears the intent: the operation is complete.
    #[inline]
    pub(super) fn end(&self) {
        fence(Ordering::Release);
        let word = self.word(at!(Stripe.intent));
        word.set(Step::IntentClear, word.get() & !Intent::KIND);
        fence(Ordering::Release);
    }

    /// Stores a slot so that readers see the bucket either before or after the change.
    #[inline]
    pub(super) fn relink(&self, slot_at: u64, slot: Slot) {
        let (version, word) = self.version_and_slot(slot_at);
        open_bucket(version);
        word.set(Step::Slot, slot.0);
        close_bucket(version);
    }

    /// The word of the version of a slot's bucket, and the word of the slot.
    #[inline(always)]
    pub(super) fn version_and_slot(&self, slot_at: u64) -> (Word<'a>, Word<'a>) {
        let bucket = self.store.mem.words::<8>(bucket_of(slot_at));
        (bucket.at(0), bucket.at((slot_at / 8 % 8) as usize))
    }

    #[inline]
    pub(super) fn version_of(&self, bucket_at: u64) -> Word<'a> {
        self.store.mem.word(bucket_at)
    }

    /// Makes the version of the bucket at an offset even, if a dead writer left it odd.
    #[inline]
    pub(crate) fn settle_bucket(&self, bucket_at: u64) {
        settle(self.version_of(bucket_at));
    }

    /// The version of a key's bucket: see [`BucketView::version`](super::read::BucketView::version).
    pub(crate) fn version(&self, key: &Key<'_>) -> u64 {
        self.version_of(self.store.bucket_of(key)).get()
    }

    /// Changes a bucket's version and nothing else. A process that creates one of the bucket's keys without a claim
    /// then learns that the key was deleted, even if there was no record to delete; and a copy of a record is then
    /// known to be out of date.
    pub(super) fn renew_bucket(&self, bucket_at: u64) {
        close_bucket(self.version_of(bucket_at));
    }

    /// Makes a deletion that found no record visible to a creation without a claim.
    pub(crate) fn note_deletion(&self, key: &Key<'_>) {
        self.renew_bucket(self.store.bucket_of(key));
    }

    /// Marks a record dead: no slot will point to it again. Readers ignore the mark; evictions and rebuilds need it.
    pub(super) fn kill(&self, slot: Slot) {
        if let Some(at) = self.store.record_at(self.stripe, slot.ring(), slot.position()) {
            let expiry = self.store.mem.word(at + at!(Record.expiry));
            expiry.set(Step::Dead, self.store.head(at).killed());
        }
    }

    /// The number of live records after one of epoch `removed` is removed and one of epoch `added` is added.
    #[inline]
    pub(super) fn live_with(&self, removed: Option<u64>, added: Option<u64>) -> u64 {
        let epoch = self.word(at!(Stripe.live_epoch)).get();
        let counts = |of: Option<u64>| of.is_some_and(|of| of >= epoch);
        let live = self.word(at!(Stripe.live)).get();
        match (counts(added), counts(removed)) {
            (true, false) => live.saturating_add(1),
            (false, true) => live.saturating_sub(1),
            _ => live,
        }
    }

    #[inline]
    pub(super) fn set_live(&self, live: u64) {
        self.word(at!(Stripe.live)).set(Step::Live, live);
    }

    fn count_for_current_epoch(&self) {
        let epoch = self.epochs.hard();
        let counted = self.word(at!(Stripe.live_epoch));
        if counted.get() != epoch {
            self.set_live(0);
            fence(Ordering::Release);
            counted.set(Step::Live, epoch);
        }
    }

    /// The epochs for a record that was begun at `cache` and `namespace`. Its epoch of the cache is at most the one at
    /// which this hold of the lock began. A later clear does not concern this holder: everything written in this hold
    /// was begun before the clear and is cleared with the rest, and the next holder restarts the count of live records.
    pub(crate) fn epochs_for(&self, cache: Epochs, namespace: NamespaceEpochs) -> RecordEpochs {
        RecordEpochs { cache: cache.current().min(self.epoch()), namespace: namespace.epochs().current() }
    }

    /// The epochs for a record that is begun now. The caller has not looked at the old value yet.
    #[inline]
    pub(crate) fn epochs_now(&self, namespace: NamespaceId) -> RecordEpochs {
        RecordEpochs { cache: self.epoch(), namespace: self.store.epochs_of(namespace).current() }
    }

    /// The epoch for a record that is begun in this hold of the lock.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epochs.current()
    }

    #[inline]
    pub(super) fn count(&self, what: StripeCount) {
        self.count_many(what, 1);
    }

    #[inline]
    pub(super) fn count_many(&self, what: StripeCount, by: u64) {
        self.word(at!(Stripe.counters) + what as u64 * 8).bump(Step::Counter, by);
    }

    /// Raises the stripe's stamp, before any record carries it, and returns it.
    #[inline]
    pub(super) fn next_stamp(&self) -> u64 {
        let word = self.word(at!(Stripe.stamp));
        let stamp = word.get().wrapping_add(1);
        word.set(Step::Stamp, stamp);
        stamp
    }

    /// A stamp that no record of this stripe is likely to have had, with room for 2^63 more above it.
    fn fresh_stamp(&self) -> u64 {
        mix(self.word(at!(Stripe.stamp)).get() ^ self.who.nonce) >> 1
    }

    /// Writes a record into memory that no slot points to.
    pub(super) fn write_record(&self, at: u64, draft: &NewRecord<'_>, head: Head, epochs: RecordEpochs) {
        let mem = &self.store.mem;
        head.store(Step::RecordHeader, mem.words(at));
        self.write_extension(Step::RecordHeader, at, draft, head, epochs);
        mem.copy_in(Step::RecordBody, at + head.key_at(), draft.key.bytes);
        mem.copy_in(Step::RecordBody, at + head.value_at(), draft.value);
    }

    /// Writes the extension of the record at an offset, and its tags, if it has them.
    #[inline(always)]
    pub(super) fn write_extension(&self, step: Step, at: u64, draft: &NewRecord<'_>, head: Head, epochs: RecordEpochs) {
        if head.is_extended() {
            let extension = draft.extension(head.stamp, epochs);
            extension.store(step, self.store.mem.words(at + RECORD_LEN));
            let tags_at = at + RECORD_LEN + EXTENSION_LEN;
            for (i, &word) in extension.tags.iter().flat_map(TagWords::as_slice).enumerate() {
                self.store.mem.word(tags_at + i as u64 * 8).set(step, word);
            }
        }
    }

    /// Loads a whole record into private memory.
    pub(super) fn load_record(&mut self, at: u64, head: Head) {
        self.scratch.clear();
        self.store.mem.append_out(at, (head.units() * 8) as usize, &mut self.scratch);
    }

    /// Writes the record in private memory to `at`, with its checksum changed for the new place.
    pub(super) fn store_record(&mut self, at: u64, seal: u64, from: RecordLocation, to: RecordLocation) {
        self.scratch[8..16].copy_from_slice(&reseal(seal, from, to).to_le_bytes());
        self.store.mem.copy_in(Step::RecordBody, at, &self.scratch);
    }

    /// The slot that points to the record at a position, found through the record's key.
    pub(super) fn slot_of(&mut self, ring: Ring, position: u64, at: u64, head: Head) -> Option<(u64, Slot)> {
        let (mut short, key_len) = ([0; SHORT_KEY], head.key_len() as usize);
        let bytes = match short.get_mut(..key_len) {
            Some(bytes) => {
                self.store.mem.copy_out(at + head.key_at(), bytes);
                &*bytes
            }
            None => {
                self.scratch.clear();
                self.store.mem.append_out(at + head.key_at(), key_len, &mut self.scratch);
                &self.scratch
            }
        };
        let key = self.store.key(bytes);
        if self.store.stripe_of(&key) != self.stripe {
            return None;
        }
        let bucket_at = self.store.bucket_of(&key);
        self.settle_bucket(bucket_at);
        slots(bucket_at).find_map(|slot_at| {
            let slot = self.slot(slot_at);
            let here = slot.is_live() && slot.ring() == ring && slot.position() == position;
            (here && slot.short_hash() == key.short_hash()).then_some((slot_at, slot))
        })
    }

    /// Offsets of the stripe's buckets.
    pub(super) fn buckets(&self) -> impl Iterator<Item = u64> + use<M> {
        let first = self.store.geometry.bucket(self.stripe, 0);
        (0..self.store.geometry.buckets).map(move |i| first + i * BUCKET_LEN)
    }

    /// Empties the stripe. Positions start again in a new era of the versions, and stamps at a fresh base.
    pub(crate) fn empty(&mut self) {
        self.empty_for_now();
        self.end();
    }

    /// [`empty`](Self::empty) without clearing the intent. The intent to empty replaces any earlier one.
    pub(super) fn empty_for_now(&mut self) {
        self.begin(Intent::Empty, 0, Slot::EMPTY, Slot::EMPTY, 0);
        self.empty_begun();
    }

    /// The steps of emptying once its intent is stored. Repeating them does no harm.
    pub(super) fn empty_begun(&mut self) {
        for bucket_at in self.buckets() {
            let version = self.version_of(bucket_at);
            open_bucket(version);
            for slot_at in slots(bucket_at) {
                self.store.mem.word(slot_at).set(Step::Slot, 0);
            }
            let era = version.get().wrapping_add(1 << ERA_SHIFT);
            version.store(Step::BucketEven, (era | 1).wrapping_add(1), Ordering::Release);
        }
        fence(Ordering::Release);
        self.reset_rings(0, 0);
        self.word(at!(Stripe.stamp)).set(Step::RingReset, self.fresh_stamp());
        self.set_live(0);
    }

    /// Gives up the lock if the fault [`LateStore`](crate::fault::Fault::LateStore) is injected: the stores that follow
    /// happen without it.
    #[cfg(all(feature = "faults", not(loom)))]
    pub(super) fn give_up_lock_if_injected(&mut self) {
        if crate::fault::injected(crate::fault::Fault::LateStore) {
            self._lock.give_up();
            crate::fault::linger();
        }
    }

    /// Records the operation that was repaired, and the process that repaired it, for `stat`.
    pub(super) fn note_repair(&self, intent: u64) {
        self.word(at!(Stripe.repaired_intent)).set(Step::Repair, intent);
        self.word(at!(Stripe.repaired_by_seat)).set(Step::Repair, self.who.seat.into());
        self.word(at!(Stripe.repaired_by_pid)).set(Step::Repair, self.who.pid.into());
        self.count(StripeCount::Repairs);
    }
}

/// Makes a bucket's version odd, so that readers reject what they see until it is even again.
#[inline(always)]
pub(super) fn open_bucket(version: Word<'_>) {
    version.set(Step::BucketOdd, version.get() | 1);
    fence(Ordering::Release);
}

/// Makes a bucket's version even again.
#[inline(always)]
pub(super) fn close_bucket(version: Word<'_>) {
    version.store(Step::BucketEven, (version.get() | 1).wrapping_add(1), Ordering::Release);
}

/// Makes an odd version even: the caller holds the lock, so the version's writer is dead.
#[inline(always)]
pub(super) fn settle(version: Word<'_>) {
    if version.get() & 1 == 1 {
        close_bucket(version);
    }
}

/// Offset of the bucket that a slot lies in.
pub(super) fn bucket_of(slot_at: u64) -> u64 {
    slot_at & !(BUCKET_LEN - 1)
}

/// Offsets of the words of a bucket whose bits are set in `words`.
#[inline]
pub(super) fn slots_in(bucket_at: u64, mut words: u32) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let i = (words != 0).then(|| words.trailing_zeros())?;
        words &= words - 1;
        Some(bucket_at + u64::from(i) * 8)
    })
}

/// Offsets of a bucket's slots.
pub(super) fn slots(bucket_at: u64) -> impl Iterator<Item = u64> {
    (1..=SLOTS).map(move |i| bucket_at + i * 8)
}
