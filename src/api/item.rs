//! A value with its metadata, as callers get it.

use crate::clock::Time;
use crate::shm::Memory;
use crate::store::Store;
use crate::store::copied::Copied;
use crate::store::record::Extension;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Identifies one write of a key: see [`compare_and_swap`](crate::Cache::compare_and_swap).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub u64);

/// A value with its metadata. The value is bytes, or has the type of a typed handle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item<V = Vec<u8>> {
    /// The value.
    pub value: V,
    /// The flags that the caller gave to `set_with`; 0 by default.
    pub flags: u32,
    /// The stamp, which every write of the key changes: see
    /// [`Cache::compare_and_swap`](crate::Cache::compare_and_swap).
    pub stamp: Stamp,
    /// When the item expires, if it does.
    pub expires: Option<SystemTime>,
    /// When the item becomes stale, if it does: see [`SetOptions::soft_expiry`](crate::SetOptions::soft_expiry).
    pub soft_expires: Option<SystemTime>,
    /// When the item was created, to a hundredth of a second. This is known of items that `get_or_create` or one of its
    /// variants created, and of items with flags, with a soft expiry, or in a namespace.
    pub created: Option<SystemTime>,
    /// Whether the item is stale: its soft expiry has passed, or a soft invalidation covered it.
    pub is_stale: bool,
}

#[cfg(feature = "typed")]
impl Item {
    /// The same item with another value.
    pub(super) fn with_value<V>(&self, value: V) -> Item<V> {
        let Self { value: _, flags, stamp, expires, soft_expires, created, is_stale } = *self;
        Item { value, flags, stamp, expires, soft_expires, created, is_stale }
    }
}

/// The entry of a key: an item, or a remembered absence.
pub(super) struct Known {
    pub item: Item,
    pub extension: Extension,
    pub expires_ms: u64,
}

impl Known {
    /// From a private copy of a record.
    pub(super) fn of<M: Memory>(store: &Store<M>, copied: Copied, time: &Time) -> Self {
        let Copied { head, extension, value, .. } = copied;
        let soft_ms = extension.soft_expires_ms();
        let item = Item {
            value,
            flags: extension.caller_flags(),
            stamp: Stamp(head.stamp),
            expires: moment(head.expires_ms()),
            soft_expires: moment(soft_ms),
            created: moment(extension.metadata().created_ms),
            is_stale: store.is_outdated(head, extension) || (soft_ms != 0 && soft_ms <= time.now_ms()),
        };
        Self { item, extension, expires_ms: head.expires_ms() }
    }
}

/// A time in milliseconds since 1970; 0: none.
pub(super) fn moment(ms: u64) -> Option<SystemTime> {
    (ms != 0).then(|| UNIX_EPOCH + Duration::from_millis(ms))
}
