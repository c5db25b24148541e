//! Storing saved items, which come from a dump or from another cache file.

use super::cache::Cache;
use super::namespace::{Namespace, NamespaceOptions};
use super::saved::SavedItem;
use super::writer::{Writer, check_size};
use crate::clock::{Expiry, milliseconds};
use crate::error::Result;
use crate::shm::mapping::Mapping;
use crate::store::NamespaceId;
use crate::store::find::Entry;
use crate::store::record::{Metadata, NewRecord};
use crate::store::restore::Heat;
use crate::store::stripe_guard::StripeGuard;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::SystemTime;

/// Which items [`Cache::restore`] stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    replace: bool,
    evict: bool,
}

impl RestoreOptions {
    /// Stores only items whose keys the cache does not hold, and only where there is room.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a saved item replaces the item that the cache holds for its key. By default the cache's item is kept,
    /// because it is newer.
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Whether a saved item for which there is no room is stored like a new one, so that other items are evicted. By
    /// default it is not stored.
    #[must_use]
    pub fn evict(mut self, evict: bool) -> Self {
        self.evict = evict;
        self
    }
}

/// The outcome of [`Cache::restore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub enum Restored {
    /// The item was stored.
    Stored,
    /// The cache holds an item for the key, which was kept; nothing was stored.
    Kept,
    /// The item has expired; nothing was stored.
    Expired,
    /// There is no room without an eviction; nothing was stored.
    NoRoom,
}

/// A saved item on its way into the file.
struct Incoming<'i> {
    key: Cow<'i, [u8]>,
    value: &'i [u8],
    home: Home<'i>,
    expires: Option<SystemTime>,
    created: Option<SystemTime>,
    metadata: Metadata,
    heat: Heat,
}

/// To which part of the file an item belongs.
#[derive(Clone, Copy)]
enum Home<'i> {
    File,
    Namespace(&'i Namespace),
    /// A name that no namespace can have.
    Nowhere(&'i str),
}

/// What is written under the stripe's lock.
struct Draft<'i> {
    record: NewRecord<'i>,
    namespace: NamespaceId,
    heat: Heat,
}

