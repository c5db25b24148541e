//! The reset of a file from before a restart of the host, and of a copy.
//!
//! No process from before the restart lives, so lock words, claims and seats mean nothing. Any page can be older than
//! any other, unless the last operation was a flush. The words of namespaces that belong to callers are cleared even
//! after a flush. The new boot id is stored last: if the process is killed during a reset, the next opener starts it
//! again.
//!
//! The clock of tags is raised far above every clock that a record may bear, and the new clock is on the device before
//! any process writes. So after the next crash, too, no record bears a clock above the one in the file.
//!
//! A file can have a twin: its copy, or its own state before a backup of it was restored. Both hold the same records
//! and go on counting from the same stamps, and the two must not give out the same stamp. So where records are kept,
//! the counter of stamps jumps.

use super::header::{AfterCrash, FileParams};
use super::settings::Settings;
use crate::error::{Error, Result};
use crate::shm::Memory;
use crate::shm::layout::HEADER_LEN;
use crate::shm::mapping::Mapping;
use crate::store::{CrashState, HeaderWords};
use crate::sync::member::Seats;
use std::path::Path;

/// Resets a file. The caller holds its opening lock. `believe_flush`: trust the mark that a flush came last.
pub(super) fn reset(
    real: &Path,
    mapping: &Mapping,
    fixed: &FileParams,
    settings: &Settings,
    believe_flush: bool,
) -> Result<()> {
    let words = HeaderWords(mapping);
    let flushed = believe_flush && words.was_flushed();
    let distrust = match (flushed, fixed.after_crash) {
        (true, _) => CrashState::None,
        (false, AfterCrash::Verify) => CrashState::Verify,
        (false, AfterCrash::Discard) => CrashState::Discard,
    };
    Seats { mem: mapping, geometry: &fixed.geometry }.reset(settings.random()?);
    words.reset_callers_words(&fixed.geometry);
    if fixed.geometry.shape.tags != 0 {
        words.raise_tag_clock();
        mapping.sync(0, HEADER_LEN).map_err(Error::io("write", real))?;
    }
    let random = settings.random()?;
    let stripes = 0..fixed.geometry.shape.stripes;
    let flagged = stripes.filter(|&stripe| words.reset_stripe(&fixed.geometry, stripe, distrust, random));
    let flagged = flagged.count() as u64;
    words.end_reset(flagged, flushed, settings.boot_id);
    Ok(())
}
