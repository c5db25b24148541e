//! The tap: hashes of keys that reads ask for, on words that belong to the counter line of the reading thread. It is
//! for observers who want to know what a cache of another size would hit, and which keys are read most.
//!
//! The header's `sample_mask` says which reads are sampled: those of keys whose hash has none of its bits. If it is 0,
//! no read is sampled; a read tests it in a cache line that it has loaded anyway. An observer sets the mask, and looks
//! at the hashes before they are overwritten; the hashes that it misses are counted.

use super::table::Store;
use crate::shm::layout::{COUNTERS, OWN_LINES, SEAT_LEN, STATE_SAMPLE_MASK, TAP_HASHES, TAP_LEN, at};
use crate::shm::{Geometry, Memory, Step};

/// Counter lines of a seat: one for each of a few threads, and the shared one.
const LINES: usize = OWN_LINES + 1;

/// Where an observer stands: for each line the number of samples that it has seen, if it has looked there.
#[derive(Default)]
pub(crate) struct TapCursor(Vec<Option<u64>>);

impl Geometry {
    /// Offset of the tap of a counter line; `None` if the file has none.
    fn tap(&self, seat: u32, line: usize) -> Option<u64> {
        let is_there = self.shape.samples != 0 && seat < self.shape.seats && line < LINES;
        is_there.then(|| self.samples_at + (u64::from(seat) * LINES as u64 + line as u64) * TAP_LEN)
    }

    /// The tap of the counter line at an offset.
    fn tap_of_line(&self, line_at: u64) -> Option<u64> {
        let (seat, within) = ((line_at - self.seats_at) / SEAT_LEN, (line_at - self.seats_at) % SEAT_LEN);
        let line = (within - at!(Seat.lines)) / (COUNTERS as u64 * 8);
        self.tap(u32::try_from(seat).ok()?, line as usize)
    }
}

impl<M: Memory> Store<M> {
    /// The bits that the hash of a sampled key does not have; 0 if no key is sampled.
    #[inline(always)]
    pub(crate) fn sample_mask(&self) -> u64 {
        self.mem.state().get(STATE_SAMPLE_MASK)
    }

    pub(crate) fn set_sample_mask(&self, mask: u64) {
        self.mem.word(at!(sample_mask)).set(Step::Header, mask);
    }

    /// Notes a read of a sampled key on the tap of a counter line, which other threads may share.
    pub(crate) fn note_read(&self, line_at: u64, is_shared: bool, hash: u64) {
        let Some(tap_at) = self.geometry.tap_of_line(line_at) else { return };
        let count = self.mem.word(tap_at + at!(Tap.count));
        let before = if is_shared { count.fetch_add(Step::Counter, 1) } else { count.get() };
        let place = before % TAP_HASHES as u64;
        self.mem.word(tap_at + at!(Tap.hashes) + place * 8).set(Step::Counter, hash);
        if !is_shared {
            count.set(Step::Counter, before.wrapping_add(1));
        }
    }

    /// Calls `each` with the hashes that were noted since the observer's last look, line by line. Returns how many were
    /// lost because later ones overwrote them. The first look at a line shows nothing.
    pub(crate) fn drain_tap(&self, cursor: &mut TapCursor, mut each: impl FnMut(u64)) -> u64 {
        let seats = self.mem.word(at!(seats_used)).get().min(self.geometry.shape.seats.into()) as u32;
        cursor.0.resize(seats as usize * LINES, None);
        let lines = (0..seats).flat_map(|seat| (0..LINES).map(move |line| (seat, line)));
        lines
            .zip(&mut cursor.0)
            .filter_map(|((seat, line), seen)| Some(self.drain_line(self.geometry.tap(seat, line)?, seen, &mut each)))
            .sum()
    }

