//! A scan of a cache, bucket by bucket: the common part of [`keys`](super::Cache::keys),
//! [`entries`](super::Cache::entries) and [`sample`](super::Cache::sample).

use super::stripe_lock::{await_settled, lock_for_read};
use crate::file::AttachedFile;
use crate::store::CrashState;
use crate::store::NamespaceId;
use crate::store::read::BucketItem;
use crate::store::record::Extension;
use crossbeam::utils::Backoff;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// How often a scan looks at a bucket that is being changed before it takes the lock of the stripe.
pub(super) const LOOKS: u32 = 64;

/// All buckets of a file, one after another.
pub(super) struct Scan {
    /// The file in which the scan began; `None` if all reads of it miss.
    opened: Option<Arc<AttachedFile>>,
    /// The next bucket: its stripe, and its number in the stripe.
    next: (u32, u64),
}

impl Scan {
    pub(super) fn new(opened: Option<Arc<AttachedFile>>) -> Self {
        Self { opened, next: (0, 0) }
    }

    /// The items of the next bucket that can be read, with their file.
    pub(super) fn next_bucket(&mut self) -> Option<(&AttachedFile, Vec<BucketItem>)> {
        let opened = self.opened.as_ref()?;
        loop {
            let (stripe, bucket) = self.next;
            if stripe >= opened.geometry().shape.stripes {
                return None;
            }
            self.next = if bucket + 1 < opened.geometry().buckets { (stripe, bucket + 1) } else { (stripe + 1, 0) };
            if let Some(items) = items_of(opened, stripe, bucket) {
                return Some((opened, items));
            }
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The names of the namespaces that a scan has met.
#[derive(Default)]
pub(super) struct NamespaceNames(HashMap<NamespaceId, Option<Arc<str>>>);

impl NamespaceNames {
    /// The name of the namespace of a record that the caller has loaded, if the record has one. The outer `None` means
    /// that the namespace was invalidated or removed since the record was written.
    pub(super) fn name_of(&mut self, opened: &AttachedFile, record: Extension) -> Option<Option<Arc<str>>> {
        let id = opened.store.namespace_numbered(record.namespace());
        let name = || opened.store.namespace_name_of(id.number()).map(Into::into);
        let name = self.0.entry(id).or_insert_with(name).clone();
        (!opened.store.has_lost_namespace(record)).then_some(name)
    }
}

/// The items of a bucket, read without a lock; `None` if the stripe is to be emptied after a crash, or if writers keep
/// changing the bucket.
pub(super) fn items_without_lock(opened: &AttachedFile, stripe: u32, bucket: u64) -> Option<Vec<BucketItem>> {
    if opened.store.distrust(stripe) == CrashState::Discard {
        return None;
    }
    let now_ms = opened.settings.time.now_ms();
    let backoff = Backoff::new();
    let mut items = Vec::new();
    for _ in 0..LOOKS {
        if opened.store.items_of_bucket(stripe, bucket, now_ms, &mut items) {
            return Some(items);
        }
        items.clear();
        backoff.snooze();
    }
    None
}

/// The items of a bucket. If it stays half changed, its writer may be dead. In that case this locks the stripe, which
/// completes what the writer left unfinished.
fn items_of(opened: &AttachedFile, stripe: u32, bucket: u64) -> Option<Vec<BucketItem>> {
    if let Some(items) = items_without_lock(opened, stripe, bucket) {
        return Some(items);
    }
    if opened.store.distrust(stripe) == CrashState::Discard {
        return None;
    }
    let Some(guard) = lock_for_read(opened, stripe) else {
        return if await_settled(opened) { items_without_lock(opened, stripe, bucket) } else { None };
    };
    guard.settle_bucket(opened.geometry().bucket(stripe, bucket));
    let (now_ms, mut items) = (opened.settings.time.now_ms(), Vec::new());
    opened.store.items_of_bucket(stripe, bucket, now_ms, &mut items).then_some(items)
}
