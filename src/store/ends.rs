//! Tail and head of a stripe's rings, while its lock is held.
//!
//! Only the holder of the lock moves them. So it loads them once, checks them once, and then computes with private
//! copies: even if damage changes the words in the file meanwhile, every walk ends and stays within its ring. The
//! holder also stores each move to the file, for readers, repairs and the next holder.

use super::slot::Ring;
use crate::shm::layout::at;
use std::cell::Cell;

/// Private copies of each ring's tail and head.
pub(super) struct Ends {
    small: [Cell<u64>; 2],
    main: [Cell<u64>; 2],
}

impl Ends {
    /// Loads the ends from the words of a stripe's head, without a check.
    #[inline(always)]
    pub(super) fn load(word: impl Fn(u64) -> u64) -> Self {
        Self {
            small: [Cell::new(word(at!(Stripe.small_tail))), Cell::new(word(at!(Stripe.small_head)))],
            main: [Cell::new(word(at!(Stripe.main_tail))), Cell::new(word(at!(Stripe.main_head)))],
        }
    }

    /// Tail and head of the small ring, and of the main ring.
    #[inline(always)]
    pub(super) fn positions(&self) -> ([u64; 2], [u64; 2]) {
        let of = |[tail, head]: &[Cell<u64>; 2]| [tail.get(), head.get()];
        (of(&self.small), of(&self.main))
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
