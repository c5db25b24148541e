//! Stores items that were saved from a cache file, usually from another one.
//!
//! A saved item must not evict items that are in use in this file. So it is stored only in free space, or in place of a
//! record at the tail of a ring that has expired or was replaced, removed or invalidated. A caller that restores the
//! most used items first keeps those, however small the file is.

use super::counters::StripeCount;
use super::find::Entry;
use super::record::{NewRecord, RecordEpochs};
use super::slot::{Ring, Slot};
use super::stripe_guard::{StripeGuard, slots};
use crate::hash::Key;
use crate::shm::Memory;

/// How an item was used in the file from which it was saved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heat {
    pub ring: Ring,
    pub marks: u8,
}

impl<M: Memory> StripeGuard<'_, M> {
    /// Stores a saved item in free space; returns whether there was some. `entry` is the result of
    /// [`find`](Self::find) for the key. A claim of the key stays valid, since its owner's value will be newer.
    pub(crate) fn restore(
        &mut self,
        draft: &NewRecord<'_>,
        entry: Option<&Entry>,
        epochs: RecordEpochs,
        heat: Heat,
    ) -> bool {
        let fits_in = |entry: &Entry| draft.fits_in(entry.head);
        // As for a write, an item in the place of a record that is gone must not stop a tail that can go on.
        let keeps_place = |entry: &Entry| !self.is_gone(entry.slot) || !self.is_over(entry.slot.ring());
        if let Some(entry) = entry.filter(|entry| fits_in(entry) && keeps_place(entry)) {
            self.restore_in_place(draft, entry, epochs, heat);
            return true;
        }
        let units = draft.units();
        let bucket = self.store.mem.word(self.store.bucket_of(&draft.key));
        let before = bucket.get();
        let spot = self.free_spot(heat.ring, units);
        // Records that have expired may have left this bucket, even this key's own.
        let old = if bucket.get() == before { entry.copied() } else { self.find(&draft.key) };
        let Some((ring, position)) = spot else {
            // The tail has met an item in use.
            let place = old.filter(fits_in);
            if let Some(place) = &place {
                self.restore_in_place(draft, place, epochs, heat);
            }
            return place.is_some();
        };
        let spare = match old {
            Some(old) => Some(old.slot_at),
            None => self.spare_slot(&draft.key),
        };
        let Some(slot_at) = spare else { return false };
        self.count(StripeCount::Sets);
        self.append(draft, epochs, Slot::live(&draft.key, ring, position), slot_at, old);
        self.warm_up(draft, heat);
        true
    }

    fn restore_in_place(&mut self, draft: &NewRecord<'_>, place: &Entry, epochs: RecordEpochs, heat: Heat) {
        self.count(StripeCount::Sets);
        self.overwrite(place, draft, epochs);
        self.warm_up(draft, heat);
    }

    /// Stores a saved item as a write stores a new one, so it may evict others.
    pub(crate) fn restore_by_eviction(
        &mut self,
        draft: &NewRecord<'_>,
        entry: Option<&Entry>,
        epochs: RecordEpochs,
        heat: Heat,
    ) {
        self.put_created(draft, entry, epochs);
        self.warm_up(draft, heat);
    }

    /// Gives the item the access marks that it had.
    fn warm_up(&self, draft: &NewRecord<'_>, heat: Heat) {
        let Some(mut entry) = (heat.marks > 0).then(|| self.find(&draft.key)).flatten() else { return };
        for _ in entry.slot.marks()..heat.marks.into() {
            self.mark(&entry);
            entry.slot = entry.slot.marked().unwrap_or(entry.slot);
        }
    }

    /// A ring with room for a record, and its head: the ring in which the item was, else the other one.
    pub(super) fn free_spot(&mut self, ring: Ring, units: u64) -> Option<(Ring, u64)> {
        let other = if ring == Ring::Main { Ring::Small } else { Ring::Main };
        let fits = |this: &Self, ring| ring == Ring::Main || units <= this.shape(Ring::Small).units / 4;
        [ring, other].into_iter().find_map(|ring| {
            let position = fits(self, ring).then(|| self.room_without_eviction(ring, units)).flatten()?;
            Some((ring, position))
        })
    }

    fn room_without_eviction(&mut self, ring: Ring, units: u64) -> Option<u64> {
        loop {
            if let Some(position) = self.room_at_head(ring, units) {
                return Some(position);
            }
            if !self.is_over(ring) {
                return None;
            }
            let mut budget = self.budget();
            self.leave_one(ring, &mut budget);
        }
    }

    /// Whether the tail of a ring can pass what lies there without a loss: a pad, something damaged, or a record that
    /// was replaced, removed or invalidated, or has expired.
    fn is_over(&self, ring: Ring) -> bool {
        match self.at_tail(ring) {
            Some((_, at, head)) => head.is_dead() || self.is_gone_at(at, head),
            None => self.used(ring) > 0,
        }
    }

    /// A slot for a key that has none; `None` if an item in use would have to give up its slot. A record that has
    /// expired or was invalidated gives up its slot.
    pub(super) fn spare_slot(&mut self, key: &Key<'_>) -> Option<u64> {
        let bucket_at = self.store.bucket_of(key);
        let is_spare = |slot_at: &u64| !self.slot(*slot_at).is_live();
        let spare = || slots(bucket_at).filter(is_spare).min_by_key(|&at| self.slot(at).cost());
        self.ghost_of(key).or_else(spare).or_else(|| {
            let slot_at = slots(bucket_at).find(|&slot_at| self.is_gone(self.slot(slot_at)))?;
            self.evict_for_index(slot_at, self.slot(slot_at));
            Some(slot_at)
        })
    }

    /// Whether no read would return the record of a live slot.
    fn is_gone(&self, slot: Slot) -> bool {
        let record = self.store.record_at(self.stripe, slot.ring(), slot.position()).filter(|_| self.is_held(slot));
        record.is_none_or(|at| self.is_gone_at(at, self.store.head(at)))
    }
}
