//! The handle for typed values.

use super::codec::{Codec, TAG};
use super::search::{End, Search};
use crate::api::cache::Cache;
use crate::api::create::{Claim, CreateOptions, CreatorOutput, Lookup};
use crate::api::item::{Item, Stamp};
use crate::api::set_options::SetOptions;
use crate::api::task::Task;
use crate::api::write::Swap;
use crate::clock::Expiry;
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// A [`Cache`], with or without a namespace, whose values are of one type. It needs the feature `typed`.
///
/// A value is stored in the format of the crate postcard, behind a fingerprint of its type: the names and kinds of all
/// its parts, as serde sees them. A value of another type, or of another version of this type, is an error for
/// [`get`](Self::get). For [`get_or_create`](Self::get_or_create) it is a miss, and the new value replaces it. If two
/// programs use one key for two versions of a type, each keeps replacing the other's values: if both run for long, give
/// each version its own keys or namespace. If a change does not show in the fingerprint, such as that of a number from
/// seconds to milliseconds, set a new [`version`](Self::version).
///
/// Some attributes of serde make types that postcard can write but never read: `tag`, `untagged`, `flatten`,
/// `skip_serializing_if`. With such a type every call fails with an error that says so.
///
/// Methods that do not depend on the type of the values, such as [`Cache::invalidate`] and [`Cache::lock`], are on
/// [`cache`](Self::cache).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// let points = cache.typed::<(i32, i32)>();
/// points.set("origin", &(0, 0))?;
/// assert_eq!(points.get("origin")?, Some((0, 0)));
/// assert!(cache.typed::<Vec<u8>>().get("origin").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Typed<T> {
    pub(super) cache: Cache,
    pub(super) codec: Codec<T>,
}

impl<T> Clone for Typed<T> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), codec: self.codec }
    }
}

impl<T> fmt::Debug for Typed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("of", &std::any::type_name::<T>()).field("cache", &self.cache).finish()
    }
}

impl Cache {
    /// This handle with values of one type.
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<T> {
        Typed { cache: self.clone(), codec: Codec::new() }
    }
}

