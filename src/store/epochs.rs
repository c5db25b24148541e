//! Epochs, which an invalidation raises so that older values are gone or stale; and the trust in a stripe's bytes.

use super::record::{EPOCH_BITS, EPOCH_MASK};
use crate::names::names;

/// Hard and soft epoch, packed into one word so that one load reads both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// These epochs, each lowered to the same epoch of `now` if it is higher.
    pub(crate) fn at_most(self, now: Self) -> Self {
        Self(self.soft().min(now.soft()) << EPOCH_BITS | self.hard().min(now.hard()))
    }

    /// The epoch that a record written now carries.
    pub(crate) fn current(self) -> u64 {
        self.hard().max(self.soft())
    }

    /// The epochs after an invalidation, or `None` if no epoch is left: epochs never wrap.
    pub(crate) fn after(self, how: Invalidation) -> Option<Self> {
        let next = self.current() + 1;
        let raised = match how {
            Invalidation::Hard => self.soft() << EPOCH_BITS | next,
            Invalidation::Soft => next << EPOCH_BITS | self.hard(),
        };
        (next <= EPOCH_MASK).then_some(Self(raised))
    }
}

const EPOCHS: u64 = (1 << 48) - 1;

/// A namespace with its epochs at one moment, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct NamespaceEpochs(pub u64);

impl NamespaceEpochs {
    pub(crate) fn new(namespace: u16, epochs: Epochs) -> Self {
        Self(u64::from(namespace) << 48 | epochs.0 & EPOCHS)
    }

    pub(crate) fn namespace(self) -> u16 {
        (self.0 >> 48) as u16
    }

    pub(crate) fn epochs(self) -> Epochs {
        Epochs(self.0 & EPOCHS)
    }
}

/// Bits of a namespace's number.
const NUMBER_BITS: u32 = 16;
/// The last generation. An entry that has it can lose its name once more, but is then never used again.
pub(super) const LAST_GENERATION: u64 = (1 << 24) - 1;

/// The number of a namespace with the generation of its entry, in 40 bits; 0 for no namespace. An id names one
/// namespace until that namespace is removed, and names nothing afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct NamespaceId(u64);

impl NamespaceId {
    /// No namespace.
    pub(crate) const NONE: Self = Self(0);
    /// How many bits an id has.
    pub(crate) const BITS: u32 = NUMBER_BITS + LAST_GENERATION.count_ones();

    pub(super) fn new(number: u16, generation: u64) -> Self {
        Self(generation << NUMBER_BITS | u64::from(number))
    }

    #[inline]
    pub(crate) const fn of_bits(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn number(self) -> u16 {
        self.0 as u16
    }

    #[inline]
    pub(super) fn generation(self) -> u64 {
        self.0 >> NUMBER_BITS
    }
}

/// What an invalidation does to the values that were created before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalidation {
    /// Removes them. Its name is `hard`.
    Hard,
    /// Makes them stale: `get` still returns them. One caller of `get_or_create` creates the value again, and callers
    /// that would have to wait get the stale one. Its name is `soft`.
    Soft,
}

names!(Invalidation, "invalidation", "hard or soft", Hard = "hard", Soft = "soft");

/// A stripe's verify-me flag: how far its bytes are trusted after an operating-system crash. The values are part of the
/// format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum CrashState {
    None = 0,
    /// Reads verify checksums, and the next process that locks the stripe rebuilds its index.
    Verify = 1,
    /// Reads miss, and the next process that locks the stripe empties it.
    Discard = 2,
}
