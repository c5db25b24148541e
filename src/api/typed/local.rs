//! Near copies: decoded values that a process keeps, and checks against the cache before each use.

use super::codec::Codec;
use super::handle::Typed;
use super::near::{Near, NearKey};
use super::search::{End, Found};
use crate::api::cache::Cache;
use crate::api::create::{CreateOptions, CreatorOutput};
use crate::api::item::{Changed, ItemId};
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// How many decoded values a [`Local`] keeps in each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalOptions {
    items: usize,
    bytes: usize,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self { items: 1024, bytes: 16 << 20 }
    }
}

impl LocalOptions {
    /// Room for 1024 values, and for 16 MiB of keys and values in their stored form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The maximum number of values; default 1024. Each of up to 16 shards keeps an equal part of them, rounded up.
    #[must_use]
    pub fn items(mut self, items: usize) -> Self {
        self.items = items;
        self
    }

    /// The maximum size of all keys and values together, in bytes of their stored form; default 16 MiB. Decoded values
    /// often take more memory. The shards divide this size equally: with the default number of values, a value that
    /// takes more than a sixteenth of it is not kept.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

/// A [`Typed`] that decodes each value once per process and then shares it, made by [`Typed::local`]. It needs the
/// feature `typed`.
///
/// Every call checks whether the key still has the value that was decoded. So a call never returns an older value than
/// [`Typed::get`] would: after another process has replaced, deleted, invalidated or evicted a value, no process
/// returns it any more, and the processes exchange no messages for this. The check is a read of the cache that neither
/// copies nor decodes the value. It counts as a hit, and keeps the value from being evicted from the file.
///
/// Each process keeps its own values, and a forked child begins with none. Clones of a handle share their values.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// use kennel::{CreateOptions, LocalOptions};
/// use std::sync::Arc;
/// let rates = cache.typed::<Vec<f64>>().local(&LocalOptions::new());
/// let first = rates.get_or_create("rates", &CreateOptions::new(), || vec![1.08, 0.92])?;
/// let (second, third) = (rates.get("rates")?.unwrap(), rates.get("rates")?.unwrap());
/// assert!(first == second && Arc::ptr_eq(&second, &third));
/// // Another handle, such as one of another process.
/// cache.typed::<Vec<f64>>().set("rates", &vec![1.09, 0.91])?;
/// assert_eq!(rates.get("rates")?.as_deref(), Some(&vec![1.09, 0.91]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Local<T> {
    typed: Typed<T>,
    near: Arc<Near<T>>,
}

impl<T> Clone for Local<T> {
    fn clone(&self) -> Self {
        Self { typed: self.typed.clone(), near: self.near.clone() }
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("typed", &self.typed).field("len", &self.near.len()).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Typed<T> {
    /// This handle, with decoded values that each process keeps.
    #[must_use]
    pub fn local(&self, options: &LocalOptions) -> Local<T> {
        Local { typed: self.clone(), near: Arc::new(Near::new(options.items, options.bytes)) }
    }
}

impl<T: Serialize + DeserializeOwned> Local<T> {
    /// The handle from which this one was made. Use it for writes: this one only reads and creates.
    #[must_use]
    pub fn typed(&self) -> &Typed<T> {
        &self.typed
    }

    /// The value of a key; `None` is a miss.
    ///
    /// # Errors
    /// Those of [`Typed::get`], and [`NoMemory`](crate::Error::NoMemory).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Arc<T>>> {
        let key = key.as_ref();
        let near_key = self.near.key(key);
        let found = match self.near.find(near_key) {
            Some((id, value)) => match self.cache().get_if_changed(key, id)? {
                Some(Changed::Same { .. }) => return Ok(Some(value)),
                Some(Changed::New(item)) => Some(item),
                None => None,
            },
            None => self.cache().try_get_item(key)?,
        };
        let Some(item) = found else {
            self.near.forget(near_key);
            return Ok(None);
        };
        self.codec().check_type("read")?;
        let value = self.codec().decode(&item)?;
        Ok(Some(self.keep(near_key, item.id(), value, item.value.len())))
    }

    /// Returns the value of a key, which is created if the key has none of this type: see [`Typed::get_or_create`].
    ///
    /// The created value itself is not kept: the next call decodes the stored value, and keeps that.
    ///
    /// # Errors
    /// Those of [`Typed::get_or_create`].
    pub fn get_or_create<R: CreatorOutput<T>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<Arc<T>, R::Error> {
        let key = key.as_ref();
        if let Some(value) = self.fresh(key, how) {
            return Ok(value);
        }
        match self.typed.search(key, &how.for_value())? {
            End::Found(found) => Ok(self.keep_found(key, found)),
            End::Create(claim) => self.typed.created(claim, create).map(Arc::new),
            // A search with `needs_value` never ends with a remembered absence.
            End::Absent => create().into_result().map(Arc::new),
        }
    }

    /// Forgets the values that this process keeps.
    pub fn clear(&self) {
        self.near.clear();
    }

    fn cache(&self) -> &Cache {
        self.typed.cache()
    }

    fn codec(&self) -> &Codec<T> {
        &self.typed.codec
    }

    /// The value that this process keeps, if it is fresh and a caller with these options needs no more.
    pub(super) fn fresh(&self, key: &[u8], how: &CreateOptions) -> Option<Arc<T>> {
        if how.judges_age() {
            return None;
        }
        let (id, value) = self.near.find(self.near.key(key))?;
        self.cache().is_fresh(key, id).then_some(value)
    }

    pub(super) fn keep_found(&self, key: &[u8], Found { item, stored_len }: Found<T>) -> Arc<T> {
        self.keep(self.near.key(key), item.id(), item.value, stored_len)
    }

    fn keep(&self, key: NearKey<'_>, id: ItemId, value: T, stored_len: usize) -> Arc<T> {
        let value = Arc::new(value);
        self.near.put(key, id, value.clone(), stored_len);
        value
    }
}
