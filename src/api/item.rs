//! A value with its metadata, as callers get it.

use crate::clock::Time;
use crate::shm::Memory;
use crate::store::Store;
use crate::store::copied::Copied;
use crate::store::record::{Extension, Head, Metadata};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Identifies one write of a key within one file: see [`compare_and_swap`](crate::Cache::compare_and_swap). No stored
/// item has the stamp 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub u64);

/// Identifies one write of a key among all cache files, so that equal ids mean equal values. A stamp alone identifies a
/// write within one file only, because a copy of a file begins with the same stamps.
///
/// See [`Cache::get_if_changed`](crate::Cache::get_if_changed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemId {
    /// The stamp of the write.
    pub stamp: Stamp,
    /// The lineage of the file's values: see [`Item::lineage`].
    pub lineage: u64,
}

/// Whether a key still has the value that a caller holds: see [`Cache::get_if_changed`](crate::Cache::get_if_changed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// The key still has the caller's value.
    Same {
        /// Whether the value is stale: its soft expiry has passed, or a soft invalidation covered it.
        is_stale: bool,
    },
    /// The key has another value, or the cache cannot prove that its value is the caller's without returning it.
    New(Item),
}

/// A value with its metadata. The value is bytes, or has the type of a typed handle. Times have a precision of 1 ms,
/// except where stated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item<V = Vec<u8>> {
    /// The value.
    pub value: V,
    /// The flags that the caller gave to `set_with`; 0 by default.
    pub flags: u32,
    /// The stamp of the write that stored the item: see [`Cache::compare_and_swap`](crate::Cache::compare_and_swap).
    pub stamp: Stamp,
    /// A random number that the file got when it was created, or when it was first opened as a copy of another file.
    pub lineage: u64,
    /// When the item expires, if it does.
    pub expires: Option<SystemTime>,
    /// When the item becomes stale, if it does: see [`SetOptions::soft_expiry`](crate::SetOptions::soft_expiry).
    pub soft_expires: Option<SystemTime>,
    /// When the item was created, with a precision of 10 ms, if it is known. It is known for items that `get_or_create`
    /// or one of its variants created, and for items with flags, with tags, with a soft expiry, or in a namespace.
    pub created: Option<SystemTime>,
    /// Whether the item is stale: its soft expiry has passed, or a soft invalidation covered it.
    pub is_stale: bool,
}

impl<V> Item<V> {
    /// The item of a record, with its value in whatever form.
    pub(super) fn of<M: Memory>(store: &Store<M>, head: Head, extension: Extension, time: &Time, value: V) -> Self {
        Self {
            value,
            flags: extension.caller_flags(),
            stamp: Stamp(head.stamp),
            lineage: store.lineage(),
            expires: moment(head.expires_ms()),
            soft_expires: moment(extension.soft_expires_ms()),
            created: moment(extension.metadata().created_ms),
            is_stale: is_stale(store, head, extension, time),
        }
    }

    /// Identifies the write that stored this item.
    #[must_use]
    pub fn id(&self) -> ItemId {
        ItemId { stamp: self.stamp, lineage: self.lineage }
    }
}

impl Item {
    /// The item of a created value with this metadata.
    pub(super) fn made(value: Vec<u8>, expires_ms: u64, metadata: Metadata, stamp: Stamp, lineage: u64) -> Self {
        Self {
            value,
            flags: metadata.flags,
            stamp,
            lineage,
            expires: moment(expires_ms),
            soft_expires: moment(metadata.soft_expires_ms),
            // A record keeps hundredths of a second.
            created: moment(metadata.created_ms / 10 * 10),
            is_stale: false,
        }
    }
}

#[cfg(feature = "typed")]
impl Item {
    /// The same item with another value.
    pub(super) fn with_value<V>(&self, value: V) -> Item<V> {
        let Self { value: _, flags, stamp, lineage, expires, soft_expires, created, is_stale } = *self;
        Item { value, flags, stamp, lineage, expires, soft_expires, created, is_stale }
    }
}

/// The entry of a key: an item, or a remembered absence.
pub(super) struct Known {
    pub item: Item,
    pub extension: Extension,
    pub expires_ms: u64,
}

impl Known {
    /// Made from a private copy of a record.
    pub(super) fn of<M: Memory>(store: &Store<M>, copied: Copied, time: &Time) -> Self {
        let Copied { head, extension, value, .. } = copied;
        let item = Item::of(store, head, extension, time, value);
        Self { item, extension, expires_ms: head.expires_ms() }
    }
}

/// Whether a record is stale: its soft expiry has passed, or a soft invalidation covered it.
#[inline(always)]
pub(super) fn is_stale<M: Memory>(store: &Store<M>, head: Head, extension: Extension, time: &Time) -> bool {
    let soft_ms = extension.soft_expires_ms();
    store.is_outdated(head, extension) || (soft_ms != 0 && soft_ms <= time.now_ms())
}

/// A time in milliseconds since 1970; 0 means none.
pub(super) fn moment(ms: u64) -> Option<SystemTime> {
    (ms != 0).then(|| UNIX_EPOCH + Duration::from_millis(ms))
}
