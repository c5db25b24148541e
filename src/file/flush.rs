//! A durable point: the present content of the cache survives a crash of the operating system, until the next write.

use super::attached::AttachedFile;
use crate::error::{Error, Result};
use crate::store::HeaderWords;
use crate::sync::locks::{LockError, RegionGuard};
use std::time::Duration;

/// Makes a durable point. `false`: another thread wrote meanwhile, and the file is not marked as flushed.
pub(crate) fn flush(opened: &AttachedFile) -> Result<bool> {
    let stripes = 0..opened.geometry().shape.stripes;
    // Repair half-done work first, since a repair is a write; after that only writers at work remain to be waited for.
    // If the file is flushed already and needs no repair, it stays flushed.
    for stripe in stripes.clone() {
        let lock = lock(opened, stripe)?;
        opened.enter_to_claim(opened.member()?, stripe, lock)?;
    }
    let mut passed: Result<bool> = Ok(true);
    let flushed = opened.store.flush(|| {
        passed = stripes.into_iter().try_fold(true, |quiet, stripe| Ok(quiet && is_quiet(opened, stripe)?));
        matches!(passed, Ok(true))
    });
    passed?;
    flushed.map_err(|error| opened.refused("flush", error))
}

/// Locks and unlocks a stripe, in order to wait for a writer in it. Returns whether that writer left nothing to repair.
fn is_quiet(opened: &AttachedFile, stripe: u32) -> Result<bool> {
    let _lock = lock(opened, stripe)?;
    Ok(HeaderWords(&opened.store.mem).is_quiet(opened.geometry(), stripe))
}

pub(super) fn lock(opened: &AttachedFile, stripe: u32) -> Result<RegionGuard<'_>> {
    let limit = opened.settings.lock_wait;
    let lock = opened.lock(opened.member()?, stripe, limit);
    lock.map_err(|error| lock_error(opened, stripe, limit, error))
}

/// The error that the caller gets for a failed lock.
pub(crate) fn lock_error(opened: &AttachedFile, stripe: u32, waited: Duration, error: LockError) -> Error {
    match error {
        LockError::Busy => Error::Busy { stripe, waited },
        LockError::Failed(source) => Error::locks("lock a stripe of", &opened.real)(source),
    }
}
