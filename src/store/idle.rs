//! Values that live as long as they are used: when a use moves a record's expiry, and to what.
//!
//! The record says that its expiry moves; the idle time, and the time to live that bounds it, are those of the file's
//! namespace, so that all users agree.

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
    /// Milliseconds since 1970. Asked only for a record that expires.
    fn now_ms(&self) -> u64;

    /// A record was read whose expiry is to move.
    fn keep(&self, _: &Key<'_>, _: Kept) {}
}

/// A read that moves nothing.
impl<F: Fn() -> u64> ReadTime for F {
    #[inline(always)]
    fn now_ms(&self) -> u64 {
        self()
    }
}

/// A record whose expiry is to move, as a read without a lock has found it.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    stamp: u64,
    until_ms: u64,
}

impl<M: Memory> Store<M> {
    /// The present time for a straight look at a record that expires and has an extension. If the expiry is to move it is the
    /// end of time: then the record looks expired, and the look goes on to the way that moves it.
    #[inline(always)]
    pub(super) fn now_unless_due(&self, head: Head, extension: Extension, now_ms: impl FnOnce() -> u64) -> u64 {
        let now_ms = now_ms();
        let is_due = extension.is_idle()
            && self.later_expiry(extension.namespace(), extension.created_ms(), head.stamp, head.expires_ms(), now_ms)
                != 0;
        if is_due { u64::MAX } else { now_ms }
    }

    /// A record that was read, if its expiry is to move.
    pub(super) fn kept(&self, head: Head, extension: Extension, now_ms: impl FnOnce() -> u64) -> Option<Kept> {
        if !extension.is_idle() || head.expires_ms() == 0 {
            return None;
        }
        let (namespace, created_ms) = (extension.namespace(), extension.created_ms());
        let until_ms = self.later_expiry(namespace, created_ms, head.stamp, head.expires_ms(), now_ms());
        (until_ms != 0).then_some(Kept { stamp: head.stamp, until_ms })
    }

    /// The expiry to which a use moves that of a record; 0 if it stays. It moves at most about four times in each idle time.
    /// The arguments fit in registers.
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

/// A time to live that is shortened by a part that differs from record to record, and is always the same for one.
fn shortened(ttl_ms: u64, stamp: u64, jitter: u16) -> u64 {
    let part = (mix(stamp) >> 32) * u64::from(jitter) / u64::from(MOST_JITTER);
    ttl_ms - ((u128::from(ttl_ms) * u128::from(part)) >> 32) as u64
}

impl<M: Memory> StripeGuard<'_, M> {
    /// Moves the expiry of a record that was read, if it still is that record, has not expired meanwhile, and still follows
    /// its reads.
    pub(crate) fn keep(&mut self, key: &Key<'_>, kept: Kept) {
        let Some(entry) = self.find_current(key) else { return };
        let is_due = entry.head.stamp == kept.stamp && entry.head.expires_ms() < kept.until_ms;
        // A record with an expiry of 0 never expires.
        if is_due && entry.head.expires_ms() != 0 && self.store.extension(entry.at, entry.head).is_idle() {
            self.set_expiry(&entry, kept.until_ms);
        }
    }

    /// The expiry of a record that takes the place of one which is used by that.
    pub(crate) fn expiry_after_use(&self, entry: &Entry) -> u64 {
        let kept = self.store.kept(entry.head, self.store.extension(entry.at, entry.head), || self.now_ms());
        kept.map_or(entry.head.expires_ms(), |kept| kept.until_ms)
    }
}
