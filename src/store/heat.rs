//! Which items are used most: an order of all slots of a file, for a copy of the items that may have to leave some out.
//!
//! The rings cannot be walked backwards, and not at all without a lock. So the slots are collected from the index and
//! sorted by what they say: the ring, the access marks, and the position in the ring.

use super::slot::{Ring, Slot};
use super::table::Store;
use crate::shm::Memory;
use crate::shm::layout::{SLOTS, at};

/// A slot of a file below its rank, so that ranked slots are sorted by their use, the most used first.
///
/// ```text
/// bits 63..61 class | 60..47 distance from the ring's head | 46..3 bucket, counted over all stripes | 2..0 word of the bucket
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RankedSlot(u64);

const CLASS_AT: u32 = 61;
const DISTANCE_AT: u32 = 47;
/// The distance of the oldest record of a ring.
const MOST_DISTANCE: u64 = (1 << (CLASS_AT - DISTANCE_AT)) - 1;
/// A bucket has a word for its version and seven slots.
const WORD_BITS: u32 = 3;

/// The rank of what a slot says about the use of its record. What was read since it came into its ring is first. An
/// item of the small ring with two marks would move to the main ring.
fn class(slot: Slot) -> u64 {
    match (slot.ring(), slot.marks()) {
        (Ring::Main, 0) => 4,
        (Ring::Main, marks) => 3 - marks,
        (Ring::Small, 0) => 6,
        (Ring::Small, 1) => 5,
        (Ring::Small, _) => 3,
    }
}

impl RankedSlot {
    /// The stripe, the bucket in the stripe, and the word in the bucket.
    pub(crate) fn place(self, buckets: u64) -> (u32, u64, usize) {
        let bucket = (self.0 & ((1 << DISTANCE_AT) - 1)) >> WORD_BITS;
        ((bucket / buckets) as u32, bucket % buckets, (self.0 & ((1 << WORD_BITS) - 1)) as usize)
    }
}

impl<M: Memory> Store<M> {
    /// Appends all live slots of a stripe with their ranks, as they are at one moment or another.
    pub(crate) fn rank_slots(&self, stripe: u32, ranked: &mut Vec<RankedSlot>) {
        let head = |field| self.stripe_word(stripe, field).get();
        let (small, main) = (head(at!(Stripe.small_head)), head(at!(Stripe.main_head)));
        for bucket in 0..self.geometry.buckets {
            let words = self.mem.words::<8>(self.geometry.bucket(stripe, bucket));
            let number = u64::from(stripe) * self.geometry.buckets + bucket;
            for word in 1..=SLOTS {
                let slot = Slot(words.get(word as usize));
                if slot.is_live() {
                    let head = if slot.ring() == Ring::Small { small } else { main };
                    let rank = class(slot) << CLASS_AT | self.distance(slot, head) << DISTANCE_AT;
                    ranked.push(RankedSlot(rank | number << WORD_BITS | word));
                }
            }
        }
    }

    /// How far a record lies behind the head of its ring, as a part of the ring. A record that is newer than the head,
    /// which was loaded before, is at no distance.
    fn distance(&self, slot: Slot, head: u64) -> u64 {
        let shape = self.ring_shape(slot.ring());
        let behind = shape.used(slot.position(), head).unwrap_or(0).min(shape.units);
        (u128::from(behind) * u128::from(MOST_DISTANCE) / u128::from(shape.units.max(1))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Key;

    #[test]
    fn marked_records_of_the_main_ring_are_first_and_the_small_ring_is_last() {
        let slot = |ring, marks| Slot::live(&Key::new(b"key", 1), ring, 5).with_marks(marks);
        let order = [
            (Ring::Main, 3),
            (Ring::Main, 2),
            (Ring::Main, 1),
            (Ring::Small, 3),
            (Ring::Main, 0),
            (Ring::Small, 1),
            (Ring::Small, 0),
        ];
        assert_eq!(order.map(|(ring, marks)| class(slot(ring, marks))), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(class(slot(Ring::Small, 2)), 3);
    }

    #[test]
    fn a_ranked_slot_keeps_its_place() {
        let buckets = u64::from(u32::MAX);
        let bucket = 4095 * buckets + (buckets - 1);
        let ranked = RankedSlot(6 << CLASS_AT | MOST_DISTANCE << DISTANCE_AT | bucket << WORD_BITS | 7);
        assert_eq!(ranked.place(buckets), (4095, buckets - 1, 7));
    }
}
