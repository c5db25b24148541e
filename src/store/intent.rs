//! The intent: the operation in flight in a stripe, recorded before it starts.
//!
//! A process that locks a stripe and finds an intent knows that the previous holder died in the middle of that
//! operation. A repair touches only what the intent names. *It completes what readers may have seen and undoes the
//! rest*:
//!
//! | intent | the new record | the repair |
//! |---|---|---|
//! | set, move | between tail and head, and sound | links it, marks the old one dead |
//! | set, move | not yet there | keeps the old one, if it is sound |
//! | delete, evict, expire | none | marks the record dead, stores the new slot |
//! | in place | half written, if its bucket is odd | empties the slot, marks the record dead |
//! | empty | none | empties the stripe again |
//!
//! A record lies between tail and head only after all its bytes are stored, and its slot is stored only after that. So
//! a repair always completes a `set` that a reader may have seen. If a repair is itself killed, the next holder starts
//! it again, because every step can be repeated safely; the third attempt in a row empties the stripe.

/// The kind of operation in flight. The values are part of the format.
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
    /// The bits of an intent word that name the operation; the others count intents.
    pub(super) const KIND: u64 = 0xff;

    /// Whether an intent word names an operation, known or not.
    pub(crate) fn is_in_flight(word: u64) -> bool {
        word & Self::KIND != 0
    }

    pub(crate) fn of(word: u64) -> Option<Self> {
        use Intent::{Delete, Empty, Evict, Expire, InPlace, Move, Set};
        [Set, Move, Delete, Evict, Expire, InPlace, Empty]
            .into_iter()
            .find(|&intent| intent as u64 == word & Self::KIND)
    }

    /// The name that `stat` prints.
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
