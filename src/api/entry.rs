//! Items without their values, for a look at what a cache holds that copies no values.

use super::cache::Cache;
use super::item::{Stamp, moment};
use super::namespace::Namespace;
use super::random;
use super::scan::{NamespaceNames, Scan, items_without_lock};
use crate::file::AttachedFile;
use crate::store::read::BucketItem;
use crate::store::record::mix;
use crate::store::slot::Ring;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;
use std::vec;

/// An item of a cache without its value: see [`Cache::sample`] and [`Cache::entries`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The caller's key on a handle with a namespace, else the stored key.
    pub key: Vec<u8>,
    /// The name of the item's namespace, if it has one.
    pub namespace: Option<Arc<str>>,
    /// The length of the value in bytes.
    pub value_len: u64,
    /// How many bytes of the capacity the item takes: its record, header included.
    pub record_len: u64,
    /// The flags that the caller gave to `set_with`; 0 by default.
    pub flags: u32,
    /// The stamp of the write that stored the item.
    pub stamp: Stamp,
    /// When the item expires, if it does.
    pub expires: Option<SystemTime>,
    /// When the item becomes stale, if it does.
    pub soft_expires: Option<SystemTime>,
    /// When the item was created, with a precision of 10 ms, if it is known: see [`Item::created`](crate::Item).
    pub created: Option<SystemTime>,
    /// The ring that holds the item.
    pub ring: Ring,
    /// How often the item was read since it came into its ring, at most 3.
    pub marks: u8,
    /// How many tags the item bears.
    pub tags: u8,
}

/// An iterator over the entries of a cache in arbitrary order: see [`Cache::entries`]. It reads one bucket at a time.
#[must_use = "an iterator reads nothing until it is used"]
pub struct Entries {
    scan: Scan,
    maker: Maker,
    found: vec::IntoIter<Entry>,
}

impl Cache {
    /// A scan of the file. It finds nothing if all reads of the file miss.
    pub(super) fn scan(&self) -> Scan {
        Scan::new(self.scanned())
    }

    pub(super) fn scanned(&self) -> Option<Arc<AttachedFile>> {
        self.readable().filter(|opened| !opened.is_foreign()).map(|opened| opened.clone())
    }

    /// The items of this handle's namespace, or without a namespace those of the whole file, without their values. The
    /// iterator is not a snapshot: [`keys`](Cache::keys) says which items it may return.
    pub fn entries(&self) -> Entries {
        Entries { scan: self.scan(), maker: Maker::new(self.shared_namespace()), found: Vec::new().into_iter() }
    }

    /// Calls `look` for each item in `buckets` buckets, which are chosen at random and spread evenly over the file.
    /// Returns the share of the file's buckets that were read, from 0 to 1; it is 0 if all reads of the file miss. A
    /// number counted in the sample, divided by this share, is an estimate for the whole file. In a full cache 4096
    /// buckets hold about 13 000 items; a proportion measured in them has an error of about half a percentage point. On
    /// a handle with a namespace, `look` gets only items of the namespace.
    ///
    /// Sampling locks nothing, marks nothing as read and counts nothing, so it does not disturb other callers. It
    /// leaves out a bucket that writers keep changing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(8 << 20).create(dir.path().join("cache"))?;
    /// # for i in 0..100 { cache.set(format!("key {i}"), vec![7; 100])?; }
    /// let (mut items, mut bytes) = (0, 0);
    /// let share = cache.sample(4096, |entry| {
    ///     items += 1;
    ///     bytes += entry.record_len;
    /// });
    /// println!("about {:.0} items of {} bytes", f64::from(items) / share, bytes / items.max(1) as u64);
    /// # assert!(share > 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sample(&self, buckets: u64, mut look: impl FnMut(&Entry)) -> f64 {
        let Some(opened) = self.scanned() else { return 0.0 };
        let per_stripe = opened.geometry().buckets;
        let all = per_stripe * u64::from(opened.geometry().shape.stripes);
        let wanted = buckets.min(all);
        let mut maker = Maker::new(self.shared_namespace());
        let (seed, mut read) = (random::number(), 0_u64);
        for i in 0..wanted {
            // The buckets are divided into sections of equal length, and one bucket is read from each.
            let edge = |i: u64| (u128::from(all) * u128::from(i) / u128::from(wanted)) as u64;
            let (start, end) = (edge(i), edge(i + 1));
            let bucket = start + mix(seed ^ i) % (end - start);
            let (stripe, bucket) = ((bucket / per_stripe) as u32, bucket % per_stripe);
            let Some(items) = items_without_lock(&opened, stripe, bucket) else { continue };
            read += 1;
            items.into_iter().filter_map(|item| maker.entry(&opened, item)).for_each(|entry| look(&entry));
        }
        read as f64 / all as f64
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("scan", &self.scan).finish_non_exhaustive()
    }
}

impl std::iter::FusedIterator for Entries {}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.found.next() {
                return Some(entry);
            }
            let (opened, items) = self.scan.next_bucket()?;
            let entries: Vec<_> = items.into_iter().filter_map(|item| self.maker.entry(opened, item)).collect();
            self.found = entries.into_iter();
        }
    }
}

/// Makes entries from items, and keeps the names of the namespaces that it has met.
struct Maker {
    /// The namespace whose items are shown; `None` for all items.
    namespace: Option<Arc<Namespace>>,
    names: NamespaceNames,
}

impl Maker {
    fn new(namespace: Option<Arc<Namespace>>) -> Self {
        Self { namespace, names: NamespaceNames::default() }
    }

    /// The entry of an item; `None` for an item of another namespace.
    fn entry(&mut self, opened: &AttachedFile, item: BucketItem) -> Option<Entry> {
        let BucketItem { key, slot, head, extension, value_len } = item;
        let name = self.names.name_of(opened, extension)?;
        let key = match &self.namespace {
            None => key,
            Some(namespace) if name.as_deref() == Some(namespace.name()) => namespace.callers_key(key)?,
            Some(_) => return None,
        };
        Some(Entry {
            key,
            namespace: name,
            value_len: value_len as u64,
            record_len: head.units() * 8,
            flags: extension.caller_flags(),
            stamp: Stamp(head.stamp),
            expires: moment(head.expires_ms()),
            soft_expires: moment(extension.soft_expires_ms()),
            created: moment(extension.metadata().created_ms),
            ring: slot.ring(),
            marks: slot.marks() as u8,
            tags: extension.tags.map_or(0, |tags| tags.tags().as_slice().len() as u8),
        })
    }
}
