//! Typed values beside raw bytes: postcard, a compact binary form of whatever serde can serialize.

mod codec;
mod shape;
mod trace;
mod walk;

use super::cache::Cache;
#[cfg(feature = "tokio")]
use super::claim::Task;
use super::create::{Claim, CreateError, CreateOptions, Lookup, Remaining};
use super::item::{Item, Stamp};
use super::namespace::Namespace;
#[cfg(feature = "tokio")]
use super::tasks::run;
use super::write::{Scope, SetOptions};
use crate::error::Result;
use codec::{Codec, TAG};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// So many values with the right fingerprint that cannot be read, one after the other, end a call.
const MOST_UNREADABLE: u32 = 16;

/// A cache, or a namespace, whose values are of one type. It needs the feature `typed`.
///
/// A value is stored in the format of the crate postcard, behind a fingerprint of its type: the names and kinds of all its
/// parts, as serde sees them. What was stored by another type, or by another version of this one, is an error for
/// [`get`](Self::get); [`get_or_create`](Self::get_or_create) takes it for a miss and replaces it. Two programs that use
/// one key for two versions of a type replace each other's values in turn; give each version a namespace, or keys, of its own
/// if they run side by side for long. What the fingerprint cannot see, such as a number that changes from seconds to
/// milliseconds, say with [`version`](Self::version).
///
/// Some attributes of serde make types that postcard writes and can never read: `tag`, `untagged`, `flatten`,
/// `skip_serializing_if`. With such a type every call is an error that says so.
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
pub struct Typed<'a, T> {
    place: Place<'a>,
    codec: Codec<T>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Cache(&'a Cache),
    Namespace(&'a Namespace),
}

impl<'a> Place<'a> {
    fn item(self, key: &[u8]) -> Option<Item> {
        match self {
            Place::Cache(cache) => cache.get_item(key),
            Place::Namespace(namespace) => namespace.get_item(key),
        }
    }

    fn scope(self) -> Scope<'a> {
        match self {
            Place::Cache(cache) => cache.all(),
            Place::Namespace(namespace) => namespace.scope(),
        }
    }

    fn with_key<R>(self, key: &[u8], work: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Place::Cache(_) => work(key),
            Place::Namespace(namespace) => work(&namespace.stored_key(key)),
        }
    }
}

impl Cache {
    /// This cache with values of one type.
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<'_, T> {
        Typed { place: Place::Cache(self), codec: Codec::new() }
    }
}

impl Namespace {
    /// This namespace with values of one type.
    #[must_use]
    pub fn typed<T: Serialize + DeserializeOwned>(&self) -> Typed<'_, T> {
        Typed { place: Place::Namespace(self), codec: Codec::new() }
    }
}

impl<T> fmt::Debug for Typed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("type", &std::any::type_name::<T>()).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Typed<'_, T> {
    /// The same for a version of the type: values of other versions are those of another type. Without it the version is 0.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.codec = self.codec.version(version);
        self
    }

    /// The value of a key; `None` is a miss.
    ///
    /// # Errors
    /// [`Codec`](crate::Error::Codec) if it is no typed value, or none of this type.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        self.codec.check_type("read")?;
        self.place.item(key.as_ref()).map(|item| self.codec.decode(&item)).transpose()
    }

    /// Stores a value, as [`Cache::set`] does.
    ///
    /// # Errors
    /// As [`Cache::set`], and [`Codec`](crate::Error::Codec) if the value cannot be serialized, or not be read back.
    pub fn set(&self, key: impl AsRef<[u8]>, value: &T) -> Result<()> {
        self.set_with(key, value, &SetOptions::new()).map(|_| ())
    }

    /// Stores a value, as [`Cache::set_with`] does; the flags are those of typed values.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_with(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<Stamp> {
        let (bytes, how) = (self.codec.encode(value)?, how.flags(TAG));
        self.place.with_key(key.as_ref(), |key| self.place.scope().set(key, &bytes, &how))
    }

    /// The value of a key, created as by [`Cache::get_or_create`] if there is none, or none of this type. A value of
    /// another type stays where it is until the new one takes its place.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`], and [`Codec`](crate::Error::Codec) if the value cannot be serialized, or not be read back.
    pub fn get_or_create<E>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, CreateError<E>> {
        let mut search = Search::new(&self.codec, how)?;
        let scope = self.place.scope();
        let end = self.place.with_key(key.as_ref(), |key| {
            loop {
                let lookup = scope.claim_within(key, &search.how, &mut search.wait)?;
                if let Some(end) = search.judge(lookup)? {
                    return Ok(end);
                }
            }
        });
        match end.map_err(CreateError::Cache)? {
            End::Found(value) => Ok(value),
            End::Create(claim) => {
                let value = create().map_err(CreateError::Creator)?;
                if let Some(claim) = claim {
                    // What keeps the cache from storing it is counted there; the caller has its value.
                    let _ = claim.store(self.codec.encode(&value)?);
                }
                Ok(value)
            }
        }
    }
}

