//! A durable point: what the cache holds now survives a crash of the operating system, until the next write.

use super::opened::Opened;
use crate::error::{Error, Result};
use crate::shm::Memory;
use crate::shm::Step;
use crate::shm::atomics::Ordering;
use crate::shm::layout::{HEADER_LEN, at};
use crate::store::rebuild::Flush;
use crate::sync::locks::LockError;
use std::time::Duration;

/// Makes a durable point. `false`: somebody wrote meanwhile, and the file is not marked as flushed.
pub(crate) fn flush(opened: &Opened) -> Result<bool> {
    let store = &opened.store;
    // First whatever is half done is completed, which is a write; then nothing is left but to wait for writers.
    for stripe in 0..opened.geometry().shape.stripes {
        pass(opened, stripe, true)?;
    }
    let mark = store.mem.word(at!(flush));
    let flushing = loop {
        let seen = mark.load(Ordering::Acquire);
        let next = Flush::Flushing.with((seen >> 2).wrapping_add(1) << 2);
        if mark.compare_exchange(Step::FlushMark, seen, next, Ordering::AcqRel).is_ok() {
            break next;
        }
    };
    for stripe in 0..opened.geometry().shape.stripes {
        if !pass(opened, stripe, false)? {
            return Ok(false);
        }
    }
    let synced = |offset, len| store.mem.sync(offset, len).map_err(Error::io("flush", &opened.real));
    synced(0, opened.geometry().file_len)?;
    let clean = Flush::Clean.with(flushing);
    if mark.compare_exchange(Step::FlushMark, flushing, clean, Ordering::AcqRel).is_err() {
        return Ok(false);
    }
    synced(0, HEADER_LEN)?;
    Ok(mark.load(Ordering::Acquire) == clean)
}

/// Locks and unlocks a stripe, so that a writer who was in it is through. Without `repair` it only says
/// whether there is nothing to repair.
fn pass(opened: &Opened, stripe: u32, repair: bool) -> Result<bool> {
    let joined = opened.member()?;
    let lock = opened.lock(joined, stripe, opened.settings.lock_wait);
    let lock = lock.map_err(|error| lock_error(opened, stripe, opened.settings.lock_wait, error))?;
    if repair {
        return opened.enter(joined, stripe, lock).map(|_| true);
    }
    Ok(opened.store.stripe_word(stripe, at!(Stripe.intent)).get() & 0xff == 0)
}

/// What a lock's refusal means to the caller.
pub(crate) fn lock_error(opened: &Opened, stripe: u32, waited: Duration, error: LockError) -> Error {
    match error {
        LockError::Busy => Error::Busy { stripe, waited },
        LockError::Failed(source) if source.kind() == std::io::ErrorKind::NotFound => {
            Error::LocksLost { path: opened.real.clone(), detail: source.to_string() }
        }
        LockError::Failed(source) => Error::Io { what: "lock a stripe of", path: opened.real.clone(), source },
    }
}
