//! Reads that also change their key: `take` and `get_and_touch`. Both lock the key's stripe, so that no other caller
//! changes the key between the read and the change.

use super::cache::Cache;
use super::count::count_read;
use super::item::{Item, Known};
use super::namespace::Namespace;
use super::writer::Writer;
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::shm::mapping::Mapping;
use crate::store::copied::Copied;
use crate::store::find::Entry;
use crate::store::stripe_guard::StripeGuard;
use std::time::{Duration, UNIX_EPOCH};

impl Cache {
    /// Removes a key and returns its item; `None` if the key had no value. Of several callers that take the same value,
    /// exactly one gets it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// cache.set("ticket", "7")?;
    /// assert_eq!(cache.take("ticket")?.map(|item| item.value).as_deref(), Some(&b"7"[..]));
    /// assert_eq!(cache.take("ticket")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set), and [`NoMemory`](Error::NoMemory); then the value stays.
    pub fn take(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.take_stored(key)))
    }

    /// Changes when a key expires, and returns its item with the new expiry; `None` if the key has no value. It acts
    /// like a [`touch`](Cache::touch) and a [`get_item`](Cache::get_item) with nothing in between.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// # use kennel::Expiry;
    /// # use std::time::Duration;
    /// cache.set("session", "user 7")?;
    /// let session = cache.get_and_touch("session", Expiry::After(Duration::from_secs(1200)))?;
    /// assert!(session.is_some_and(|item| item.value == b"user 7" && item.expires.is_some()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`set`](Cache::set), and [`NoMemory`](Error::NoMemory); then the expiry stays.
    pub fn get_and_touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<Option<Item>> {
        self.with_stored_key(key.as_ref(), |key| self.while_open(|| self.get_and_touch_stored(key, expiry)))
    }

    fn take_stored(&self, key: &[u8]) -> Result<Option<Item>> {
        let file = self.current()?;
        let writer = Writer::new(&file, None, key, self.lock_wait)?;
        let taken: Result<Option<Copied>> = writer.with_stripe(|guard| {
            let entry = guard.find_in(writer.location.bucket_at, &writer.key);
            let copied = copied(&writer, guard, entry.as_ref())?;
            guard.void(&writer.key);
            match &entry {
                Some(entry) => guard.remove(entry),
                None => guard.note_deletion(&writer.key),
            }
            Ok(copied)
        })?;
        Ok(item(&writer, self.in_namespace(), taken?))
    }

    fn get_and_touch_stored(&self, key: &[u8], expiry: Expiry) -> Result<Option<Item>> {
        let file = self.current()?;
        let writer = Writer::new(&file, None, key, self.lock_wait)?;
        let expires_ms = expiry.to_ms(|| writer.opened.settings.time.now_ms());
        let touched: Result<Option<Copied>> = writer.with_stripe(|guard| {
            let entry = guard.find_in(writer.location.bucket_at, &writer.key);
            let copied = copied(&writer, guard, entry.as_ref())?;
            if let (Some(entry), Some(_)) = (&entry, &copied) {
                guard.touch(entry, expires_ms);
                guard.mark(entry);
            }
            Ok(copied)
        })?;
        let item = item(&writer, self.in_namespace(), touched?);
        let expires = (expires_ms != 0).then(|| UNIX_EPOCH + Duration::from_millis(expires_ms));
        Ok(item.map(|item| Item { expires, ..item }))
    }
}

/// A private copy of a key's entry, if a read would return it.
fn copied(writer: &Writer<'_, '_>, guard: &StripeGuard<'_, Mapping>, entry: Option<&Entry>) -> Result<Option<Copied>> {
    let Some(entry) = entry.filter(|entry| guard.is_seen(entry, false)) else { return Ok(None) };
    let verify = writer.opened.settings.verify_reads;
    guard.copied(&writer.key, entry, verify, false).map_err(Error::no_memory(entry.value_len))
}

/// The item of a copy. Counts one hit or miss. The lock has been released, because the clock may be the caller's code.
fn item(writer: &Writer<'_, '_>, namespace: Option<&Namespace>, copied: Option<Copied>) -> Option<Item> {
    let opened = writer.opened;
    count_read(opened, namespace, copied.is_some());
    copied.map(|copied| Known::of(&opened.store, copied, &opened.settings.time).item)
}
