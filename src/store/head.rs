//! Reads from a stripe's head, for statistics: how full the rings are, the operation in flight and the last repair.

use super::intent::Intent;
use super::slot::Ring;
use super::table::Store;
use crate::shm::Memory;
use crate::shm::layout::at;

/// The last repair of a stripe.
pub(crate) struct LastRepair {
    pub by_seat: u32,
    pub by_pid: u32,
    /// Name of the operation that the repair found unfinished.
    pub intent: String,
}

impl<M: Memory> Store<M> {
    /// Bytes between tail and head of a ring.
    pub(crate) fn ring_used(&self, stripe: u32, ring: Ring) -> u64 {
        let (tail, head) = match ring {
            Ring::Small => (at!(Stripe.small_tail), at!(Stripe.small_head)),
            Ring::Main => (at!(Stripe.main_tail), at!(Stripe.main_head)),
        };
        let word = |field| self.stripe_word(stripe, field).get();
        // The head may move between the two loads, so the result may be off by a record.
        self.ring_shape(ring).used(word(tail), word(head)).unwrap_or(0) * 8
    }

    /// Bytes that were written to a ring since its positions began at 0, pads included.
    pub(crate) fn ring_bytes_in(&self, stripe: u32, ring: Ring) -> u64 {
        let head = match ring {
            Ring::Small => at!(Stripe.small_head),
            Ring::Main => at!(Stripe.main_head),
        };
        let (head, shape) = (self.stripe_word(stripe, head).get(), self.ring_shape(ring));
        // A damaged file can contain any numbers.
        (head >> shape.bits).wrapping_mul(shape.units).wrapping_add(shape.offset(head)).wrapping_mul(8)
    }

    /// Name of the operation in flight, if any.
    pub(crate) fn intent_name(&self, stripe: u32) -> Option<String> {
        let intent = self.stripe_word(stripe, at!(Stripe.intent)).get();
        Intent::is_in_flight(intent).then(|| name_of(intent))
    }

    /// The last repair, if the stripe was ever repaired.
    pub(crate) fn last_repair(&self, stripe: u32) -> Option<LastRepair> {
        let word = |field| self.stripe_word(stripe, field).get();
        let repaired = word(at!(Stripe.repaired_intent));
        (repaired != 0).then(|| LastRepair {
            by_seat: word(at!(Stripe.repaired_by_seat)) as u32,
            by_pid: word(at!(Stripe.repaired_by_pid)) as u32,
            intent: name_of(repaired),
        })
    }
}

fn name_of(intent: u64) -> String {
    Intent::of(intent).map_or_else(|| format!("unknown ({})", intent & Intent::KIND), |known| known.name().to_owned())
}
