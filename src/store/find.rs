//! Finds the record of a key in a locked stripe.

use super::read::{CheckedRecord, SeenBucket};
use super::record::Head;
use super::slot::Slot;
use super::stripe_guard::{StripeGuard, bucket_of, settle, slots_in};
use crate::hash::Key;
use crate::shm::Memory;
use crate::shm::layout::RECORD_LEN;

/// A key's record, found under the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub slot_at: u64,
    pub slot: Slot,
    pub at: u64,
    pub head: Head,
    pub value_len: usize,
}

impl Entry {
    #[inline(always)]
    fn new(slot_at: u64, slot: Slot, CheckedRecord { at, head, value_len, .. }: CheckedRecord) -> Self {
        Self { slot_at, slot, at, head, value_len }
    }
}

impl<M: Memory> StripeGuard<'_, M> {
    /// The record of a key, even if it is expired or cleared.
    #[inline(always)]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Entry> {
        self.find_in(self.store.bucket_of(key), key)
    }

    /// [`find`](Self::find) in the key's bucket, already located.
    #[inline(always)]
    pub(crate) fn find_in(&self, bucket_at: u64, key: &Key<'_>) -> Option<Entry> {
        let bucket = self.store.mem.words::<8>(bucket_at);
        settle(bucket.at(0));
        let candidates = M::matching(bucket, Slot::live_pattern(key)) & !1;
        slots_in(bucket_at, candidates).find_map(|slot_at| self.entry_at(slot_at, self.slot(slot_at), key))
    }

    /// [`find_in`](Self::find_in) with the result of a look at the bucket before the lock was taken. If the version of
    /// the bucket is even and has not changed since, its slots have not changed either, access marks aside: every
    /// change of a slot happens under the lock and changes the version. The earlier look only says which slot may be
    /// the key's and where its record lies. Slot and record are loaded again, so the caller gets the record as it is
    /// now.
    #[inline(always)]
    pub(crate) fn find_seen(&self, seen: &SeenBucket<'_>, bucket_at: u64, key: &Key<'_>) -> Option<Entry> {
        let Some(first) = seen.under_lock() else { return self.find_anew(bucket_at, key.bytes, key.hash) };
        let (i, slot) = first?;
        let slot_at = bucket_at + i as u64 * 8;
        if self.is_between_ends(slot)
            && let Some(record) = self.store.plain_record(seen.place, key)
        {
            return Some(Entry::new(slot_at, slot, record));
        }
        self.find_extended(slot_at, slot, key.bytes, key.hash)
    }

    /// [`find`](Self::find) for a key whose first candidate does not lead to a plain record of the key: tries a record
    /// with an extension, and then the whole bucket.
    #[inline(never)]
    fn find_extended(&self, slot_at: u64, slot: Slot, bytes: &[u8], hash: u64) -> Option<Entry> {
        let key = Key { bytes, hash };
        match self.store.extended_record(self.stripe, slot, &key) {
            Some(record) if self.is_held(slot) => Some(Entry::new(slot_at, slot, record)),
            _ => self.find_in(bucket_of(slot_at), &key),
        }
    }

    #[inline(never)]
    fn find_anew(&self, bucket_at: u64, bytes: &[u8], hash: u64) -> Option<Entry> {
        self.find_in(bucket_at, &Key { bytes, hash })
    }

    /// The entry of a slot, if its record is this key's. Most records have no extension, so that kind is tried first.
    #[inline(always)]
    fn entry_at(&self, slot_at: u64, slot: Slot, key: &Key<'_>) -> Option<Entry> {
        if !self.is_held(slot) {
            return None;
        }
        let place = self.store.place_of(self.stripe, slot, RECORD_LEN / 8)?;
        let record = self.store.plain_record(place, key);
        let record = record.or_else(|| self.store.record_of(self.stripe, slot, key))?;
        Some(Entry::new(slot_at, slot, record))
    }

    /// The record of a key, if a read would return it.
    pub(crate) fn find_current(&self, key: &Key<'_>) -> Option<Entry> {
        self.find(key).filter(|entry| self.is_seen(entry, false))
    }

    /// Whether a caller sees the record.
    pub(crate) fn is_seen(&self, entry: &Entry, sees_absence: bool) -> bool {
        self.store.visibility(entry.at, entry.head, || self.now_ms()).is_seen(sees_absence)
    }
}
