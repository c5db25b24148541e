//! Reads that extend the expiry of an item in a namespace with an idle time.
//!
//! The expiry is changed under the stripe's lock: without the lock, the memory of the record could by then belong to
//! another record. A read only tries to lock, and if that fails, leaves the change to the next read.

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

/// [`Reading`] with a time that the caller has read already.
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

/// [`Reading`] for a lookup under a lock. The new expiry is stored after the lock is released.
pub(super) struct LockedReading<'a> {
    opened: &'a AttachedFile,
    kept: Cell<Option<Kept>>,
}

impl<'a> LockedReading<'a> {
    pub(super) fn new(opened: &'a AttachedFile) -> Self {
        Self { opened, kept: Cell::new(None) }
    }

    /// Stores the new expiry of the item that was read. The caller holds no lock any more.
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
    // To check a stripe first would take too long for a read.
    if excludes && opened.store.distrust(stripe) == CrashState::None {
        // If this read does not get the lock, whatever the reason, the next read tries again.
        let _ = Patience::none().with_stripe(opened, stripe, |guard| guard.keep(key, kept));
    }
}
