//! Items with everything that another file needs to store them, read from the most to the least used.

use super::cache::Cache;
use super::item::moment;
use super::namespace::Namespace;
use super::scan::{LOOKS, NamespaceNames};
use super::stripe_lock::{await_settled, lock_for_read};
use crate::file::AttachedFile;
use crate::shm::Memory as _;
use crate::store::CrashState;
use crate::store::copied::SlotItem;
use crate::store::heat::RankedSlot;
use crate::store::read::Look;
use crate::store::slot::Ring;
use crossbeam::utils::Backoff;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An item with everything that another cache file needs to store it: see [`Cache::hottest_first`] and
/// [`Cache::restore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedItem<B = Vec<u8>> {
    /// The caller's key on a handle with a namespace, else the stored key.
    pub key: B,
    /// The value; `None` if the cache remembers that the key has no value.
    pub value: Option<B>,
    /// The name of the item's namespace, if it has one.
    pub namespace: Option<Arc<str>>,
    /// The caller's flags.
    pub flags: u32,
    /// When the item expires, if it does.
    pub expires: Option<SystemTime>,
    /// Whether reads extend the expiry: see [`NamespaceOptions::idle`](crate::NamespaceOptions::idle). This has no
    /// effect on an item without a namespace, or in a namespace without an idle time.
    pub follows_reads: bool,
    /// When the item becomes stale, if it does. For an item that a soft invalidation made stale, this is the first
    /// millisecond of 1970, because no other file knows of the invalidation.
    pub soft_expires: Option<SystemTime>,
    /// When the item was created, with a precision of 10 ms, if it is known: see [`Item::created`](crate::Item).
    pub created: Option<SystemTime>,
    /// How long the creation of the value took, in milliseconds, of which the file keeps the 11 leading bits; zero if
    /// it is not known.
    pub cost: Duration,
    /// The ring that held the item.
    pub ring: Ring,
    /// How often the item was read since it came into its ring, at most 3.
    pub marks: u8,
    /// The numbers of the item's tags, which are the same in every file. A file does not know the names of tags.
    /// Invalidations of these tags that came after the item was saved do not cover it in another file.
    pub tags: Vec<u16>,
}

impl<B> SavedItem<B> {
    /// An item that does not expire, does not become stale, and was never read.
    pub fn new(key: B, value: Option<B>) -> Self {
        Self {
            key,
            value,
            namespace: None,
            flags: 0,
            expires: None,
            follows_reads: false,
            soft_expires: None,
            created: None,
            cost: Duration::ZERO,
            ring: Ring::Small,
            marks: 0,
            tags: Vec::new(),
        }
    }
}

/// How many items ahead of the one being read the memory of a bucket, and that of a record, is fetched.
const BUCKETS_AHEAD: usize = 16;
const RECORDS_AHEAD: usize = 8;
/// The soft expiry of an item that a soft invalidation made stale: the earliest that a record can hold.
const STALE_SINCE_EVER: u64 = 1;

/// An iterator over the items of a cache, from the most used to the least used: see [`Cache::hottest_first`].
#[must_use = "an iterator reads nothing until it is used"]
pub struct HottestFirst {
    opened: Option<Arc<AttachedFile>>,
    ranked: Vec<RankedSlot>,
    next: usize,
    /// The namespace whose items are wanted; `None` for all.
    namespace: Option<Arc<Namespace>>,
    names: NamespaceNames,
}

impl Cache {
    /// The items of this handle's namespace, or of the whole file, with their values, from the most to the least used:
    /// first the items of the main ring that were read since they came there, then the rest of this ring from the
    /// newest on, then the small ring. Remembered absences are items, too. A caller that stores the items elsewhere by
    /// [`restore`](Cache::restore), in this order, keeps the most used ones, however few fit.
    ///
    /// The order is that of the time of this call, and takes eight bytes of memory per item. The items are not a
    /// snapshot: each one is read in its turn, and was current at that moment. An item that stays in the cache is
    /// returned once. Nothing is marked as read, and nothing is counted. Items whose checksum is invalid are left out.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = kennel::Options::new().capacity(1 << 20).create(dir.path().join("small"))?;
    /// # let large = kennel::Options::new().capacity(8 << 20).create(dir.path().join("large"))?;
    /// use kennel::{RestoreOptions, Restored};
    /// small.set("greeting", "hello")?;
    /// for item in small.hottest_first() {
    ///     assert_eq!(large.restore(&item, &RestoreOptions::new())?, Restored::Stored);
    /// }
    /// assert_eq!(large.get("greeting").as_deref(), Some(&b"hello"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hottest_first(&self) -> HottestFirst {
        let (opened, mut ranked) = (self.scanned(), Vec::new());
        if let Some(opened) = &opened {
            let stripes = 0..opened.geometry().shape.stripes;
            let trusted = stripes.filter(|&stripe| opened.store.distrust(stripe) != CrashState::Discard);
            trusted.for_each(|stripe| opened.store.rank_slots(stripe, &mut ranked));
        }
        ranked.sort_unstable();
        let (namespace, names) = (self.shared_namespace(), NamespaceNames::default());
        HottestFirst { opened, ranked, next: 0, namespace, names }
    }
}

