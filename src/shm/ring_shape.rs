//! The size of a ring, and how its positions are divided.

/// The size of a ring, and how its positions are divided into lap and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingShape {
    /// Length in units of eight bytes.
    pub units: u64,
    /// Bits of a position that hold the offset; the bits above hold the lap.
    pub bits: u32,
    /// A mask of the offset bits.
    pub mask: u64,
}

impl RingShape {
    pub(crate) const fn of(bytes: u64) -> Self {
        let units = bytes / 8;
        let bits = 64 - (units - 1).leading_zeros();
        Self { units, bits, mask: (1 << bits) - 1 }
    }

    /// Length in bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.units * 8
    }
}