impl Cache {
    /// Stores an item that was saved from a file, usually from another one, with its expiry, creation time and flags.
    /// On a handle with a namespace it becomes an item of this namespace. On a handle without one, its key is a stored
    /// key, and a namespace that the item names is added to the file if needed.
    ///
    /// The item counts as written now, so earlier invalidations of this file do not cover it. A creation time in the
    /// future is replaced by the present. If a caller is creating the key's value, that value will replace the item;
    /// but with [`RestoreOptions::replace`] the created value is not stored, as after a [`set`](Cache::set).
    ///
    /// By default the file loses nothing: the items that it holds are kept, and a saved item is stored only where there
    /// is room, or where expired or invalidated items leave room. See [`hottest_first`](Cache::hottest_first) for an
    /// example.
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set) and of [`namespace`](Cache::namespace).
    pub fn restore<B: AsRef<[u8]>>(&self, item: &SavedItem<B>, how: &RestoreOptions) -> Result<Restored> {
        // One item has one result.
        self.restore_multi(std::slice::from_ref(item), how).pop().unwrap_or(Ok(Restored::NoRoom))
    }

    /// Restores many items, one by one, and returns the result of each, in the order of the items. The cost is like
    /// that of [`set_multi`](Self::set_multi).
    #[must_use = "each item is stored, or not, by itself"]
    pub fn restore_multi<B: AsRef<[u8]>>(&self, items: &[SavedItem<B>], how: &RestoreOptions) -> Vec<Result<Restored>> {
        let namespaces = namespaces_of(items);
        let incoming: Vec<_> = items.iter().map(|item| self.incoming(item, &namespaces)).collect();
        self.write_multi(
            None,
            &incoming,
            |item| &*item.key,
            |writer, _, item, locks| match self.draft(writer, item)? {
                None => Ok(Restored::Expired),
                Some(draft) => {
                    locks.with_stripe(writer.opened, writer.stripe(), |guard| restore_in(guard, writer, &draft, *how))
                }
            },
            |writer, item| self.draft(writer, item),
            |writer, guard, draft| match draft {
                None => Restored::Expired,
                Some(draft) => restore_in(guard, writer, draft, *how),
            },
        )
    }

    /// Takes an item apart. The caller's code runs here, before the first lock is taken.
    fn incoming<'i, B: AsRef<[u8]>>(
        &'i self,
        item: &'i SavedItem<B>,
        namespaces: &'i HashMap<&str, Namespace>,
    ) -> Incoming<'i> {
        let key = item.key.as_ref();
        let (key, home) = match (self.in_namespace(), item.namespace.as_deref()) {
            (Some(namespace), _) => (Cow::Owned(namespace.stored_key(key)), Home::Namespace(namespace)),
            (None, None) => (Cow::Borrowed(key), Home::File),
            (None, Some(name)) => {
                (Cow::Borrowed(key), namespaces.get(name).map_or(Home::Nowhere(name), Home::Namespace))
            }
        };
        let metadata = Metadata {
            flags: item.flags,
            soft_expires_ms: item.soft_expires.map_or(0, |time| Expiry::At(time).to_ms(|| 0)),
            cost_ms: u64::try_from(item.cost.as_millis()).unwrap_or(u64::MAX),
            is_absence: item.value.is_none(),
            is_idle: item.follows_reads && item.expires.is_some(),
            tags: item.tags.iter().copied().collect(),
            ..Metadata::default()
        };
        Incoming {
            key,
            value: item.value.as_ref().map(AsRef::as_ref).unwrap_or_default(),
            home,
            expires: item.expires,
            created: item.created,
            metadata,
            heat: Heat { ring: item.ring, marks: item.marks },
        }
    }

    /// The record of an item; `None` if it has expired.
    fn draft<'i>(&self, writer: &Writer<'_, 'i>, item: &'i Incoming<'_>) -> Result<Option<Draft<'i>>> {
        let time = &writer.opened.settings.time;
        let expires_ms = item.expires.map_or(0, |expires| Expiry::At(expires).to_ms(|| 0));
        if expires_ms != 0 && expires_ms <= time.now_ms() {
            return Ok(None);
        }
        let namespace = match item.home {
            Home::File => NamespaceId::NONE,
            Home::Namespace(namespace) => namespace.in_file(writer.opened, self.lock_wait)?.0,
            Home::Nowhere(name) => {
                Namespace::new(name, &NamespaceOptions::new())?.in_file(writer.opened, self.lock_wait)?.0
            }
        };
        let created_ms = item.created.map_or(0, |created| milliseconds(created).min(time.now_ms()));
        let tag_clock = if item.metadata.tags.is_empty() { 0 } else { writer.opened.store.tag_clock() };
        let metadata = Metadata { namespace: namespace.number(), created_ms, tag_clock, ..item.metadata };
        // A record that had an extension only for its creation time keeps the extension.
        let metadata = if created_ms == 0 { metadata.if_any() } else { Some(metadata) };
        let record = NewRecord::new(writer.key, item.value, expires_ms, metadata);
        check_size(writer.opened, &record)?;
        Ok(Some(Draft { record, namespace, heat: item.heat }))
    }
}

/// The namespaces that items name, without names that no namespace can have.
fn namespaces_of<B>(items: &[SavedItem<B>]) -> HashMap<&str, Namespace> {
    let mut namespaces = HashMap::new();
    for name in items.iter().filter_map(|item| item.namespace.as_deref()) {
        if !namespaces.contains_key(name)
            && let Ok(namespace) = Namespace::new(name, &NamespaceOptions::new())
        {
            namespaces.insert(name, namespace);
        }
    }
    namespaces
}

fn restore_in(
    guard: &mut StripeGuard<'_, Mapping>,
    writer: &Writer<'_, '_>,
    draft: &Draft<'_>,
    how: RestoreOptions,
) -> Restored {
    let epochs = guard.epochs_now(draft.namespace);
    let entry = guard.find_in(writer.location.bucket_at, &writer.key);
    if !how.replace && entry.is_some_and(|entry| is_item(guard, writer, &entry)) {
        return Restored::Kept;
    }
    if how.evict {
        guard.restore_by_eviction(&draft.record, entry.as_ref(), epochs, draft.heat);
    } else if !guard.restore(&draft.record, entry.as_ref(), epochs, draft.heat) {
        return Restored::NoRoom;
    }
    if how.replace {
        // As with `set`: if a caller is creating the key's value, that value is not stored.
        guard.void(&writer.key);
    }
    Restored::Stored
}

/// Whether the cache holds a value for the key, or remembers that there is none.
fn is_item(guard: &StripeGuard<'_, Mapping>, writer: &Writer<'_, '_>, entry: &Entry) -> bool {
    let verify = writer.opened.settings.verify_reads;
    guard.is_seen(entry, true) && (!verify || matches!(guard.copied(&writer.key, entry, true, true), Ok(Some(_))))
}