/// One caller's way to a value of a type, or to the right to create it.
struct Search<'c, T> {
    codec: &'c Codec<T>,
    how: CreateOptions,
    wait: Remaining,
    unreadable: u32,
}

/// What a search came to.
enum End<T> {
    Found(T),
    /// `None`: it is known that the key has no value, and what this caller creates is its own.
    Create(Option<Claim>),
}

impl<'c, T: Serialize + DeserializeOwned> Search<'c, T> {
    fn new(codec: &'c Codec<T>, how: &CreateOptions) -> Result<Self> {
        codec.check_type("serialize")?;
        let wait = Remaining::of(how.wait_policy());
        Ok(Self { codec, how: how.for_value().flags(TAG).form(codec.form()), wait, unreadable: 0 })
    }

    /// What a look found is the end of the search, or the next one takes this value for a miss. Values of other types have
    /// been misses for it already: looks compare the fingerprint, with the stripe's lock held in the end, and the value is
    /// decoded here, without a lock.
    fn judge(&mut self, lookup: Lookup) -> Result<Option<End<T>>> {
        let item = match lookup {
            Lookup::Hit(item) | Lookup::Stale(item) => item,
            Lookup::Absent => return Ok(Some(End::Create(None))),
            Lookup::Create(claim) => return Ok(Some(End::Create(Some(claim)))),
        };
        self.unreadable += 1;
        match self.codec.decode(&item) {
            Ok(value) => Ok(Some(End::Found(value))),
            Err(error) if self.unreadable > MOST_UNREADABLE => Err(error),
            Err(_) => {
                self.how = self.how.clone().form(self.codec.form().but(item.stamp));
                Ok(None)
            }
        }
    }
}

#[cfg(feature = "tokio")]
impl<T: Serialize + DeserializeOwned> Typed<'_, T> {
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
        let mut search = Search::new(&self.codec, how)?;
        let task = how.task_or(Task::unique);
        let (place, key) = self.place.with_key(key.as_ref(), |key| (self.place.of_tasks(), key.to_vec()));
        let mut attempts = place.attempts();
        let end = loop {
            let lookup = place.claim_within(&key, &search.how, task, &search.wait, &mut attempts).await?;
            if let Some(end) = search.judge(lookup)? {
                break end;
            }
        };
        match end {
            End::Found(value) => Ok(value),
            End::Create(claim) => {
                let value = run(task, create).await.map_err(CreateError::Creator)?;
                if let Some(claim) = claim {
                    let made = self.codec.encode(&value)?.into();
                    place.store(claim, Some(&made), &mut place.attempts()).await;
                }
                Ok(value)
            }
        }
    }
}

#[cfg(feature = "tokio")]
impl Place<'_> {
    fn of_tasks(self) -> super::tasks::Place {
        match self {
            Place::Cache(cache) => cache.place(),
            Place::Namespace(namespace) => namespace.place(),
        }
    }
}
