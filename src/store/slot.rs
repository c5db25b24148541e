//! The slot: eight bytes of the index that say where a key's record lies.
//!
//! ```text
//! bits 63..52 short hash | 51 live | 50 main (live) or ghost (not live) | 49..48 access marks | 47..0 log position
//! ```
//!
//! | live | bit 50 | the slot is |
//! |---|---|---|
//! | 0 | 0 | empty: all its bits are zero |
//! | 0 | 1 | a ghost: a key that was evicted from the small ring, at the position it had there |
//! | 1 | 0 | a record in the small ring |
//! | 1 | 1 | a record in the main ring |
//!
//! Positions only grow (the lap of the ring in the upper bits, an offset in the lower ones), so a slot that has not
//! changed still means the same record.

use crate::hash::{Key, SHORT_HASH_BITS};
use crate::names::names;

const POSITION: u64 = (1 << POSITION_BITS) - 1;
pub(crate) const POSITION_BITS: u32 = 48;
const MARK: u64 = 1 << 48;
const MARKS: u64 = 3 << 48;
const MAIN_OR_GHOST: u64 = 1 << 50;
const LIVE: u64 = 1 << 51;
const SHORT_HASH_SHIFT: u32 = 64 - SHORT_HASH_BITS;

/// The ring in which an item's record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ring {
    /// The ring of new items, a tenth of the capacity. An item that is read less than twice while it is here is
    /// evicted, unless the main ring has a free gap for it.
    Small,
    /// The ring of items that moved on from the ring of new items, that were stored again soon after their eviction
    /// from it, or that are too large for it.
    Main,
}

names!(Ring, "ring", "small or main", Small = "small", Main = "main");

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub u64);

impl Slot {
    pub(crate) const EMPTY: Slot = Slot(0);

    pub(crate) fn live(key: &Key<'_>, ring: Ring, position: u64) -> Self {
        let main = if ring == Ring::Main { MAIN_OR_GHOST } else { 0 };
        Self(key.short_hash() << SHORT_HASH_SHIFT | LIVE | main | (position & POSITION))
    }

    /// The top bits of a live slot of this key: see [`Slot::is_live_of`].
    #[inline]
    pub(crate) fn live_pattern(key: &Key<'_>) -> u64 {
        key.short_hash() << 1 | 1
    }

    /// The top bits of a ghost of this key; an empty slot may have the same bits.
    pub(crate) fn ghost_pattern(key: &Key<'_>) -> u64 {
        key.short_hash() << 1
    }

    #[inline]
    pub(crate) fn is_live_of(self, pattern: u64) -> bool {
        self.0 >> 51 == pattern
    }

    pub(crate) fn is_live(self) -> bool {
        self.0 & LIVE != 0
    }

    pub(crate) fn is_ghost(self) -> bool {
        self.0 & (LIVE | MAIN_OR_GHOST) == MAIN_OR_GHOST
    }

    pub(crate) fn is_ghost_of(self, key: &Key<'_>) -> bool {
        self.is_ghost() && self.0 >> SHORT_HASH_SHIFT == key.short_hash()
    }

    /// Whether the slot is neither live nor a ghost. Any bit set in such a slot is damage.
    pub(crate) fn is_empty(self) -> bool {
        self.0 & (LIVE | MAIN_OR_GHOST) == 0
    }

    #[inline]
    pub(crate) fn ring(self) -> Ring {
        if self.0 & MAIN_OR_GHOST == 0 { Ring::Small } else { Ring::Main }
    }

    /// All ones for the main ring, zero for the small one: a mask that selects one of them without a branch.
    #[inline(always)]
    pub(crate) fn main_mask(self) -> u64 {
        ((self.0 << MAIN_OR_GHOST.leading_zeros()) as i64 >> 63) as u64
    }

    #[inline]
    pub(crate) fn position(self) -> u64 {
        self.0 & POSITION
    }

    pub(crate) fn short_hash(self) -> u64 {
        self.0 >> SHORT_HASH_SHIFT
    }

    pub(crate) fn marks(self) -> u64 {
        (self.0 & MARKS) >> 48
    }

    /// The slot with one more access mark, unless it has three already.
    #[inline]
    pub(crate) fn marked(self) -> Option<Self> {
        (self.0 & MARKS != MARKS).then(|| Self(self.0 + MARK))
    }

    pub(crate) fn with_marks(self, marks: u64) -> Self {
        Self(self.0 & !MARKS | marks << 48)
    }

    /// The order in which slots are taken for new keys: empty ones; ghosts, the oldest first; records, the least marked
    /// first. Among equally marked records, those in the small ring are first, then the oldest.
    #[inline]
    pub(crate) fn cost(self) -> u64 {
        let main = u64::from(self.ring() == Ring::Main);
        match (self.is_empty(), self.is_live()) {
            (true, _) => 0,
            (_, false) => 1 << 52 | self.position(),
            _ => 1 << 53 | self.marks() << 49 | main << 48 | self.position(),
        }
    }

    /// Whether both slots mean the same record, regardless of their marks.
    #[inline]
    pub(crate) fn same(self, other: Self) -> bool {
        (self.0 ^ other.0) & !MARKS == 0
    }

    /// The ghost of a record that left the small ring.
    pub(crate) fn ghost(self) -> Self {
        Self(self.0 & !(LIVE | MARKS) | MAIN_OR_GHOST)
    }

    /// A live slot of a record whose key is not known yet.
    pub(crate) fn as_live(self, ring: Ring, position: u64) -> Self {
        Self(self.0 | LIVE).moved(ring, position)
    }

    /// The slot of the same key after its record has moved.
    pub(crate) fn moved(self, ring: Ring, position: u64) -> Self {
        let main = if ring == Ring::Main { MAIN_OR_GHOST } else { 0 };
        Self(self.0 & !(POSITION | MAIN_OR_GHOST) | main | (position & POSITION))
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match (self.is_live(), self.is_ghost(), self.ring()) {
            (true, _, Ring::Small) => "small",
            (true, _, Ring::Main) => "main",
            (_, true, _) => "ghost",
            _ => "empty",
        };
        write!(
            f,
            "{what}(short hash {:#x}, marks {}, position {:#x})",
            self.short_hash(),
            self.marks(),
            self.position()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_what_it_was_given() {
        let key = Key::new(b"a key", 3);
        let slot = Slot::live(&key, Ring::Small, 0x1234_5678_9abc);
        assert!(slot.is_live() && slot.is_live_of(Slot::live_pattern(&key)) && !slot.is_ghost());
        assert_eq!((slot.ring(), slot.position(), slot.marks()), (Ring::Small, 0x1234_5678_9abc, 0));
        let marked = slot.marked().unwrap().marked().unwrap().marked().unwrap();
        assert_eq!((marked.marks(), marked.marked()), (3, None));
        assert!(marked.same(slot) && marked != slot);
        let moved = marked.with_marks(1).moved(Ring::Main, 5);
        assert_eq!(
            (moved.ring(), moved.position(), moved.marks(), moved.short_hash()),
            (Ring::Main, 5, 1, key.short_hash())
        );
        let ghost = slot.ghost();
        assert!(ghost.is_ghost_of(&key) && !ghost.is_live() && ghost.position() == slot.position());
        assert!(Slot::EMPTY.is_empty() && !ghost.is_empty() && !slot.is_empty());
    }
}
