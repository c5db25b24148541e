//! The two ends of a stripe's rings, while its lock is held.
//!
//! Only the holder of the lock moves them. So it loads them once, checks them once, and computes with its private
//! copies from then on: whatever happens to the words in the file meanwhile, no walk leads beyond its ring and none is
//! without an end. Each step of an end is stored to the file as well, for readers, repairs and the next holder.

use super::slot::Ring;
use crate::shm::layout::at;
use std::cell::Cell;

/// Private copies of each ring's tail and head.
pub(super) struct Ends {
    small: [Cell<u64>; 2],
    main: [Cell<u64>; 2],
}

impl Ends {
    /// Ends from the words of a stripe's head, whatever these say.
    #[inline(always)]
    pub(super) fn load(word: impl Fn(u64) -> u64) -> Self {
        Self {
            small: [Cell::new(word(at!(Stripe.small_tail))), Cell::new(word(at!(Stripe.small_head)))],
            main: [Cell::new(word(at!(Stripe.main_tail))), Cell::new(word(at!(Stripe.main_head)))],
        }
    }

    #[inline(always)]
    pub(super) fn tail(&self, ring: Ring) -> &Cell<u64> {
        &self.of(ring)[0]
    }

    #[inline(always)]
    pub(super) fn head(&self, ring: Ring) -> &Cell<u64> {
        &self.of(ring)[1]
    }

    #[inline(always)]
    fn of(&self, ring: Ring) -> &[Cell<u64>; 2] {
        match ring {
            Ring::Small => &self.small,
            Ring::Main => &self.main,
        }
    }
}
