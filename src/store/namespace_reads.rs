//! Counts the reads of each namespace, on words of the member's own seat. About one read in sixteen is counted, as
//! sixteen reads. So most reads through a namespace pay only for a test, and reads without a namespace pay nothing.

use super::counters::MemberCount;
use super::table::Store;
use crate::shm::layout::{COUNTERS, NAMESPACE_READS_LEN, Shape, at};
use crate::shm::{Geometry, Memory, Step};

/// Each counted read stands for this many.
const SAMPLED: u64 = 16;
/// An odd number whose multiples are spread evenly over all 64-bit numbers, even if only every second, third or tenth
/// of them is taken. So a program that reads its namespaces in turn cannot keep one of them from being counted.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether a hit or a miss is counted for its namespace, by its number among the hits or misses of its line.
#[inline(always)]
fn is_sampled(reads: u64) -> bool {
    reads.wrapping_mul(SPREAD) >> (u64::BITS - SAMPLED.ilog2()) == 0
}

/// Hits and misses.
pub(crate) type ReadCounts = (u64, u64);

impl Geometry {
    /// Offset of the counts of a member's reads of a namespace, which are numbered from 1; `None` if the file does not
    /// count them.
    #[inline]
    fn namespace_reads(&self, seat: u32, namespace: u16) -> Option<u64> {
        let Shape { namespaces, namespace_reads, seats, .. } = self.shape;
        let number = u32::from(namespace).wrapping_sub(1);
        (namespace_reads == 1 && number < namespaces && seat < seats).then(|| {
            let before = u64::from(seat) * u64::from(namespaces) + u64::from(number);
            self.namespace_reads_at + before * NAMESPACE_READS_LEN
        })
    }
}

impl<M: Memory> Store<M> {
    /// Counts a read on a line that only this thread writes. Returns whether it is to be counted for its namespace,
    /// too.
    #[inline(always)]
    pub(crate) fn count_and_sample(&self, line_at: u64, what: MemberCount) -> bool {
        let word = self.mem.words::<COUNTERS>(line_at).at(what as usize);
        let count = word.get().wrapping_add(1);
        word.set(Step::Counter, count);
        is_sampled(count)
    }

    /// [`count_and_sample`](Self::count_and_sample) on a line that threads share.
    pub(crate) fn count_and_sample_shared(&self, line_at: u64, what: MemberCount) -> bool {
        is_sampled(self.mem.words::<COUNTERS>(line_at).at(what as usize).fetch_add(Step::Counter, 1))
    }

    /// Counts a sampled read of a namespace. Threads of one member share the word.
    pub(crate) fn count_namespace(&self, seat: u32, namespace: u16, is_hit: bool) {
        let Some(counts_at) = self.geometry.namespace_reads(seat, namespace) else { return };
        let field = if is_hit { at!(NamespaceReads.hits) } else { at!(NamespaceReads.misses) };
        self.mem.word(counts_at + field).fetch_add(Step::Counter, SAMPLED);
    }

    /// Resets the counts of an entry that gets a new name.
    pub(super) fn forget_reads(&self, namespace: u16) {
        for counts_at in (0..self.geometry.shape.seats).map_while(|seat| self.geometry.namespace_reads(seat, namespace))
        {
            for field in [at!(NamespaceReads.hits), at!(NamespaceReads.misses)] {
                let word = self.mem.word(counts_at + field);
                if word.get() != 0 {
                    word.set(Step::Counter, 0);
                }
            }
        }
    }

    /// The reads of a namespace over all present and past members; `None` if the file does not count them.
    pub(crate) fn namespace_counts(&self, namespace: u16) -> Option<ReadCounts> {
        self.geometry.namespace_reads(0, namespace)?;
        let seats = self.mem.word(at!(seats_used)).get().min(self.geometry.shape.seats.into()) as u32;
        let of_seat = |seat| {
            let counts_at = self.geometry.namespace_reads(seat, namespace)?;
            let word = |field| self.mem.word(counts_at + field).get();
            Some((word(at!(NamespaceReads.hits)), word(at!(NamespaceReads.misses))))
        };
        // A damaged file can contain any numbers, so the sums wrap.
        Some(
            (0..seats)
                .filter_map(of_seat)
                .fold((0, 0), |sum: ReadCounts, counts| (sum.0.wrapping_add(counts.0), sum.1.wrapping_add(counts.1))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_sixteen_is_sampled_whatever_the_rhythm() {
        for step in [1, 2, 3, 4, 8, 10, 16, 17, 64, 100, 1024] {
            for first in [0, 1, 5, 1 << 40] {
                let sampled = (0..16_000).filter(|i| is_sampled(first + i * step)).count();
                assert!((900..=1100).contains(&sampled), "{sampled} of 16000 with every {step} from {first}");
            }
        }
    }

    #[test]
    fn each_seat_and_namespace_has_words_of_its_own_within_the_area() {
        let shape = Shape { seats: 3, namespaces: 5, namespace_reads: 1, ..Shape::SMALL };
        let geometry = Geometry::new(shape).unwrap();
        let places = (0..3).flat_map(|seat| (1..=5).map(move |namespace| (seat, namespace)));
        let found: Vec<_> =
            places.map(|(seat, namespace)| geometry.namespace_reads(seat, namespace).unwrap()).collect();
        let expected: Vec<_> = (0..15).map(|i| geometry.namespace_reads_at + i * NAMESPACE_READS_LEN).collect();
        assert_eq!(found, expected);
        assert!(found[14] + NAMESPACE_READS_LEN <= geometry.stripes_at);
        for (seat, namespace) in [(3, 1), (0, 0), (0, 6), (u32::MAX, u16::MAX)] {
            assert_eq!(geometry.namespace_reads(seat, namespace), None, "there is no such seat or namespace");
        }
        let without = Geometry::new(Shape { namespace_reads: 0, ..shape }).unwrap();
        assert_eq!(without.namespace_reads(0, 1), None);
    }
}
