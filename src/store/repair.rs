//! Repairs a stripe whose holder died in the middle of an operation, as the table in [`intent`](super::intent) says.

use super::counters::StripeCount;
use super::intent::Intent;
use super::read::CheckedRecord;
use super::record::{Head, is_sound};
use super::slot::Slot;
use super::stripe_guard::{StripeGuard, bucket_of, slots};
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::{Memory, Step};

/// Attempts to repair a stripe before it is emptied instead.
const ATTEMPTS: u64 = 2;

impl<M: Memory> StripeGuard<'_, M> {
    /// Completes or undoes the operation that a dead holder left in flight.
    #[cold]
    pub(super) fn repair(&mut self) {
        let word = self.word(at!(Stripe.intent)).get();
        let attempts = self.word(at!(Stripe.repair_attempts));
        attempts.bump(Step::Repair, 1);
        fence(Ordering::Release);
        let slot_at = self.word(at!(Stripe.intent_slot)).get();
        match Intent::of(word) {
            Some(Intent::Empty) => self.empty_begun(),
            Some(intent) if attempts.get() <= ATTEMPTS && self.is_slot(slot_at) => self.repair_slot(intent, slot_at),
            // An impossible intent is damage, and an intent whose repair died twice is not tried again. A death while
            // emptying leaves the intent to empty, and not the earlier one, which would name records that are gone.
            _ => {
                self.empty_for_now();
                self.count(StripeCount::Dropped);
            }
        }
        self.note_repair(word & Intent::KIND);
        // Reset before `end`: a count that outlived its intent would pass for attempts to repair the next intent.
        attempts.set(Step::Repair, 0);
        self.end();
    }

    fn is_slot(&self, slot_at: u64) -> bool {
        let first = self.store.geometry.bucket(self.stripe, 0);
        let behind = self.store.geometry.bucket(self.stripe, self.store.geometry.buckets);
        (first..behind).contains(&slot_at) && slot_at.is_multiple_of(8) && bucket_of(slot_at) != slot_at
    }

    fn repair_slot(&mut self, intent: Intent, slot_at: u64) {
        let old = Slot(self.word(at!(Stripe.intent_old)).get());
        let new = Slot(self.word(at!(Stripe.intent_new)).get());
        let now = self.slot(slot_at);
        let is_odd = self.store.mem.word(bucket_of(slot_at)).get() & 1 == 1;
        let stays = match intent {
            Intent::Set | Intent::Move if self.is_whole(new, slot_at) => new,
            Intent::Set | Intent::Move if !old.is_live() || self.is_whole(old, slot_at) => old,
            Intent::InPlace if !is_odd => now,
            Intent::Set | Intent::Move | Intent::InPlace => Slot::EMPTY,
            Intent::Delete | Intent::Evict | Intent::Expire | Intent::Empty => new,
        };
        for gone in [old, new].into_iter().filter(|slot| slot.is_live() && !slot.same(stays)) {
            if self.is_held(gone) {
                self.kill(gone);
            }
        }
        // Readers may have marked the slot since. A moved slot already carries its marks.
        let marked = if now.same(stays) { now } else { stays };
        self.relink(slot_at, marked);
        self.set_live(match intent {
            Intent::InPlace if stays.same(new) && !self.counts(stays) => {
                self.word(at!(Stripe.intent_live_undone)).get()
            }
            _ if stays.same(new) => self.word(at!(Stripe.intent_live_done)).get(),
            _ if stays.same(old) => self.word(at!(Stripe.intent_live_undone)).get(),
            _ => self.recount(),
        });
    }

    /// Whether a slot's record is live in the current epoch.
    fn counts(&self, slot: Slot) -> bool {
        let epoch = self.word(at!(Stripe.live_epoch)).get();
        let at = self.store.record_at(self.stripe, slot.ring(), slot.position());
        slot.is_live() && at.is_some_and(|at| self.store.head(at).epoch() >= epoch)
    }

    /// Whether a slot's record lies in its ring, belongs to this bucket, and passes its checksum.
    fn is_whole(&mut self, slot: Slot, slot_at: u64) -> bool {
        if !slot.is_live() || !self.is_held(slot) {
            return false;
        }
        let location = self.location(slot);
        let Some((key_len, head, at)) = self.load_held(slot) else { return false };
        let (key, rest) = self.scratch.split_at(key_len);
        let key = self.store.key(key);
        self.store.stripe_of(&key) == self.stripe
            && self.store.bucket_of(&key) == bucket_of(slot_at)
            && key.short_hash() == slot.short_hash()
            && is_sound(&key, rest, head, self.store.extension(at, head), location)
    }

    /// Loads key and value of a slot's record into private memory, if its lengths are possible.
    pub(super) fn load_held(&mut self, slot: Slot) -> Option<(usize, Head, u64)> {
        let CheckedRecord { at, head, value_len, .. } = self.store.record_in(self.stripe, slot)?;
        self.scratch.clear();
        self.store.mem.append_out(at + head.key_at(), head.key_len() as usize, &mut self.scratch);
        self.store.mem.append_out(at + head.value_at(), value_len, &mut self.scratch);
        Some((head.key_len() as usize, head, at))
    }

    /// Counts the live records of the current epoch by looking at every slot. This is needed after a rebuild, in a copy
    /// to another file, and after a repair that lost something and so could neither complete nor undo its operation.
    pub(super) fn recount(&self) -> u64 {
        let slots = self.buckets().flat_map(slots);
        slots.filter(|&slot_at| self.counts(self.slot(slot_at))).count() as u64
    }
}
