//! The intent: one operation in flight per stripe, written down before it is begun.
//!
//! Whoever locks a stripe and finds an intent knows that its holder died in the middle. A repair touches only
//! what the intent names. *It completes what readers may have seen and undoes the rest*:
//!
//! | intent | the record that is to be | the repair |
//! |---|---|---|
//! | set, move | between tail and head, and sound | links it, marks the one before dead |
//! | set, move | not yet | leaves the one before, if it is sound |
//! | delete, evict, expire | none | marks the record dead, stores the new slot |
//! | in place | half written, if its bucket is odd | empties the slot, marks the record dead |
//! | empty | none | empties the stripe again |
//!
//! A record lies between tail and head only after all its bytes were stored; a slot is stored only after that.
//! So a `set` that a reader may have seen is always completed. A repair that is itself killed is begun again by
//! the next holder, since each of its steps may be done twice; the third attempt in a row empties the stripe.

/// What is in flight. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Intent {
    Set = 1,
    Move = 2,
    Delete = 3,
    Evict = 4,
    Expire = 5,
    InPlace = 6,
    Empty = 7,
}

impl Intent {
    pub(crate) fn of(word: u64) -> Option<Self> {
        use Intent::{Delete, Empty, Evict, Expire, InPlace, Move, Set};
        [Set, Move, Delete, Evict, Expire, InPlace, Empty].into_iter().find(|&intent| intent as u64 == word & 0xff)
    }

    /// As `stat` spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Intent::Set => "set",
            Intent::Move => "move",
            Intent::Delete => "delete",
            Intent::Evict => "evict",
            Intent::Expire => "expire",
            Intent::InPlace => "in place",
            Intent::Empty => "empty",
        }
    }
}