impl<T: Serialize + DeserializeOwned> Typed<T> {
    /// This handle for another version of the type. Values of other versions count as values of other types. The
    /// default version is 0.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.codec = self.codec.version(version);
        self
    }

    /// The handle for raw bytes that this one was made from.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The value of a key; `None` is a miss.
    ///
    /// # Errors
    /// [`Codec`](crate::Error::Codec) if the key has a value that is not typed, or that has another type.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        self.codec.check_type("read")?;
        self.cache.get_flagged(key).map(|(flags, bytes)| self.codec.decode_flagged(flags, &bytes)).transpose()
    }

    /// The value of a key with its stamp and times.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Result<Option<Item<T>>> {
        self.decoded(self.cache.get_item(key))
    }

    /// The values of many keys, in the order of the keys: see [`Cache::get_multi`]. Each result may be an error of
    /// [`get`](Self::get).
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<T>>> {
        self.get_items(keys).into_iter().map(|item| Ok(item?.map(|item| item.value))).collect()
    }

    /// The values of many keys with their stamps and times, in the order of the keys: see [`Cache::get_items`]. Each
    /// result may be an error of [`get`](Self::get).
    #[must_use]
    pub fn get_items<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<Item<T>>>> {
        self.cache.get_items(keys).into_iter().map(|item| self.decoded(item)).collect()
    }

    /// Whether the key has a value, of whatever type: see [`Cache::contains`].
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache.contains(key)
    }

    /// Stores a value: see [`Cache::set`].
    ///
    /// # Errors
    /// Those of [`Cache::set`], and [`Codec`](crate::Error::Codec) if the value cannot be serialized, or cannot be read
    /// back.
    pub fn set(&self, key: impl AsRef<[u8]>, value: &T) -> Result<()> {
        self.set_with(key, value, &SetOptions::new()).map(|_| ())
    }

    /// Stores a value: see [`Cache::set_with`]. The flags in `how` are ignored, because typed values have flags of
    /// their own.
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub fn set_with(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<Stamp> {
        self.cache.set_with(key, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Stores many values, and returns the result of each, in the order of the items: see [`Cache::set_multi`].
    #[must_use = "each item is stored, or not, by itself"]
    pub fn set_multi<K: AsRef<[u8]>>(&self, items: &[(K, T)], how: &SetOptions) -> Vec<Result<()>> {
        let encoded = self.codec.encode_all(items);
        let stored = self.cache.set_multi(&encoded.items, &how.flags(TAG));
        encoded.outcomes(stored)
    }

    /// Stores a value if the key has none. Returns `false` if it has one, of whatever type: see [`Cache::add`].
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub fn add(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<bool> {
        self.cache.add(key, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Stores a value if the key has one, of whatever type. Returns `false` if it has none: see [`Cache::replace`].
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub fn replace(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<bool> {
        self.cache.replace(key, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Stores a value if the key's value still has this stamp: see [`Cache::compare_and_swap`].
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub fn compare_and_swap(&self, key: impl AsRef<[u8]>, stamp: Stamp, value: &T, how: &SetOptions) -> Result<Swap> {
        self.cache.compare_and_swap(key, stamp, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Changes when a key expires: see [`Cache::touch`].
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        self.cache.touch(key, expiry)
    }

    /// Removes a key, whatever the type of its value: see [`Cache::delete`].
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.cache.delete(key)
    }

    /// Removes a key if its value still has this stamp: see [`Cache::compare_and_delete`].
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub fn compare_and_delete(&self, key: impl AsRef<[u8]>, stamp: Stamp) -> Result<bool> {
        self.cache.compare_and_delete(key, stamp)
    }

    /// Removes a key and returns its item: see [`Cache::take`].
    ///
    /// # Errors
    /// Those of [`Cache::take`], and [`Codec`](crate::Error::Codec) for a value of another type, which is also removed.
    pub fn take(&self, key: impl AsRef<[u8]>) -> Result<Option<Item<T>>> {
        self.decoded(self.cache.take(key)?)
    }

    /// Changes when a key expires, and returns its item: see [`Cache::get_and_touch`].
    ///
    /// # Errors
    /// Those of [`Cache::get_and_touch`], and [`Codec`](crate::Error::Codec) for a value of another type, whose expiry
    /// is also changed.
    pub fn get_and_touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<Option<Item<T>>> {
        self.decoded(self.cache.get_and_touch(key, expiry)?)
    }

    /// Returns the value of a key, which is created if the key has none of this type: see [`Cache::get_or_create`]. A
    /// value of another type stays in the cache until the new one replaces it.
    ///
    /// # Errors
    /// Those of [`Cache::get_or_create`], and [`Codec`](crate::Error::Codec) if the value cannot be serialized, or
    /// cannot be read back.
    pub fn get_or_create<R: CreatorOutput<T>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<T, R::Error> {
        let key = key.as_ref();
        if let Some(value) = self.at_hand(key, how, how.background)? {
            return Ok(value);
        }
        match self.search(key, &how.for_value())? {
            End::Found(found) => Ok(found.item.value),
            End::Create(claim) => self.created(claim, create),
            // A search with `needs_value` never ends with a remembered absence.
            End::Absent => create().into_result(),
        }
    }

    /// [`get_or_create`](Self::get_or_create) for a key that may have no value: see [`Cache::get_or_create_optional`].
    ///
    /// # Errors
    /// Those of [`get_or_create`](Self::get_or_create).
    pub fn get_or_create_optional<R: CreatorOutput<Option<T>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<Option<T>, R::Error> {
        let key = key.as_ref();
        if let Some(value) = self.at_hand(key, how, how.background)? {
            return Ok(Some(value));
        }
        match self.search(key, how)? {
            End::Found(found) => Ok(Some(found.item.value)),
            End::Absent => Ok(None),
            End::Create(claim) => match create().into_result() {
                Ok(made) => {
                    let _ = match &made {
                        Some(value) => claim.store(self.codec.encode(value)?),
                        None => claim.store_absence(),
                    };
                    Ok(made)
                }
                Err(error) => self.instead_of(error, claim).map(Some),
            },
        }
    }

    /// [`get_or_create`](Self::get_or_create), but every caller gets a stale value immediately, while a new thread creates
    /// the next one: see [`Cache::get_or_refresh`].
    ///
    /// # Errors
    /// Those of [`get_or_create`](Self::get_or_create).
    pub fn get_or_refresh<R: CreatorOutput<T>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R + Send + 'static,
    ) -> Result<T, R::Error>
    where
        T: 'static,
    {
        let key = key.as_ref();
        if let Some(value) = self.at_hand(key, how, true)? {
            return Ok(value);
        }
        let task = how.task_or(Task::unique);
        match self.search(key, &how.for_refresh().task(task))? {
            End::Found(found) => Ok(found.item.value),
            End::Absent => create().into_result(),
            End::Create(claim) => match claim.stale().and_then(|stale| self.codec.decode(stale).ok()) {
                Some(stale) => {
                    let typed = self.clone();
                    let work = move || task.run(|| typed.created(claim, create).map(drop));
                    // If no thread can be started, the claim is dropped, and another caller creates the value.
                    let _ = std::thread::Builder::new().name("kennel-refresh".into()).spawn(move || drop(work()));
                    Ok(stale)
                }
                None => task.run(|| self.created(claim, create)),
            },
        }
    }

    /// The value of a key, if this caller uses it as it is.
    fn at_hand(&self, key: &[u8], how: &CreateOptions, in_background: bool) -> Result<Option<T>> {
        self.codec.check_type("serialize")?;
        let form = Some(self.codec.form());
        let found = self.cache.with_stored_key(key, |key| self.cache.item_at_hand(key, how, form, in_background));
        Ok(match found {
            Some(Lookup::Hit(item) | Lookup::Stale(item)) => self.codec.decode(&item).ok(),
            _ => None,
        })
    }

    pub(super) fn decoded(&self, item: Option<Item>) -> Result<Option<Item<T>>> {
        self.codec.check_type("read")?;
        item.map(|item| Ok(item.with_value(self.codec.decode(&item)?))).transpose()
    }

    pub(super) fn search(&self, key: &[u8], how: &CreateOptions) -> Result<End<T>> {
        let mut search = Search::new(&self.codec, how)?;
        let mut caller = self.cache.caller(how);
        self.cache.with_stored_key(key, |key| {
            loop {
                let lookup = self.cache.claim_stored(key, &search.how, &mut caller)?;
                if let Some(end) = search.judge(lookup)? {
                    return Ok(end);
                }
            }
        })
    }

    /// Runs a creator and stores what it made. A failure to store is counted and not returned, because the caller has
    /// its value. If the value cannot be encoded, this is an error, and the next waiter creates the value.
    pub(super) fn created<R: CreatorOutput<T>>(&self, claim: Claim, create: impl FnOnce() -> R) -> Result<T, R::Error> {
        match create().into_result() {
            Ok(value) => {
                let _ = claim.store(self.codec.encode(&value)?);
                Ok(value)
            }
            Err(error) => self.instead_of(error, claim),
        }
    }

    /// Reports that the creator failed. Returns the stale value instead of the creator's error, if the options allow
    /// it.
    pub(super) fn instead_of<E>(&self, error: E, claim: Claim) -> Result<T, E> {
        claim.fail().and_then(|stale| self.codec.decode(&stale).ok()).ok_or(error)
    }
}
