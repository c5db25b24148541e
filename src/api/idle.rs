//! Reads that move the expiry of what they find.
//!
//! The expiry is moved under the stripe's lock: without it, the memory of the record could be another one's by then. A read
//! only tries the lock, and leaves the move to the next read if that fails.

use super::stripe_lock::Patience;
use crate::file::AttachedFile;
use crate::hash::Key;
use crate::store::CrashState;
use crate::store::idle::{Kept, ReadTime};
use std::cell::Cell;

/// The present time of a file, for a read that holds no lock.
pub(super) struct Reading<'a>(pub &'a AttachedFile);

impl ReadTime for Reading<'_> {
    #[inline(always)]
    fn now_ms(&self) -> u64 {
        self.0.settings.time.now_ms()
    }

    fn keep(&self, key: &Key<'_>, kept: Kept) {
        keep(self.0, key, kept);
    }
}

/// [`Reading`] at a time that the caller knows.
pub(super) struct ReadingAt<'a>(pub &'a AttachedFile, pub u64);

impl ReadTime for ReadingAt<'_> {
    #[inline(always)]
    fn now_ms(&self) -> u64 {
        self.1
    }

    fn keep(&self, key: &Key<'_>, kept: Kept) {
        keep(self.0, key, kept);
    }
}

/// [`Reading`] under a lock. What it finds is kept after that.
pub(super) struct LockedReading<'a> {
    opened: &'a AttachedFile,
    kept: Cell<Option<Kept>>,
}

impl<'a> LockedReading<'a> {
    pub(super) fn new(opened: &'a AttachedFile) -> Self {
        Self { opened, kept: Cell::new(None) }
    }

    /// Moves the expiry of what was read. The caller holds no lock any more.
    pub(super) fn after(self, key: &Key<'_>) {
        if let Some(kept) = self.kept.get() {
            keep(self.opened, key, kept);
        }
    }
}

impl ReadTime for &LockedReading<'_> {
    fn now_ms(&self) -> u64 {
        self.opened.settings.time.now_ms()
    }

    fn keep(&self, _: &Key<'_>, kept: Kept) {
        self.kept.set(Some(kept));
    }
}

#[cold]
#[inline(never)]
fn keep(opened: &AttachedFile, key: &Key<'_>, kept: Kept) {
    let stripe = opened.store.stripe_of(key);
    let excludes = opened.joined().is_some_and(|joined| joined.member.locks.exclude());
    // A stripe that is to be checked first would take the read too long.
    if excludes && opened.store.distrust(stripe) == CrashState::None {
        // Whatever keeps this read from the lock, the next one tries again.
        let _ = Patience::none().with_stripe(opened, stripe, |guard| guard.keep(key, kept));
    }
}
