//! Positions of a ring log: the lap in the upper bits, an offset in units of eight bytes in the lower ones.
//!
//! Positions only grow. A mask gives the offset, so neither reads nor reservations divide; the lap tells an old
//! position from a new one at the same place.

use super::slot::POSITION_BITS;
use crate::shm::layout::RingShape;

impl RingShape {
    /// Offset of a position within the ring, in units.
    #[inline]
    pub(crate) fn offset(self, position: u64) -> u64 {
        position & self.mask
    }

    /// The first position of a lap.
    pub(crate) fn lap_start(self, lap: u64) -> u64 {
        lap << self.bits
    }

    /// The position `units` further on; the end of the ring is the start of the next lap.
    pub(crate) fn advance(self, position: u64, units: u64) -> u64 {
        let offset = self.offset(position) + units;
        if offset < self.units {
            position + units
        } else {
            self.lap_start((position >> self.bits) + 1) + (offset - self.units)
        }
    }

    /// Whether `tail` and `head` can belong to one ring: at most a lap apart, neither beyond the ring's end.
    #[inline(always)]
    pub(crate) fn can_have(self, tail: u64, head: u64) -> bool {
        tail <= head
            && head - tail <= self.mask + 1
            && self.offset(tail) < self.units
            && self.offset(head) < self.units
            && head >> POSITION_BITS == 0
    }

    /// Units from `tail` to `head`, or `None` if they cannot belong to one ring.
    pub(crate) fn used(self, tail: u64, head: u64) -> Option<u64> {
        let laps = (head >> self.bits).wrapping_sub(tail >> self.bits);
        // Numbers between the ring's end and the next lap are not positions.
        let none = self.mask + 1 - self.units;
        self.can_have(tail, head).then(|| head - tail - laps * none)
    }

    /// Whether a record at `position` lies between tail and head.
    pub(crate) fn holds(self, tail: u64, head: u64, position: u64) -> bool {
        position >= tail && position < head && self.offset(position) < self.units
    }

    /// Whether a walk can step over a record of `units` at `position`, with `left` units before the head: a record lies
    /// in one piece.
    pub(crate) fn can_step(self, position: u64, units: u64, left: u64) -> bool {
        units != 0 && units <= left && self.offset(position) + units <= self.units
    }

    /// A stripe is emptied from this position on, so that its positions start again. One hold of the lock cannot get
    /// from here to the last position. It writes at most 64 records, and each takes less than a lap: at most a quarter
    /// of the ring for itself, as much again for records that are moved to make room, and less than a quarter that is
    /// lost at the end of a lap.
    pub(crate) fn limit(self) -> u64 {
        (1 << POSITION_BITS) - (64 << self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: RingShape = RingShape::of(80);

    #[test]
    fn positions_advance_over_the_end_of_a_ring_that_is_no_power_of_two() {
        assert_eq!(RING.advance(0, 9), 9);
        assert_eq!(RING.advance(0, 10), 16);
        assert_eq!(RING.advance(16 + 8, 5), 32 + 3);
    }

    #[test]
    fn a_walk_steps_neither_over_nothing_nor_over_the_head_nor_over_the_end() {
        assert!(RING.can_step(4, 6, 6));
        assert!(!RING.can_step(4, 0, 6), "an endless walk");
        assert!(!RING.can_step(4, 6, 5), "over the head");
        assert!(!RING.can_step(5, 6, 6), "over the end");
    }

    #[test]
    fn used_counts_units_and_refuses_the_impossible() {
        assert_eq!(RING.used(0, 0), Some(0));
        assert_eq!(RING.used(3, 16 + 3), Some(10));
        assert_eq!(RING.used(8, 16 + 2), Some(4));
        assert_eq!(RING.used(3, 16 + 4), None, "more than the ring holds");
        assert_eq!(RING.used(4, 3), None, "head before tail");
        // Found by fuzzing `open`: the distance wrapped, and looked like a few units.
        assert_eq!(RING.used(u64::MAX - 7, 0), None, "head before tail, by the largest distance there is");
        assert_eq!(RING.used(12, 16), None, "an offset beyond the end");
        assert_eq!(RING.used(0, 1 << 48), None, "a position beyond the last");
    }
}