    fn drain_line(&self, tap_at: u64, seen: &mut Option<u64>, each: &mut impl FnMut(u64)) -> u64 {
        let count = self.mem.word(tap_at + at!(Tap.count));
        let now = count.get();
        let Some(before) = seen.replace(now) else { return 0 };
        // A count that fell is damage; nothing is shown until it grows again.
        let new = now.saturating_sub(before);
        let shown = new.min(TAP_HASHES as u64);
        let hashes: [u64; TAP_HASHES] =
            std::array::from_fn(|place| self.mem.word(tap_at + at!(Tap.hashes) + place as u64 * 8).get());
        // Hashes that were noted after the first load of the count have replaced the oldest ones.
        let overwritten = count.get().wrapping_sub(now).min(shown);
        let first = now - shown + overwritten;
        (first..now).for_each(|number| each(hashes[(number % TAP_HASHES as u64) as usize]));
        new - (now - first)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::layout::{Shape, TAP_WORDS};
    use crate::shm::memory::Heap;

    fn store() -> Store<Heap> {
        let geometry = Geometry::new(Shape { seats: 2, samples: TAP_WORDS, ..Shape::SMALL }).unwrap();
        let mem = Heap::of_parts(&[(0, geometry.stripes_at)]);
        mem.word(at!(seats_used)).set(Step::Header, 2);
        Store { mem, geometry, seed: 11 }
    }

    fn drained(store: &Store<Heap>, cursor: &mut TapCursor) -> (Vec<u64>, u64) {
        let mut found = Vec::new();
        let lost = store.drain_tap(cursor, |hash| found.push(hash));
        (found, lost)
    }

    #[test]
    fn an_observer_sees_what_was_noted_since_its_last_look_and_counts_what_it_lost() {
        let (store, mut cursor) = (store(), TapCursor::default());
        let line_at = |seat, line: u64| store.geometry.seat_lines(seat) + line * COUNTERS as u64 * 8;
        store.note_read(line_at(0, 0), false, 5);
        assert_eq!(drained(&store, &mut cursor), (vec![], 0), "noted before the first look");
        store.note_read(line_at(0, 0), false, 6);
        store.note_read(line_at(1, 8), true, 7);
        store.note_read(line_at(0, 0), false, 8);
        assert_eq!(drained(&store, &mut cursor), (vec![6, 8, 7], 0));
        (0..100).for_each(|hash| store.note_read(line_at(1, 0), false, hash));
        assert_eq!(drained(&store, &mut cursor), ((85..100).collect(), 85));
        assert_eq!(drained(&store, &mut cursor), (vec![], 0));
    }

    #[test]
    fn a_damaged_count_shows_nothing_and_overflows_nowhere() {
        let (store, mut cursor) = (store(), TapCursor::default());
        let count = store.mem.word(store.geometry.tap(0, 0).unwrap());
        count.set(Step::Header, u64::MAX);
        drained(&store, &mut cursor);
        store.note_read(store.geometry.seat_lines(0), false, 5);
        assert_eq!(drained(&store, &mut cursor), (vec![], 0), "it fell");
        store.note_read(store.geometry.seat_lines(0), false, 6);
        assert_eq!(drained(&store, &mut cursor), (vec![6], 0));
    }

    #[test]
    fn each_line_has_a_tap_of_its_own_and_a_file_without_notes_nothing() {
        let store = store();
        let lines = (0..2).flat_map(|seat| (0..LINES).map(move |line| (seat, line)));
        let places: Vec<_> = lines
            .map(|(seat, line)| {
                let line_at = store.geometry.seat_lines(seat) + (line * COUNTERS * 8) as u64;
                assert_eq!(store.geometry.tap_of_line(line_at), store.geometry.tap(seat, line));
                store.geometry.tap(seat, line).unwrap()
            })
            .collect();
        assert!(places.windows(2).all(|two| two[1] == two[0] + TAP_LEN));
        assert_eq!((places[0], places[17] + TAP_LEN), (store.geometry.samples_at, store.geometry.namespace_reads_at));
        let geometry = Geometry::new(Shape::SMALL).unwrap();
        assert_eq!(geometry.tap(0, 0), None);
    }
}
