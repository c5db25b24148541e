//! Making room: S3-FIFO on two rings.
//!
//! New keys enter the small ring, about a tenth of the arena. A record that was read at least twice since it entered is
//! promoted to the main ring when it reaches the small ring's tail; any other is evicted, and its slot becomes a ghost.
//! A key that is written again while its ghost remains enters the main ring. At the main ring's tail, a record with
//! access marks loses one and is inserted again at the head; a record without marks is evicted. (Yang et al., "FIFO
//! queues are all you need for cache eviction", SOSP 2023.)
//!
//! Kennel adds two rules. A record that leaves the small ring moves to the main ring, read or not, whenever the main
//! ring has a free gap that fits it, or records at its tail that were invalidated or have expired leave one. Ghosts live
//! in the spare slots of the index, and the oldest ghost is replaced first.
//!
//! Each move or eviction of a record is an operation with an intent of its own.

use super::counters::StripeCount;
use super::intent::Intent;
use super::record::{Head, pad};
use super::slot::{Ring, Slot};
use super::stripe_guard::{SHORT_KEY, StripeGuard, close_bucket, open_bucket};
use super::visibility::Visibility;
use crate::shm::{Memory, Step};

/// A record at the small ring's tail is promoted if it has at least this many marks.
const PROMOTED_FROM: u64 = 2;
/// Number of records that one operation may move; after that, records at the tail are evicted whatever their marks.
const MOST_MOVES: u32 = 64;

/// How much one operation may still move, which bounds the time that it holds the lock.
pub(crate) struct Budget {
    moves: u32,
    units: u64,
}

impl Budget {
    fn spend(&mut self, units: u64) -> bool {
        if self.moves == 0 || self.units < units {
            return false;
        }
        self.moves -= 1;
        self.units -= units;
        true
    }
}

