//! Epochs: what invalidations raise, so that values from before them are gone or stale; and how far a stripe is trusted.

use super::record::{EPOCH_BITS, EPOCH_MASK};
use crate::names::names;

/// Hard and soft epoch, packed into one word so that both are read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epochs(pub u64);

impl Epochs {
    /// Records of a lower epoch are gone.
    pub(crate) fn hard(self) -> u64 {
        self.0 & EPOCH_MASK
    }

    /// Records of a lower epoch are stale.
    pub(crate) fn soft(self) -> u64 {
        self.0 >> EPOCH_BITS & EPOCH_MASK
    }

    /// The epoch that a record written now carries.
    pub(crate) fn current(self) -> u64 {
        self.hard().max(self.soft())
    }

    /// After an invalidation; `None` when the epochs are used up, since they never wrap.
    pub(crate) fn after(self, how: Invalidation) -> Option<Self> {
        let next = self.current() + 1;
        let raised = match how {
            Invalidation::Hard => self.soft() << EPOCH_BITS | next,
            Invalidation::Soft => next << EPOCH_BITS | self.hard(),
        };
        (next <= EPOCH_MASK).then_some(Self(raised))
    }
}

/// What an invalidation does to the values that were created before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalidation {
    /// They are gone. Its name is `hard`.
    Hard,
    /// They are stale: `get` still returns them, `get_or_create` creates them anew and returns them to those who would
    /// have to wait. Its name is `soft`.
    Soft,
}

names!(Invalidation, "invalidation", "hard or soft", Hard = "hard", Soft = "soft");

/// A stripe's verify-me flag: what an operating-system crash left of it. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Distrust {
    None = 0,
    /// Reads check checksums, and the next to lock the stripe builds its index anew.
    Verify = 1,
    /// Reads miss, and the next to lock the stripe empties it.
    Discard = 2,
}
