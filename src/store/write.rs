//! Writes one key, with the stripe's lock held.
//!
//! ```text
//! reserve at the ring's head; each move or eviction for it is an operation of its own
//! find the key's slot, or the victim in a full bucket
//! store the intent
//! raise the stamp; write the record; advance the head      the ring now holds it
//! bucket odd; store the slot; bucket even                  readers see it
//! mark the superseded record dead; clear the intent
//! ```

use super::counters::StripeCount;
use super::find::Entry;
use super::intent::Intent;
use super::record::{NewRecord, RecordEpochs, timed};
use super::slot::{Ring, Slot};
use super::stripe_guard::{StripeGuard, bucket_of, close_bucket, open_bucket, slots, slots_in};
use crate::fault::{Fault, injected};
use crate::hash::Key;
use crate::shm::atomics::Ordering;
use crate::shm::layout::{RECORD_LEN, at};
use crate::shm::{Memory, Step};

impl<M: Memory> StripeGuard<'_, M> {
    /// Stores an item and returns its stamp. The caller has checked that the record is not too large; `entry` is the
    /// result of [`find`](Self::find) for the key. The epochs are not above [`epoch`](Self::epoch).
    // Always inlined, with the functions it calls: `set` without options is the path that matters.
    #[inline(always)]
    pub(crate) fn put(&mut self, draft: &NewRecord<'_>, entry: Option<&Entry>, epochs: RecordEpochs) -> u64 {
        self.void(&draft.key);
        self.put_created(draft, entry, epochs)
    }

    /// [`put`](Self::put) for the owner of the key's claim, which stays valid.
    #[inline(always)]
    pub(super) fn put_created(&mut self, draft: &NewRecord<'_>, entry: Option<&Entry>, epochs: RecordEpochs) -> u64 {
        debug_assert!(epochs.cache <= self.epoch());
        self.count(StripeCount::Sets);
        match entry {
            Some(entry) if draft.fits_in(entry.head) && self.keeps_place(entry) => self.overwrite(entry, draft, epochs),
            // Passes copies on, so that the overwrite path need not keep either of them in memory.
            _ => self.insert(&{ *draft }, entry.copied(), epochs),
        }
    }

    /// Whether a value that fits is written over the key's record. An item in the place of an invalidated record keeps the
    /// ring's tail from the invalidated ones beside it, whose memory only the tail frees. So if the tail is on its way
    /// through such records, the item goes to the head.
    #[inline(always)]
    fn keeps_place(&self, entry: &Entry) -> bool {
        !self.store.is_cleared(entry.at, entry.head) || !self.is_tail_gone(entry.slot.ring())
    }

    /// Makes room at the head of a ring and writes a record there.
    #[inline(never)]
    fn insert(&mut self, draft: &NewRecord<'_>, entry: Option<Entry>, epochs: RecordEpochs) -> u64 {
        // A holder that only puts has not checked the ends yet. Ends that cannot be right empty the stripe.
        let is_sane = self.has_sane_rings();
        if !is_sane {
            self.empty();
        }
        let entry = entry.filter(|_| is_sane);
        let units = draft.units();
        let ring = self.ring_for(&draft.key, entry.as_ref(), units);
        let mut budget = self.budget();
        let bucket = self.store.mem.word(self.store.bucket_of(&draft.key));
        let before = bucket.get();
        let position = self.reserve(ring, units, &mut budget);
        // Making room may have moved or evicted records of this bucket, even this key's own.
        let old = if bucket.get() == before { entry } else { self.find(&draft.key) };
        let slot_at = old.map_or_else(|| self.vacate(&draft.key), |old| old.slot_at);
        let stamp = self.append(draft, epochs, Slot::live(&draft.key, ring, position), slot_at, old);
        self.prefetch_departure(ring, units);
        stamp
    }

    /// Writes a record at the reserved head of a ring and links it.
    #[inline(always)]
    pub(super) fn append(
        &mut self,
        draft: &NewRecord<'_>,
        epochs: RecordEpochs,
        new: Slot,
        slot_at: u64,
        old: Option<Entry>,
    ) -> u64 {
        let (ring, position) = (new.ring(), new.position());
        let old_slot = self.slot(slot_at);
        let marks = if old.is_some() { old_slot.marks() } else { 0 };
        let new = new.with_marks(marks);
        let live = self.live_with(old.map(|old| old.head.epoch()), Some(epochs.cache));
        let units = draft.units();
        let at = self.address(ring, position);
        self.begin(Intent::Set, slot_at, old_slot, new, live);
        let stamp = self.next_stamp();
        self.write_record(at, draft, draft.head(units, stamp, self.location(new), epochs), epochs);
        self.set_head(ring, self.shape(ring).advance(position, units));
        #[cfg(all(feature = "faults", not(loom)))]
        self.give_up_lock_if_injected();
        self.relink(slot_at, new);
        if let Some(old) = old {
            if injected(Fault::Revived) { self.relink(slot_at, old.slot) } else { self.kill(old.slot) }
        }
        self.set_live(live);
        self.end();
        stamp
    }

    /// Overwrites a small record in place while its bucket is odd. A store before that touches the page, so that
    /// readers do not wait for a page fault.
    #[inline(always)]
    pub(super) fn overwrite(&mut self, entry: &Entry, draft: &NewRecord<'_>, epochs: RecordEpochs) -> u64 {
        let words = self.store.mem.words::<4>(entry.at);
        words.at(0).set(Step::InPlace, words.get(0));
        let live = self.live_with(Some(entry.head.epoch()), Some(epochs.cache));
        let (version, slot) = self.version_and_slot(entry.slot_at);
        let slot = Slot(slot.get());
        self.begin(Intent::InPlace, entry.slot_at, slot, slot, live);
        let stamp = self.next_stamp();
        let head = draft.head(entry.head.units(), stamp, self.location(slot), epochs);
        open_bucket(version);
        head.store(Step::InPlace, words);
        self.write_extension(Step::InPlace, entry.at, draft, head, epochs);
        self.store.mem.copy_in(Step::InPlace, entry.at + head.value_at(), draft.value);
        close_bucket(version);
        self.set_live(live);
        self.end();
        stamp
    }

    /// Removes a key's record.
    pub(crate) fn remove(&mut self, entry: &Entry) {
        self.unlink(Intent::Delete, entry.slot_at, entry.slot, Slot::EMPTY, entry.head);
        self.count(StripeCount::Deletes);
    }

    /// Changes a record's expiry. It is one word, so no reader can see half of it. The bucket's version changes
    /// afterwards, so that an earlier copy of the record is known to be out of date.
    ///
    /// If the record's expiry followed its reads, it is fixed from now on. A death between the two stores fixes it at
    /// its old value.
    pub(crate) fn touch(&mut self, entry: &Entry, expires_ms: u64) {
        let extension = self.store.extension(entry.at, entry.head);
        if extension.is_idle() {
            let word = self.store.mem.word(entry.at + RECORD_LEN + at!(Extension.soft_expiry));
            word.set(Step::Expiry, extension.soft_without_idle(entry.head.stamp));
        }
        self.set_expiry(entry, expires_ms);
    }

    pub(super) fn set_expiry(&mut self, entry: &Entry, expires_ms: u64) {
        let word = self.store.mem.word(entry.at + at!(Record.expiry));
        word.set(Step::Expiry, timed(expires_ms, entry.head.stamp));
        self.renew_bucket(bucket_of(entry.slot_at));
    }

    /// Counts a write that looks at the key's old value as a use of it, like a read.
    pub(crate) fn mark(&self, entry: &Entry) {
        if let Some(marked) = entry.slot.marked() {
            let word = self.store.mem.word(entry.slot_at);
            // A failure means that a reader has marked the slot meanwhile, which is as good.
            let _ = word.compare_exchange(Step::Mark, entry.slot.0, marked.0, Ordering::Relaxed);
        }
    }

    /// Chooses the ring of a record. One too large for the small ring goes to the main ring. An overwritten key stays
    /// in its ring, a key with a ghost returns to the main ring, and a new key enters the small ring.
    fn ring_for(&self, key: &Key<'_>, entry: Option<&Entry>, units: u64) -> Ring {
        if units > self.shape(Ring::Small).units / 4 {
            return Ring::Main;
        }
        match entry {
            Some(entry) => entry.slot.ring(),
            None if self.ghost_of(key).is_some() => {
                self.count(StripeCount::GhostHits);
                Ring::Main
            }
            None => Ring::Small,
        }
    }

    pub(super) fn ghost_of(&self, key: &Key<'_>) -> Option<u64> {
        let bucket_at = self.store.bucket_of(key);
        let candidates = M::matching(self.store.mem.words::<8>(bucket_at), Slot::ghost_pattern(key)) & !1;
        slots_in(bucket_at, candidates).find(|&slot_at| self.slot(slot_at).is_ghost_of(key))
    }

    /// Finds a slot for a key that has none: its ghost's, an empty one, the oldest ghost's, or the least marked
    /// record's, which is evicted first.
    pub(super) fn vacate(&mut self, key: &Key<'_>) -> u64 {
        let bucket_at = self.store.bucket_of(key);
        let spare = self.ghost_of(key).or_else(|| slots(bucket_at).min_by_key(|&at| self.slot(at).cost()));
        let slot_at = spare.unwrap_or(bucket_at + 8);
        let slot = self.slot(slot_at);
        if slot.is_live() {
            self.evict_for_index(slot_at, slot);
        }
        slot_at
    }

    pub(super) fn evict_for_index(&mut self, slot_at: u64, slot: Slot) {
        let head = self.store.record_at(self.stripe, slot.ring(), slot.position()).map(|at| self.store.head(at));
        match head.filter(|_| self.is_held(slot)) {
            Some(head) => self.unlink(Intent::Evict, slot_at, slot, Slot::EMPTY, head),
            // A slot that points outside its ring is damage: there is no record to mark dead.
            None => self.relink(slot_at, Slot::EMPTY),
        }
        self.count(StripeCount::EvictionsIndex);
    }
}
