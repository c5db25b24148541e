//! Which items are used most: an order of all slots of a file, for a copy to a place that may lack room for some items.
//!
//! A ring cannot be walked backwards, and without a lock it cannot be walked at all. So the slots are collected from
//! the index, and sorted by what each says about its record: the ring, the access marks, and the position in the ring.

use super::slot::{Ring, Slot};
use super::table::Store;
use crate::shm::Memory;
use crate::shm::layout::{SLOTS, at};

/// The rank of a slot in the upper bits, and the place of the slot in the lower ones. Sorted in ascending order, ranked
/// slots begin with the most used.
///
/// ```text
/// bits 63..61 class | 60..47 distance from the ring's head | 46..3 bucket, over all stripes | 2..0 word of the bucket
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RankedSlot(u64);

const CLASS_AT: u32 = 61;
const DISTANCE_AT: u32 = 47;
/// The distance of the oldest record of a ring.
const MOST_DISTANCE: u64 = (1 << (CLASS_AT - DISTANCE_AT)) - 1;
/// A bucket has a word for its version and seven slots.
const WORD_BITS: u32 = 3;

/// The class of a slot, which is the lower the more its record was used. Records of the main ring that were read since
/// they entered it come first. A record of the small ring with two marks comes next, since it would move to the main
/// ring.
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
    /// Appends all live slots of a stripe with their ranks. The slots are loaded one after the other, without a lock.
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

    /// The distance of a record from the head of its ring, as a fraction of the ring. It is 0 for a record that was
    /// written after the head was loaded.
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
