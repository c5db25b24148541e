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
use super::settings::Settings;
use crate::error::Result;
use crate::shm::mapping::Mapping;
use crate::store::{Distrust, HeaderWords};
use crate::sync::member::Seats;

/// Resets a file under its data lock. Whether a flush is believed if the file says that it was its last act is the
/// caller's to say.
pub(super) fn reset(mapping: &Mapping, fixed: &Fixed, settings: &Settings, believe_flush: bool) -> Result<()> {
    let words = HeaderWords(mapping);
    let flushed = believe_flush && words.was_flushed();
    let distrust = match (flushed, fixed.after_crash) {
        (true, _) => Distrust::None,
        (false, AfterCrash::Verify) => Distrust::Verify,
        (false, AfterCrash::Discard) => Distrust::Discard,
    };
    Seats { mem: mapping, geometry: &fixed.geometry }.reset(settings.random()?);
    let random = settings.random()?;
    let stripes = 0..fixed.geometry.shape.stripes;
    let flagged = stripes.filter(|&stripe| words.reset_stripe(&fixed.geometry, stripe, distrust, random));
    let flagged = flagged.count() as u64;
    words.end_reset(flagged, flushed, settings.boot_id);
    Ok(())
}