impl HottestFirst {
    /// The item in the form that its caller gets; `None` for an item of another namespace.
    fn saved(&mut self, opened: &AttachedFile, item: SlotItem) -> Option<SavedItem> {
        let SlotItem { key, slot, copied } = item;
        let metadata = copied.extension.metadata();
        let name = self.names.name_of(opened, copied.extension)?;
        let key = match &self.namespace {
            None => key,
            Some(namespace) if name.as_deref() == Some(namespace.name()) => namespace.callers_key(key)?,
            Some(_) => return None,
        };
        let is_outdated = opened.store.is_outdated(copied.head, copied.extension);
        let soft_expires_ms = if is_outdated { STALE_SINCE_EVER } else { metadata.soft_expires_ms };
        Some(SavedItem {
            key,
            value: (!metadata.is_absence).then_some(copied.value),
            namespace: name,
            flags: metadata.flags,
            expires: moment(copied.head.expires_ms()),
            follows_reads: metadata.is_idle,
            soft_expires: moment(soft_expires_ms),
            created: moment(metadata.created_ms),
            cost: Duration::from_millis(metadata.cost_ms),
            ring: slot.ring(),
            marks: slot.marks() as u8,
            tags: metadata.tags.as_slice().to_vec(),
        })
    }

    /// Prefetches the memory that the next items need.
    fn prefetch(&self, opened: &AttachedFile) {
        let (store, buckets) = (&opened.store, opened.geometry().buckets);
        if let Some(slot) = self.ranked.get(self.next + BUCKETS_AHEAD) {
            let (stripe, bucket, _) = slot.place(buckets);
            store.mem.prefetch(opened.geometry().bucket(stripe, bucket));
        }
        if let Some(slot) = self.ranked.get(self.next + RECORDS_AHEAD) {
            let (stripe, bucket, word) = slot.place(buckets);
            store.prefetch_record(&store.slot_view(stripe, bucket, word));
        }
    }
}

/// The item of a slot. If its bucket stays half changed, its writer may be dead. In that case this locks the stripe,
/// which completes what the writer left unfinished.
fn item_of(opened: &AttachedFile, slot: RankedSlot) -> Option<SlotItem> {
    let (stripe, bucket, word) = slot.place(opened.geometry().buckets);
    let look = || {
        let view = opened.store.slot_view(stripe, bucket, word);
        opened.store.item_of_slot(&view, || opened.settings.time.now_ms())
    };
    let backoff = Backoff::new();
    for _ in 0..LOOKS {
        match look() {
            // An item for which there is no memory is left out.
            Look::Hit(item) => return item.ok(),
            Look::Miss => return None,
            Look::Changing => backoff.snooze(),
        }
    }
    match lock_for_read(opened, stripe) {
        Some(guard) => guard.settle_bucket(opened.geometry().bucket(stripe, bucket)),
        None if await_settled(opened) => {}
        None => return None,
    }
    match look() {
        Look::Hit(item) => item.ok(),
        Look::Miss | Look::Changing => None,
    }
}

impl fmt::Debug for HottestFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HottestFirst").field("left", &(self.ranked.len() - self.next)).finish_non_exhaustive()
    }
}

impl std::iter::FusedIterator for HottestFirst {}

impl Iterator for HottestFirst {
    type Item = SavedItem;

    fn next(&mut self) -> Option<SavedItem> {
        let opened = self.opened.clone()?;
        while let Some(&slot) = self.ranked.get(self.next) {
            self.prefetch(&opened);
            self.next += 1;
            let saved = item_of(&opened, slot).and_then(|item| self.saved(&opened, item));
            if saved.is_some() {
                return saved;
            }
        }
        None
    }

    /// The upper bound is the number of items that the iterator has not reached yet, of those that were there when it
    /// was made.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.ranked.len() - self.next))
    }
}
