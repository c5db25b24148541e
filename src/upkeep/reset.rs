//! What is done to a file that a restart of the host, or a copy, left behind.
//!
//! Nobody of the boot before lives, so lock words, claims and seats mean nothing; and any page can be older than
//! any other, unless the last act was a flush. The new boot id is stored last: a reset that is killed is begun
//! again by the next opener.
//!
//! A file can have a twin: its copy, or what it was before an older state of it was restored. Both hold the same
//! records and count on from the same stamps, and a stamp of one must not be given out by the other. So where records
//! stay the counter of stamps jumps.

use super::header::{AfterCrash, Fixed};
use super::open::Settings;
use crate::error::Result;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::mapping::Mapping;
use crate::shm::{Geometry, Memory, Step};
use crate::store::Distrust;
use crate::store::durable::Flush;
use crate::store::record::mix;
use crate::sync::member::Seats;

/// Resets a file under its data lock. Whether a flush is believed if the file says that it was its last act is the
/// caller's to say.
pub(super) fn reset(mapping: &Mapping, fixed: &Fixed, settings: &Settings, believe_flush: bool) -> Result<()> {
    let flushed = believe_flush && was_flushed(mapping);
    let distrust = match (flushed, fixed.after_crash) {
        (true, _) => Distrust::None,
        (false, AfterCrash::Verify) => Distrust::Verify,
        (false, AfterCrash::Discard) => Distrust::Discard,
    };
    Seats { mem: mapping, geometry: &fixed.geometry }.reset(settings.random()?);
    let random = settings.random()?;
    let stripes = 0..fixed.geometry.shape.stripes;
    let flagged = stripes.filter(|&stripe| reset_stripe(mapping, fixed, stripe, distrust, random));
    let flagged = flagged.count() as u64;
    if !flushed {
        forget_flush(mapping);
    }
    mapping.word(at!(unverified)).set(Step::VerifyMe, flagged);
    mapping.word(at!(replaced)).set(Step::Header, 0);
    mapping.word(at!(resets)).bump(Step::Header, 1);
    fence(Ordering::SeqCst);
    store_boot_id(mapping, settings.boot_id);
    Ok(())
}

/// Whether the file says that a flush was its last act.
pub(super) fn was_flushed(mapping: &Mapping) -> bool {
    Flush::of(mapping.word(at!(flush)).get()) == Flush::Clean
}

/// Takes a file from its boot, and any flush from its past: until a reset is complete every opener begins it anew, and
/// believes nothing. A copy says so before it says that it is none.
pub(super) fn disown(mapping: &Mapping) {
    forget_flush(mapping);
    fence(Ordering::SeqCst);
    store_boot_id(mapping, [0, 0]);
}

fn forget_flush(mapping: &Mapping) {
    let flush = mapping.word(at!(flush));
    flush.set(Step::FlushMark, Flush::Dirty.with(flush.get()));
}

/// Returns whether the stripe is flagged.
fn reset_stripe(mapping: &Mapping, fixed: &Fixed, stripe: u32, distrust: Distrust, random: u64) -> bool {
    let stripe_at = fixed.geometry.stripe(stripe);
    let zero = |at| mapping.word(at).set(Step::Header, 0);
    zero(stripe_at + at!(Stripe.lock_word));
    zero(stripe_at + at!(Stripe.sleep_word));
    forget_claims(mapping, &fixed.geometry, stripe);
    let stamp = mapping.word(stripe_at + at!(Stripe.stamp));
    let distrust = match after_jump(stamp.get(), mix(random ^ u64::from(stripe))) {
        // A stripe that is emptied begins with stamps of its own.
        _ if distrust == Distrust::Discard => distrust,
        None => Distrust::Discard,
        Some(jumped) => {
            stamp.set(Step::Stamp, jumped);
            distrust
        }
    };
    let verify_me = mapping.word(stripe_at + at!(Stripe.verify_me));
    if distrust != Distrust::None {
        verify_me.set(Step::VerifyMe, distrust as u64);
    }
    verify_me.get() != 0
}

/// The shortest jump of a counter of stamps; the longest is twice as long. No twin gives out so many from one reset to
/// the next, and two twins hardly ever jump equally far.
const JUMP: u64 = 1 << 47;

/// A counter of stamps after a jump: above the stamps of all records, which stay in their order. `None`: stamps have run
/// out, after some ten thousand jumps, and the stripe must start anew.
fn after_jump(stamp: u64, random: u64) -> Option<u64> {
    stamp.checked_add(JUMP + random % JUMP).filter(|&jumped| jumped < u64::MAX - JUMP)
}

/// Ends all claims of a stripe: none of their owners lives.
pub(super) fn forget_claims(mapping: &Mapping, geometry: &Geometry, stripe: u32) {
    for claim in 0..geometry.shape.claims {
        mapping.word(geometry.claim(stripe, claim) + at!(Claim.number)).set(Step::Header, 0);
    }
    mapping.word(geometry.stripe(stripe) + at!(Stripe.claims_used)).set(Step::Header, 0);
}

/// Says to which boot the file's state belongs.
fn store_boot_id(mapping: &Mapping, id: [u64; 2]) {
    mapping.word(at!(boot_id)).set(Step::Header, id[0]);
    mapping.word(at!(boot_id) + 8).store(Step::Header, id[1], Ordering::Release);
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
