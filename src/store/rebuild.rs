//! Rebuilds a stripe's index from its rings, for a file whose pages come from different moments.
//!
//! After an operating-system crash, or in a copy of a live file, any page can be older than any other. Each stripe is
//! then flagged *verify-me*: reads verify checksums, and the first process that locks the stripe rebuilds its buckets
//! from the records in its rings. All buckets stay odd until the end.

use super::counters::StripeCount;
use super::evict::is_known;
use super::record::{Head, pad};
use super::slot::{Ring, Slot};
use super::stripe_guard::{StripeGuard, close_bucket, open_bucket, slots};
use super::table::{EXCHANGES, Store};
use crate::shm::atomics::Ordering;
use crate::shm::layout::at;
use crate::shm::{Memory, Step};

impl<M: Memory> StripeGuard<'_, M> {
    /// Rebuilds the stripe's index from its rings. Drops records that are damaged, that are not of the current epochs,
    /// or whose clock of tags the file has lost.
    #[cold]
    pub(super) fn rebuild(&mut self) {
        self.end(); // An intent from before the crash names slots that no longer exist.
        for bucket_at in self.buckets() {
            open_bucket(self.version_of(bucket_at));
            slots(bucket_at).for_each(|slot_at| self.store.mem.word(slot_at).set(Step::Slot, 0));
        }
        if !self.has_sane_rings() {
            self.count(StripeCount::Dropped);
            self.reset_rings(0, 0);
        }
        let mut stamp = self.word(at!(Stripe.stamp)).get();
        for ring in [Ring::Small, Ring::Main] {
            stamp = stamp.max(self.rebuild_ring(ring));
        }
        self.word(at!(Stripe.stamp)).set(Step::Stamp, stamp);
        self.word(at!(Stripe.live_epoch)).set(Step::Live, self.epochs.hard());
        self.set_live(self.recount());
        for bucket_at in self.buckets() {
            close_bucket(self.version_of(bucket_at));
        }
        self.trust();
    }

    /// Empties a stripe that is not trusted after a crash.
    #[cold]
    pub(super) fn discard(&mut self) {
        self.empty();
        self.trust();
    }

    /// Marks the stripe as trusted. The release store that closed the last bucket comes after all other stores of the
    /// rebuild. A death may leave that one bucket odd; the next holder then closes it.
    fn trust(&self) {
        self.word(at!(Stripe.repair_attempts)).set(Step::VerifyMe, 0);
        self.word(at!(Stripe.verify_me)).set(Step::VerifyMe, 0);
        self.store.forget_unverified();
    }

    /// Walks a ring from its tail and links the sound records; returns the highest stamp among them.
    fn rebuild_ring(&mut self, ring: Ring) -> u64 {
        let shape = self.shape(ring);
        let (mut position, end, mut highest) = (self.tail(ring), self.ring_head(ring), 0);
        while position != end {
            let at = self.address(ring, position);
            let head = self.head_at(ring, position, at);
            let units = head.units();
            if !shape.can_step(position, units, shape.used(position, end).unwrap_or(0)) {
                // The start of the next record is unknown: the ring ends here.
                self.count(StripeCount::Dropped);
                self.set_head(ring, position);
                break;
            }
            if !is_known(head) {
                // A pad of the same length lets this walk, and later the tail, step over it.
                self.store.mem.word(at).set(Step::Pad, pad(units));
            } else if let Some(head) = self.rebuild_record(ring, position) {
                highest = highest.max(head.stamp);
            }
            position = shape.advance(position, units);
        }
        highest
    }

    /// Links the record at a position if it is sound and current, unless a newer one of its key is linked.
    fn rebuild_record(&mut self, ring: Ring, position: u64) -> Option<Head> {
        let found = Slot(0).as_live(ring, position);
        let (key_len, head, at) = self.load_held(found)?;
        if head.is_dead() {
            return None;
        }
        let loaded = std::mem::take(&mut self.scratch);
        let (key, value) = loaded.split_at(key_len);
        let key = self.store.key(key);
        let slot = Slot::live(&key, ring, position);
        let extension = self.store.extension(at, head);
        let epochs = self.store.epochs();
        let stays = self.store.stripe_of(&key) == self.stripe
            && super::record::is_sound(&key, value, head, extension, self.location(slot))
            && head.epoch() <= epochs.current()
            && extension.namespace_epoch() <= self.store.namespace_epochs(extension.namespace()).current()
            && self.store.has_known_clock(&extension)
            && self.store.visibility_with(head, extension, || self.now_ms()).is_seen(true);
        if stays {
            self.link_newest(&key, slot, head);
        } else {
            self.kill(slot);
            self.count(StripeCount::Dropped);
        }
        self.scratch = loaded;
        stays.then_some(head)
    }

    /// Links a sound record unless a newer one of its key is linked; marks the older one dead.
    fn link_newest(&mut self, key: &crate::hash::Key<'_>, slot: Slot, head: Head) {
        let bucket_at = self.store.bucket_of(key);
        let linked = slots(bucket_at).find(|&slot_at| {
            let other = self.slot(slot_at);
            other.is_live_of(Slot::live_pattern(key)) && self.store.record_of(self.stripe, other, key).is_some()
        });
        let spare = || slots(bucket_at).find(|&slot_at| self.slot(slot_at).is_empty());
        let Some(slot_at) = linked.or_else(spare) else {
            self.kill(slot);
            self.count(StripeCount::EvictionsIndex);
            return;
        };
        let other = self.slot(slot_at);
        let older = self.store.record_at(self.stripe, other.ring(), other.position());
        match older.filter(|_| other.is_live()) {
            Some(at) if self.store.head(at).stamp > head.stamp => self.kill(slot),
            Some(_) => {
                self.kill(other);
                self.store.mem.word(slot_at).set(Step::Slot, slot.0);
            }
            None => self.store.mem.word(slot_at).set(Step::Slot, slot.0),
        }
    }
}

impl<M: Memory> Store<M> {
    /// Lowers the count of flagged stripes. After a death the count may stay too high, which only costs an extra check.
    fn forget_unverified(&self) {
        let word = self.mem.word(at!(unverified));
        for _ in 0..EXCHANGES {
            let seen = word.get();
            if seen == 0 || word.compare_exchange(Step::VerifyMe, seen, seen - 1, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}
