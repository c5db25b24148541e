//! Writes that change an item's value or its key and keep the rest: expiry, soft expiry, flags, and tags with their
//! age. A caller cannot do this with other writes, since the file does not know the names of tags.

use super::acquire::EpochSnapshot;
use super::cache::Cache;
use super::item::Stamp;
use super::write::Swap;
use super::writer::{Writer, check_size, metadata_of};
use crate::error::Result;
use crate::store::record::{Metadata, NewRecord};

impl Cache {
    /// Replaces the value of a key if the key still has the value with this stamp, as [`get_item`](Cache::get_item)
    /// returns it. The item keeps its expiry, its soft expiry, its flags, and its tags with their age, as with
    /// [`incr`](Cache::incr). [`compare_and_swap`](Cache::compare_and_swap) replaces them, too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{Invalidation, SetOptions, Swap};
    /// cache.set_with("votes:7", "[1]", &SetOptions::new().tags(&["poll:7"]))?;
    /// let item = cache.get_item("votes:7").expect("it was just stored");
    /// assert!(matches!(cache.swap_value("votes:7", item.stamp, "[1, 2]")?, Swap::Stored(_)));
    /// cache.invalidate_tags(&["poll:7"], Invalidation::Hard)?;
    /// assert_eq!(cache.get("votes:7"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set), and [`NoMemory`](crate::Error::NoMemory).
    pub fn swap_value(&self, key: impl AsRef<[u8]>, stamp: Stamp, value: impl AsRef<[u8]>) -> Result<Swap> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.swap_value_stored(key, stamp, value.as_ref())))
    }

    /// Moves an item to another key, with its expiry, its soft expiry, its flags, and its tags with their age. Returns
    /// whether the old key had an item. An item that the new key had is replaced.
    ///
    /// For a moment both keys have the value. If another caller writes the old key meanwhile, its new value stays
    /// there. If another caller deletes the old key meanwhile, the new key has the value all the same, as if the item
    /// had been moved before.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// cache.set("draft", "Tea")?;
    /// assert!(cache.rename("draft", "page")?);
    /// assert_eq!((cache.get("draft"), cache.get("page").as_deref()), (None, Some(&b"Tea"[..])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set), and [`NoMemory`](crate::Error::NoMemory).
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        self.with_stored_key(from.as_ref(), |from| {
            self.with_stored_key(to.as_ref(), |to| self.while_open(|| self.rename_stored(from, to)))
        })
    }

    fn swap_value_stored(&self, key: &[u8], stamp: Stamp, value: &[u8]) -> Result<Swap> {
        let file = self.current()?;
        let writer = Writer::new(&file, self.in_namespace(), key, self.lock_wait())?;
        writer.with_stripe(|guard| {
            let mut epochs = guard.epochs_now(writer.namespace);
            let Some((entry, copied)) = writer.current(guard)? else { return Ok(Swap::Absent) };
            if entry.head.stamp != stamp.0 {
                return Ok(Swap::Changed);
            }
            guard.mark(&entry);
            // A record of a namespace other than the handle's keeps the epoch of its own namespace.
            if copied.extension.namespace() != writer.namespace.number() {
                epochs.namespace = copied.extension.namespace_epoch();
            }
            let draft = NewRecord::new(writer.key, value, guard.expiry_after_use(&entry), metadata_of(&copied));
            check_size(writer.opened, &draft)?;
            Ok(Swap::Stored(Stamp(guard.put(&draft, Some(&entry), epochs))))
        })?
    }

    fn rename_stored(&self, from: &[u8], to: &[u8]) -> Result<bool> {
        let file = self.current()?;
        let source = Writer::new(&file, self.in_namespace(), from, self.lock_wait())?;
        let target = Writer::new(&file, self.in_namespace(), to, self.lock_wait())?;
        // Loaded before the look at the value, so that an invalidation from here on covers the new item, too.
        let began = EpochSnapshot::now(&file, target.namespace);
        let Some((entry, copied)) = source.with_stripe(|guard| source.current(guard))?? else { return Ok(false) };
        if from == to {
            return Ok(true);
        }
        let metadata =
            metadata_of(&copied).map(|metadata| Metadata { namespace: target.namespace.number(), ..metadata });
        let draft = NewRecord::new(target.key, &copied.value, entry.head.expires_ms(), metadata);
        check_size(target.opened, &draft)?;
        target.with_stripe_to_put(|guard| {
            let epochs = guard.epochs_for(began.epochs, began.namespace);
            let replaced = guard.find_in(target.location.bucket_at, &target.key);
            guard.put(&draft, replaced.as_ref(), epochs);
        })?;
        self.delete_stored_if(from, Stamp(entry.head.stamp))?;
        Ok(true)
    }
}
