//! Private copies of records, so that the bytes that were checked are the bytes that are used.
//!
//! A checksum holds for the bytes that it was computed from. Bytes in shared memory may change a moment later. So a
//! record is copied first, with its header and its extension, and then the copy is checked and used.

use super::find::Entry;
use super::read::{BucketView, Look, RecordRef};
use super::record::{Extension, Head, RecordLocation, is_sound};
use super::slot::Slot;
use super::stripe_guard::StripeGuard;
use super::table::Store;
use crate::hash::Key;
use crate::shm::Memory;
use std::collections::TryReserveError;

/// A record in private memory.
pub(crate) struct Copied {
    pub head: Head,
    pub extension: Extension,
    pub value: Vec<u8>,
    /// The record's place, for its checksum.
    location: RecordLocation,
}

/// The item of a slot, in private memory.
pub(crate) struct SlotItem {
    pub key: Vec<u8>,
    pub slot: Slot,
    pub copied: Copied,
}

/// A whole record as it lies in its ring, in private memory.
pub(crate) struct RawRecord {
    pub key: Vec<u8>,
    pub slot: Slot,
    pub location: RecordLocation,
    pub bytes: Vec<u8>,
}

impl Copied {
    /// Whether the copy passes its checksum.
    fn is_sound(&self, key: &Key<'_>) -> bool {
        is_sound(key, &self.value, self.head, self.extension, self.location)
    }
}

impl<M: Memory> Store<M> {
    /// Copies a record that a lookup found. The caller calls `validate` first, because the length may come from an
    /// unfinished write.
    #[inline]
    pub(crate) fn copied(&self, found: &RecordRef<'_>) -> Result<Copied, TryReserveError> {
        let value = self.value_at(found.value_at(), found.value_len)?;
        Ok(Copied {
            head: found.head,
            extension: self.extension(found.at, found.head),
            value,
            location: found.location(),
        })
    }

    /// Copies a value out, if its memory can be allocated.
    #[inline]
    pub(crate) fn value_at(&self, at: u64, len: usize) -> Result<Vec<u8>, TryReserveError> {
        let mut value = Vec::new();
        value.try_reserve_exact(len)?;
        self.mem.append_out(at, len, &mut value);
        Ok(value)
    }

    /// Copies the item of a slot, whatever its key, if it is current and passes its checksum. Remembered absences are
    /// items, too.
    pub(crate) fn item_of_slot(
        &self,
        view: &BucketView<'_>,
        now_ms: impl FnOnce() -> u64,
    ) -> Look<Result<SlotItem, TryReserveError>> {
        let found = match self.found_in_slot(view, now_ms) {
            Look::Hit(found) => found,
            Look::Miss => return Look::Miss,
            Look::Changing => return Look::Changing,
        };
        let mut key = Vec::new();
        self.mem.append_out(found.at + found.head.key_at(), found.head.key_len() as usize, &mut key);
        let copied = match self.copied(&found) {
            Ok(copied) => copied,
            Err(error) => return Look::Hit(Err(error)),
        };
        if !self.validate(&found) {
            return Look::Changing;
        }
        let slot = found.slot;
        let of = self.key(&key);
        let is_own = of.short_hash() == slot.short_hash()
            && self.stripe_of(&of) == found.stripe
            && self.is_true(&copied, &of, true);
        if is_own { Look::Hit(Ok(SlotItem { key, slot, copied })) } else { Look::Miss }
    }

    /// Copies the record of a slot as it is, if it is current and passes its checksum. If no memory can be allocated
    /// for the copy, this is a miss.
    pub(crate) fn raw_of_slot(&self, view: &BucketView<'_>, now_ms: impl FnOnce() -> u64) -> Look<RawRecord> {
        let found = match self.found_in_slot(view, now_ms) {
            Look::Hit(found) => found,
            Look::Miss => return Look::Miss,
            Look::Changing => return Look::Changing,
        };
        let (Ok(copied), Ok(bytes)) = (self.copied(&found), self.value_at(found.at, (found.head.units() * 8) as usize))
        else {
            return Look::Miss;
        };
        if !self.validate(&found) {
            return Look::Changing;
        }
        let (from, key_len) = (found.head.key_at() as usize, found.head.key_len() as usize);
        let key = bytes[from..from + key_len].to_vec();
        let of = self.key(&key);
        let is_own = of.short_hash() == found.slot.short_hash()
            && self.stripe_of(&of) == found.stripe
            && self.is_true(&copied, &of, true);
        if is_own {
            Look::Hit(RawRecord { key, slot: found.slot, location: found.location(), bytes })
        } else {
            Look::Miss
        }
    }

    /// Whether a copy passes its checksum and a read may see it. Visibility is checked again on the copy, because the
    /// extension in the file may have changed since the first check.
    pub(crate) fn is_true(&self, copied: &Copied, key: &Key<'_>, sees_absence: bool) -> bool {
        // The lookup checked the expiry of this very header.
        let not_expired = || 0;
        copied.is_sound(key)
            && self.has_known_clock(&copied.extension)
            && self.visibility_with(copied.head, copied.extension, not_expired).is_seen(sees_absence)
    }
}

impl<M: Memory> StripeGuard<'_, M> {
    /// Copies a key's record; with `verify`, only if a read that verifies checksums would return it.
    pub(crate) fn copied(
        &self,
        key: &Key<'_>,
        entry: &Entry,
        verify: bool,
        sees_absence: bool,
    ) -> Result<Option<Copied>, TryReserveError> {
        let value = self.store.value_at(entry.at + entry.head.value_at(), entry.value_len)?;
        let (head, extension) = (entry.head, self.store.extension(entry.at, entry.head));
        let copied = Copied { head, extension, value, location: self.location(entry.slot) };
        Ok((!verify || self.store.is_true(&copied, key, sees_absence)).then_some(copied))
    }
}
