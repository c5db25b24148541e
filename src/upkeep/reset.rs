//! What is done to a file that a restart of the host, or a copy, left behind.
//!
//! Nobody of the boot before lives, so lock words, claims and seats mean nothing; and any page can be older than
//! any other, unless the last act was a flush. The new boot id is stored last: a reset that is killed is begun
//! again by the next opener.

use super::header::{AfterCrash, Fixed};
use super::open::Settings;
use crate::error::Result;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::mapping::Mapping;
use crate::shm::{Geometry, Memory, Step};
use crate::store::Distrust;
use crate::store::rebuild::Flush;
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
    for stripe in 0..fixed.geometry.shape.stripes {
        reset_stripe(mapping, fixed, stripe, distrust);
    }
    if !flushed {
        let flush = mapping.word(at!(flush));
        flush.set(Step::FlushMark, Flush::Dirty.with(flush.get()));
        mapping.word(at!(unverified)).set(Step::VerifyMe, fixed.geometry.shape.stripes.into());
    }
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

fn reset_stripe(mapping: &Mapping, fixed: &Fixed, stripe: u32, distrust: Distrust) {
    let stripe_at = fixed.geometry.stripe(stripe);
    let zero = |at| mapping.word(at).set(Step::Header, 0);
    zero(stripe_at + at!(Stripe.lock_word));
    zero(stripe_at + at!(Stripe.sleep_word));
    forget_claims(mapping, &fixed.geometry, stripe);
    if distrust != Distrust::None {
        mapping.word(stripe_at + at!(Stripe.verify_me)).set(Step::VerifyMe, distrust as u64);
    }
}

/// Ends all claims of a stripe: none of their owners lives.
pub(super) fn forget_claims(mapping: &Mapping, geometry: &Geometry, stripe: u32) {
    for claim in 0..geometry.shape.claims {
        mapping.word(geometry.claim(stripe, claim) + at!(Claim.number)).set(Step::Header, 0);
    }
    mapping.word(geometry.stripe(stripe) + at!(Stripe.claims_used)).set(Step::Header, 0);
}

/// Says to which boot the file's state belongs.
pub(super) fn store_boot_id(mapping: &Mapping, id: [u64; 2]) {
    mapping.word(at!(boot_id)).set(Step::Header, id[0]);
    mapping.word(at!(boot_id) + 8).store(Step::Header, id[1], Ordering::Release);
}
