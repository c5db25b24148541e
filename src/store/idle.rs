//! Values that live as long as they are used: when a use moves the expiry of a record, and to what time.
//!
//! The record says only that its expiry moves. The idle time, and the time to live that bounds it, come from the entry
//! of its namespace in the file, so that all processes use the same ones.

use super::find::Entry;
use super::namespace::MOST_JITTER;
use super::record::{Extension, Head, mix};
use super::stripe_guard::StripeGuard;
use super::table::Store;
use crate::clock::LAST_TIME;
use crate::hash::Key;
use crate::shm::Memory;

/// The present time for a lookup, and what a hit does to a record whose expiry it moves.
pub(crate) trait ReadTime {
    /// Milliseconds since 1970. Called only for a record that expires.
    fn now_ms(&self) -> u64;

    /// Called after a read of a record whose expiry is to move.
    fn keep(&self, _: &Key<'_>, _: Kept) {}
}

/// For a read that moves no expiry.
impl<F: Fn() -> u64> ReadTime for F {
    #[inline(always)]
    fn now_ms(&self) -> u64 {
        self()
    }
}

/// The new expiry of a record, as a read without a lock has computed it.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    stamp: u64,
    until_ms: u64,
}

impl<M: Memory> Store<M> {
    /// The present time for a lookup in `lookup_further` of a record that expires and has an extension. If this read
    /// must move the expiry, this returns the end of time instead: the record then looks expired, and the lookup takes
    /// the slow path, which moves the expiry.
    #[inline(always)]
    pub(super) fn now_unless_due(&self, head: Head, extension: Extension, now_ms: impl FnOnce() -> u64) -> u64 {
        let now_ms = now_ms();
        let is_due = extension.is_idle()
            && self.later_expiry(extension.namespace(), extension.created_ms(), head.stamp, head.expires_ms(), now_ms)
                != 0;
        if is_due { u64::MAX } else { now_ms }
    }

    /// How to move the expiry of a record that was read; `None` if the expiry stays.
    pub(super) fn kept(&self, head: Head, extension: Extension, now_ms: impl FnOnce() -> u64) -> Option<Kept> {
        if !extension.is_idle() || head.expires_ms() == 0 {
            return None;
        }
        let (namespace, created_ms) = (extension.namespace(), extension.created_ms());
        let until_ms = self.later_expiry(namespace, created_ms, head.stamp, head.expires_ms(), now_ms());
        (until_ms != 0).then_some(Kept { stamp: head.stamp, until_ms })
    }

    /// The expiry that a use gives a record; 0 if the expiry stays. It moves at most about four times in each idle
    /// time. The arguments fit in registers.
    #[inline(never)]
    fn later_expiry(&self, namespace: u16, created_ms: u64, stamp: u64, expires_ms: u64, now_ms: u64) -> u64 {
        let defaults = self.defaults_of_record(namespace);
        let left_ms = expires_ms.saturating_sub(now_ms);
        if left_ms.saturating_mul(4) >= defaults.idle_ttl_ms.saturating_mul(3) {
            return 0;
        }
        let last_ms = match defaults.hard_ttl_ms {
            0 => LAST_TIME,
            ttl_ms => created_ms.saturating_add(shortened(ttl_ms, stamp, defaults.jitter)),
        };
        let until_ms = now_ms.saturating_add(defaults.idle_ttl_ms).min(last_ms).min(LAST_TIME);
        if until_ms > expires_ms { until_ms } else { 0 }
    }
}

/// A time to live, shortened by a part that differs from record to record and is always the same for one record.
fn shortened(ttl_ms: u64, stamp: u64, jitter: u16) -> u64 {
    let part = (mix(stamp) >> 32) * u64::from(jitter) / u64::from(MOST_JITTER);
    ttl_ms - ((u128::from(ttl_ms) * u128::from(part)) >> 32) as u64
}

impl<M: Memory> StripeGuard<'_, M> {
    /// Moves the expiry of a record that was read, if the key still has that record, the record has not expired
    /// meanwhile, and its expiry still follows its reads.
    pub(crate) fn keep(&mut self, key: &Key<'_>, kept: Kept) {
        let Some(entry) = self.find_current(key) else { return };
        let is_due = entry.head.stamp == kept.stamp && entry.head.expires_ms() < kept.until_ms;
        // A record with an expiry of 0 never expires.
        if is_due && entry.head.expires_ms() != 0 && self.store.extension(entry.at, entry.head).is_idle() {
            self.set_expiry(&entry, kept.until_ms);
        }
    }

    /// The expiry for a record that replaces this one, if the replacement counts as a use of this record.
    pub(crate) fn expiry_after_use(&self, entry: &Entry) -> u64 {
        let kept = self.store.kept(entry.head, self.store.extension(entry.at, entry.head), || self.now_ms());
        kept.map_or(entry.head.expires_ms(), |kept| kept.until_ms)
    }
}