impl<M: Memory> StripeGuard<'_, M> {
    pub(super) fn budget(&self) -> Budget {
        Budget { moves: MOST_MOVES, units: self.shape(Ring::Main).units / 4 }
    }

    /// Makes room for a record of `units` and returns its position at the ring's head. Slots and records that the
    /// caller looked up before this call may have changed after it.
    pub(super) fn reserve(&mut self, ring: Ring, units: u64, budget: &mut Budget) -> u64 {
        loop {
            if let Some(position) = self.room_at_head(ring, units) {
                return position;
            }
            self.leave_one(ring, budget);
        }
    }

    /// The head's position, if `units` in one piece are free there; if they do not fit before the ring's end, a pad
    /// fills the rest of the lap first.
    pub(super) fn room_at_head(&self, ring: Ring, units: u64) -> Option<u64> {
        let shape = self.shape(ring);
        let head = self.ring_head(ring);
        let free = shape.units - self.used(ring);
        let to_end = shape.units - shape.offset(head);
        if to_end >= units {
            return (free >= units).then_some(head);
        }
        (free >= to_end + units).then(|| self.pad(ring))
    }

    /// Fills the rest of the lap with a pad; returns the first position of the next lap.
    fn pad(&self, ring: Ring) -> u64 {
        let shape = self.shape(ring);
        let head = self.ring_head(ring);
        let at = self.address(ring, head);
        let units = shape.units - shape.offset(head);
        self.store.mem.word(at).set(Step::Pad, pad(units));
        let next = shape.advance(head, units);
        self.set_head(ring, next);
        next
    }

    /// Evicts the record at a ring's tail, or moves it; in either case the tail passes it.
    pub(super) fn leave_one(&mut self, ring: Ring, budget: &mut Budget) {
        let Some((tail, at, head)) = self.at_tail(ring) else {
            // Only damage leads here: the walk cannot go on, because the start of the next record is unknown.
            self.count(StripeCount::Dropped);
            self.empty();
            return;
        };
        let passed = self.shape(ring).advance(tail, head.units());
        if head.is_pad() || head.is_dead() {
            self.set_tail(ring, passed);
        } else if let Some((slot_at, slot)) = self.slot_of(ring, tail, at, head) {
            self.leave_live(slot_at, slot, at, head, budget, passed);
        } else {
            self.count(StripeCount::Dropped);
            self.set_tail(ring, passed);
        }
    }

    /// Prefetches what the next insertion into a full ring touches first: the bucket of the record at the tail, which
    /// leaves the ring next, and the record behind that one, which leaves after it. (The previous insertion prefetched
    /// the record at the tail itself.) The lengths of the record at the tail come from the file, so they are checked as
    /// for a record that leaves.
    pub(super) fn prefetch_departure(&self, ring: Ring, units: u64) {
        let shape = self.shape(ring);
        if shape.units - self.used(ring) >= units {
            return;
        }
        let Some((tail, at, head)) = self.at_tail(ring) else { return };
        let next = self.address(ring, shape.advance(tail, head.units()));
        (0..2).for_each(|line| self.store.mem.prefetch(next + line * 64));
        let mut short = [0; SHORT_KEY];
        if let Some(bytes) = short.get_mut(..head.key_len() as usize)
            && !head.is_pad()
        {
            self.store.mem.copy_out(at + head.key_at(), bytes);
            self.store.mem.prefetch(self.store.bucket_of(&self.store.key(bytes)));
        }
    }

    /// The position, the offset and the header of what lies at a ring's tail; `None` if the ring is empty or damaged there.
    #[inline(always)]
    pub(super) fn at_tail(&self, ring: Ring) -> Option<(u64, u64, Head)> {
        let tail = self.tail(ring);
        let at = self.address(ring, tail);
        let head = self.head_at(ring, tail, at);
        (self.shape(ring).can_step(tail, head.units(), self.used(ring)) && is_known(head)).then_some((tail, at, head))
    }

    /// The header of the record or pad at a position. A pad may be a single word, so only its shape is loaded.
    pub(super) fn head_at(&self, ring: Ring, position: u64, at: u64) -> Head {
        let shape = self.store.mem.word(at).get();
        let short = Head { shape, seal: 0, stamp: 0, expiry: 0 };
        let fits = self.store.record_at(self.stripe, ring, position).is_some();
        if short.is_record() && fits { self.store.head(at) } else { short }
    }

    fn leave_live(&mut self, slot_at: u64, slot: Slot, at: u64, head: Head, budget: &mut Budget, passed: u64) {
        match self.store.visibility(at, head, || self.now_ms()) {
            Visibility::Cleared => self.unlink(Intent::Expire, slot_at, slot, Slot::EMPTY, head),
            Visibility::Expired => {
                self.unlink(Intent::Expire, slot_at, slot, Slot::EMPTY, head);
                self.count(StripeCount::Expirations);
            }
            Visibility::Value | Visibility::Absence => match slot.ring() {
                Ring::Small => self.leave_small(slot_at, slot, at, head, budget),
                Ring::Main => return self.leave_main(slot_at, slot, at, head, budget, passed),
            },
        }
        self.pass(slot.ring(), slot.position(), passed);
    }

    /// Moves the tail, unless the stripe was emptied meanwhile.
    fn pass(&self, ring: Ring, from: u64, to: u64) {
        if self.tail(ring) == from {
            self.set_tail(ring, to);
        }
    }

    fn leave_small(&mut self, slot_at: u64, slot: Slot, at: u64, head: Head, budget: &mut Budget) {
        let units = head.units();
        let promoted = slot.marks() >= PROMOTED_FROM && budget.spend(units);
        let position =
            if promoted { Some(self.reserve(Ring::Main, units, budget)) } else { self.room_for_unread(units, budget) };
        if self.tail(Ring::Small) != slot.position() {
            return; // `reserve` met damage in the main ring and emptied the stripe.
        }
        match position {
            Some(position) => {
                // A record starts in its new ring without marks.
                self.relocate(slot_at, slot.with_marks(0), at, head, Ring::Main, position);
                self.count(StripeCount::Promotions);
            }
            None => {
                self.unlink(Intent::Evict, slot_at, slot, slot.ghost(), head);
                self.count(StripeCount::EvictionsSmall);
            }
        }
    }

    /// A free position in the main ring for a record that leaves the small ring without a promotion. What was invalidated
    /// or has expired makes room for it, so a full cache holds as much after it was cleared as a new one. What was
    /// replaced does not: where values are often replaced, the ring would fill with records that nobody read.
    fn room_for_unread(&mut self, units: u64, budget: &mut Budget) -> Option<u64> {
        loop {
            if let Some(position) = self.room_at_head(Ring::Main, units) {
                return Some(position);
            }
            if !self.is_tail_gone(Ring::Main) {
                return None;
            }
            self.leave_one(Ring::Main, budget);
        }
    }

    /// Whether a pad, or a record that was invalidated or has expired, lies at a ring's tail.
    pub(super) fn is_tail_gone(&self, ring: Ring) -> bool {
        self.at_tail(ring).is_some_and(|(_, at, head)| self.is_gone_at(at, head))
    }

    /// Whether this is a pad, or a record that was invalidated or has expired.
    pub(super) fn is_gone_at(&self, at: u64, head: Head) -> bool {
        head.is_pad() || !self.store.visibility(at, head, || self.now_ms()).is_seen(true)
    }

    fn leave_main(&mut self, slot_at: u64, slot: Slot, at: u64, head: Head, budget: &mut Budget, passed: u64) {
        let units = head.units();
        if slot.marks() == 0 || !budget.spend(units) {
            self.unlink(Intent::Evict, slot_at, slot, Slot::EMPTY, head);
            self.count(StripeCount::EvictionsMain);
            self.pass(Ring::Main, slot.position(), passed);
            return;
        }
        let slot = slot.with_marks(slot.marks() - 1);
        if let Some(position) = self.room_at_head(Ring::Main, units) {
            self.relocate(slot_at, slot, at, head, Ring::Main, position);
            self.pass(Ring::Main, slot.position(), passed);
        } else {
            self.relocate_tight(slot_at, slot, at, head, passed);
        }
    }

    /// Unlinks a record that has no successor. Under an intent, it marks the record dead and then changes its slot.
    pub(super) fn unlink(&mut self, intent: Intent, slot_at: u64, old: Slot, new: Slot, head: Head) {
        let live = self.live_with(Some(head.epoch()), None);
        self.begin(intent, slot_at, old, new, live);
        self.kill(old);
        self.relink(slot_at, new);
        self.set_live(live);
        self.end();
    }

    /// Copies a record to `position` at the head of `ring`, links the copy, and marks the original dead.
    fn relocate(&mut self, slot_at: u64, slot: Slot, at: u64, head: Head, ring: Ring, position: u64) {
        let moved = slot.moved(ring, position);
        self.load_record(at, head);
        self.begin(Intent::Move, slot_at, slot, moved, self.live_with(None, None));
        self.write_copy(slot, moved, head);
        self.relink(slot_at, moved);
        self.kill(slot);
        self.end();
    }

    /// Moves the record at the main ring's tail to the ring's head although the gap between them is smaller than the
    /// record. The record goes through private memory; its bucket is odd and its slot empty meanwhile.
    ///
    /// There is always room at the head once the record itself has left. If the tail lies between the head and the end
    /// of the head's lap, the record ends in that lap, too, and its place joins the gap. Otherwise the gap reaches the
    /// end of the lap, and a pad fills that part of it if the record does not fit there.
    fn relocate_tight(&mut self, slot_at: u64, slot: Slot, at: u64, head: Head, passed: u64) {
        let shape = self.shape(Ring::Main);
        let mut position = self.ring_head(Ring::Main);
        if shape.offset(position) + head.units() > shape.units {
            position = self.pad(Ring::Main);
        }
        let moved = slot.moved(Ring::Main, position);
        self.load_record(at, head);
        self.begin(Intent::Move, slot_at, slot, moved, self.live_with(None, None));
        let (version, word) = self.version_and_slot(slot_at);
        open_bucket(version);
        word.set(Step::Slot, Slot::EMPTY.0);
        self.set_tail(Ring::Main, passed);
        self.write_copy(slot, moved, head);
        word.set(Step::Slot, moved.0);
        close_bucket(version);
        self.end();
    }

    /// Writes the record in private memory to the position in `moved`, and moves the head past it.
    fn write_copy(&mut self, slot: Slot, moved: Slot, head: Head) {
        let (ring, position) = (moved.ring(), moved.position());
        let at = self.address(ring, position);
        self.store_record(at, head.seal, self.location(slot), self.location(moved));
        self.set_head(ring, self.shape(ring).advance(position, head.units()));
    }
}

/// Whether this is a pad, or a record with possible lengths.
pub(super) fn is_known(head: Head) -> bool {
    head.is_pad() || (head.is_record() && head.value_len().is_some())
}
