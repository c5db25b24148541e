//! Resets a stripe after the host was restarted, or in a copy of a file.

use super::epochs::CrashState;
use super::header::HeaderWords;
use super::record::mix;
use crate::shm::layout::{NAMESPACE_LEN, NAMESPACE_WORDS, at};
use crate::shm::{Geometry, Memory, Step};

impl<M: Memory> HeaderWords<'_, M> {
    /// Releases a stripe's lock and ends its claims, whose owners are all dead. Returns whether the stripe is flagged
    /// *verify-me*.
    pub(crate) fn reset_stripe(self, geometry: &Geometry, stripe: u32, distrust: CrashState, random: u64) -> bool {
        let stripe_at = geometry.stripe(stripe);
        let zero = |at| self.0.word(at).set(Step::Header, 0);
        zero(stripe_at + at!(Stripe.lock_word));
        zero(stripe_at + at!(Stripe.sleep_word));
        self.end_all_claims(geometry, stripe);
        let stamp = self.0.word(stripe_at + at!(Stripe.stamp));
        let distrust = match after_jump(stamp.get(), mix(random ^ u64::from(stripe))) {
            // Emptying the stripe will choose a new base for its stamps.
            _ if distrust == CrashState::Discard => distrust,
            None => CrashState::Discard,
            Some(jumped) => {
                stamp.set(Step::Stamp, jumped);
                distrust
            }
        };
        let verify_me = self.0.word(stripe_at + at!(Stripe.verify_me));
        if distrust != CrashState::None {
            verify_me.set(Step::VerifyMe, distrust as u64);
        }
        verify_me.get() != 0
    }

    /// Clears the words of callers in all namespaces: they may tell of the time before the restart of the host.
    pub(crate) fn reset_callers_words(self, geometry: &Geometry) {
        for namespace in 0..u64::from(geometry.shape.namespaces) {
            let words_at = geometry.namespaces_at + namespace * NAMESPACE_LEN + at!(Namespace.words);
            (0..NAMESPACE_WORDS as u64).for_each(|index| self.0.word(words_at + index * 8).set(Step::Namespace, 0));
        }
    }

    /// Ends all claims of a stripe, whose owners are all dead.
    pub(crate) fn end_all_claims(self, geometry: &Geometry, stripe: u32) {
        for claim in 0..geometry.shape.claims {
            self.0.word(geometry.claim(stripe, claim) + at!(Claim.number)).set(Step::Header, 0);
        }
        self.0.word(geometry.stripe(stripe) + at!(Stripe.claims_used)).set(Step::Header, 0);
    }
}

/// The shortest jump of a stamp counter; the longest is twice as long. No copy of a file assigns that many stamps
/// between two resets, and two copies hardly ever jump equally far.
const JUMP: u64 = 1 << 47;

/// A stamp counter after a jump: above the stamps of all records, whose order is kept. `None` if the stamps have run
/// out, after tens of thousands of jumps; the stripe must then be emptied.
fn after_jump(stamp: u64, random: u64) -> Option<u64> {
    stamp.checked_add(JUMP + random % JUMP).filter(|&jumped| jumped < u64::MAX - JUMP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_of_stamps_jumps_up_and_never_wraps() {
        for random in [0, 1, JUMP - 1, u64::MAX] {
            let jumped = after_jump(5, random).unwrap();
            assert!((5 + JUMP..5 + 2 * JUMP).contains(&jumped), "{jumped}");
            for stamp in [u64::MAX, u64::MAX - 1, u64::MAX - JUMP, u64::MAX - 2 * JUMP] {
                assert_eq!(after_jump(stamp, random), None);
            }
        }
        assert_ne!(after_jump(5, 1), after_jump(5, 2));
    }
}
