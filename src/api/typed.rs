//! Typed values beside raw bytes: postcard, a compact binary form of whatever serde can serialize.

use super::cache::Cache;
use super::create::{CreateError, CreateOptions};
use super::read::Item;
use super::region::Region;
use super::write::{SetOptions, Stamp};
use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// The caller's flags of a typed value: they say how its bytes are to be read.
const TAG: u32 = u32::from_le_bytes(*b"post");

/// A cache, or a region, whose values are of one type. It needs the feature `typed`.
///
/// A value is stored in the format of the crate postcard, and the caller's flags say so. That format does not describe
/// itself: whoever changes the type in a way that old values cannot be read changes the keys, or the region, too. What
/// cannot be read as this type is an error for [`get`](Self::get), and created anew by
/// [`get_or_create`](Self::get_or_create).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// let points = cache.typed::<(i32, i32)>();
/// points.set("origin", &(0, 0))?;
/// assert_eq!(points.get("origin")?, Some((0, 0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Typed<'a, T> {
    place: Place<'a>,
    of: PhantomData<fn(T) -> T>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Cache(&'a Cache),
    Region(&'a Region),
}

impl Place<'_> {
    fn item(self, key: &[u8]) -> Option<Item> {
        match self {
            Place::Cache(cache) => cache.get_item(key),
            Place::Region(region) => region.get_item(key),
        }
    }

    /// Removes what cannot be read as a type: it is to be created anew.
    fn remove_misfit<T: DeserializeOwned>(self, key: &[u8]) -> Result<()> {
        if self.item(key).is_some_and(|item| decode::<T>(&item).is_err()) {
            match self {
                Place::Cache(cache) => cache.delete(key)?,
                Place::Region(region) => region.delete(key)?,
            };
        }
        Ok(())
    }
}

impl Cache {
    /// This cache with values of one type.
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<'_, T> {
        Typed { place: Place::Cache(self), of: PhantomData }
    }
}

impl Region {
    /// This region with values of one type.
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<'_, T> {
        Typed { place: Place::Region(self), of: PhantomData }
    }
}

/// Why a typed creation gave no value.
enum Trouble<E> {
    Creator(E),
    Codec(Error),
}

impl<T: Serialize + DeserializeOwned> Typed<'_, T> {
    /// The value of a key; `None` is a miss.
    ///
    /// # Errors
    /// [`Codec`](Error::Codec) if it is no typed value, or none of this type.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        self.place.item(key.as_ref()).map(|item| decode(&item)).transpose()
    }

    /// Stores a value, as [`Cache::set`] does.
    ///
    /// # Errors
    /// As [`Cache::set`], and [`Codec`](Error::Codec) if the value cannot be serialized.
    pub fn set(&self, key: impl AsRef<[u8]>, value: &T) -> Result<()> {
        self.set_with(key, value, &SetOptions::new()).map(|_| ())
    }

    /// Stores a value, as [`Cache::set_with`] does; the flags are those of typed values.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_with(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<Stamp> {
        let (bytes, how) = (encode(value)?, how.flags(TAG));
        match self.place {
            Place::Cache(cache) => cache.set_with(key, bytes, &how),
            Place::Region(region) => region.set_with(key, bytes, &how),
        }
    }

    /// The value of a key, created as by [`Cache::get_or_create`] if there is none, or none of this type.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`], and [`Codec`](Error::Codec) if the value cannot be serialized.
    pub fn get_or_create<E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, CreateError<E>> {
        let (key, how) = (key.as_ref(), how.clone().flags(TAG));
        self.place.remove_misfit::<T>(key)?;
        let mut own = None;
        let create = || {
            let value = create().map_err(Trouble::Creator)?;
            let bytes = encode(&value).map_err(Trouble::Codec)?;
            own = Some(value);
            Ok(bytes)
        };
        let found = match self.place {
            Place::Cache(cache) => cache.get_or_create(key, &how, create),
            Place::Region(region) => region.get_or_create(key, &how, create),
        };
        finished(found, own)
    }
}

#[cfg(feature = "tokio")]
impl<T: Serialize + DeserializeOwned + 'static> Typed<'_, T> {
    /// As [`get_or_create`](Self::get_or_create) for a task of tokio: see [`Cache::get_or_create_async`]. It needs the
    /// feature `tokio`, too.
    ///
    /// # Errors
    /// As [`get_or_create`](Self::get_or_create).
    pub async fn get_or_create_async<E, F: Future<Output = Result<T, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<T, CreateError<E>> {
        let (key, how) = (key.as_ref(), how.clone().flags(TAG));
        // Most find a value of the type, and need no other thread for that.
        let is_fit = |place: Place<'_>| place.item_at_once(key).is_some_and(|item| decode::<T>(&item).is_ok());
        if !is_fit(self.place) {
            self.remove_misfit_elsewhere(key.to_vec()).await?;
        }
        let mut own = None;
        let slot = &mut own;
        let create = || async move {
            let value = create().await.map_err(Trouble::Creator)?;
            let bytes = encode(&value).map_err(Trouble::Codec)?;
            *slot = Some(value);
            Ok(bytes)
        };
        let found = match self.place {
            Place::Cache(cache) => cache.get_or_create_async(key, &how, create).await,
            Place::Region(region) => region.get_or_create_async(key, &how, create).await,
        };
        finished(found, own)
    }

    async fn remove_misfit_elsewhere(&self, key: Vec<u8>) -> Result<()> {
        let (cache, region) = match self.place {
            Place::Cache(cache) => (cache.clone(), None),
            Place::Region(region) => (region.cache().clone(), Some(region.clone())),
        };
        let of = cache.clone();
        let remove = move || region.as_ref().map_or(Place::Cache(&of), Place::Region).remove_misfit::<T>(&key);
        cache.elsewhere(remove).await?
    }
}

#[cfg(feature = "tokio")]
impl Place<'_> {
    /// What is found without waiting for anybody.
    fn item_at_once(self, key: &[u8]) -> Option<Item> {
        let known = match self {
            Place::Cache(cache) => cache.known_at_once(key)?,
            Place::Region(region) => region.cache().known_at_once(&region.stored_key(key))?,
        };
        (!known.extension.is_absence()).then_some(known.item)
    }
}

/// What became of a creation, whose value this caller has if it was the creator.
fn finished<T: DeserializeOwned, E>(
    found: Result<Vec<u8>, CreateError<Trouble<E>>>,
    own: Option<T>,
) -> Result<T, CreateError<E>> {
    match (found, own) {
        (Ok(_), Some(own)) => Ok(own),
        (Ok(bytes), None) => Ok(from_bytes(&bytes)?),
        (Err(CreateError::Creator(Trouble::Creator(error))), _) => Err(CreateError::Creator(error)),
        (Err(CreateError::Creator(Trouble::Codec(error)) | CreateError::Cache(error)), _) => Err(error.into()),
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(|error| Error::Codec { what: "serialize", detail: error.to_string() })
}

fn decode<T: DeserializeOwned>(item: &Item) -> Result<T> {
    if item.flags == TAG {
        return from_bytes(&item.value);
    }
    let detail = format!("expected the caller's flags {TAG:#010x} of a typed value, found {:#010x}", item.flags);
    Err(Error::Codec { what: "read", detail })
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let failed = |detail: String| Error::Codec { what: "read", detail };
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(failed(format!("{} of {} bytes are left over", rest.len(), bytes.len()))),
        Err(error) => Err(failed(error.to_string())),
    }
}
