//! Typed values beside raw bytes: postcard, a compact binary form of whatever serde can serialize.

mod codec;
mod shape;
mod trace;
mod walk;

#[cfg(feature = "tokio")]
use super::async_cache::run;
use super::cache::Cache;
use super::claim::Task;
use super::create::{Claim, CreateOptions, CreatorOutput, Lookup, Remaining};
use super::item::{Item, Stamp};
use super::set_options::SetOptions;
use super::write::Swap;
use crate::clock::Expiry;
use crate::error::Result;
use codec::{Codec, TAG};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// So many values with the right fingerprint that cannot be decoded, one after the other, end a call.
const MOST_UNREADABLE: u32 = 16;

/// A [`Cache`], with or without a namespace, whose values are of one type. It needs the feature `typed`.
///
/// A value is stored in the format of the crate postcard, behind a fingerprint of its type: the names and kinds of all its
/// parts, as serde sees them. A value of another type, or of another version of this one, is an error for
/// [`get`](Self::get); [`get_or_create`](Self::get_or_create) takes it for a miss and replaces it. Two programs that use
/// one key for two versions of a type replace each other's values in turn: give each version a namespace, or keys, of its
/// own if both run for long. What the fingerprint cannot see, such as a number that changes from seconds to
/// milliseconds, say with [`version`](Self::version).
///
/// Some attributes of serde make types that postcard writes and can never read: `tag`, `untagged`, `flatten`,
/// `skip_serializing_if`. With such a type every call is an error that says so.
///
/// What does not depend on the type of the values, such as [`Cache::invalidate`] or [`Cache::lock`], is on
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
    cache: Cache,
    codec: Codec<T>,
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
    /// The same handle for a version of the type: values of other versions are those of another type. By default the
    /// version is 0.
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
    /// [`Codec`](crate::Error::Codec) if the key has a value that is not typed, or one of another type.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        self.codec.check_type("read")?;
        self.cache.get_item(key).map(|item| self.codec.decode(&item)).transpose()
    }

    /// The value of a key with its stamp and times.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Result<Option<Item<T>>> {
        self.codec.check_type("read")?;
        self.cache.get_item(key).map(|item| Ok(item.with_value(self.codec.decode(&item)?))).transpose()
    }

    /// The values of many keys, in their order: see [`Cache::get_multi`]. Each may be an error, as of [`get`](Self::get).
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<T>>> {
        let items = self.cache.get_items(keys).into_iter();
        let decode = |item: Option<Item>| {
            self.codec.check_type("read")?;
            item.map(|item| self.codec.decode(&item)).transpose()
        };
        items.map(decode).collect()
    }

    /// Whether the key has a value, of whatever type: see [`Cache::contains`].
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache.contains(key)
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
        self.cache.set_with(key, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Stores many values, as [`Cache::set_multi`] does; the outcome of each, in their order.
    #[must_use = "each item is stored, or not, by itself"]
    pub fn set_multi<K: AsRef<[u8]>>(&self, items: &[(K, T)], how: &SetOptions) -> Vec<Result<()>> {
        let encoded: Vec<_> = items.iter().map(|(_, value)| self.codec.encode(value)).collect();
        let valid = items.iter().zip(&encoded).filter_map(|((key, _), value)| Some((key, value.as_ref().ok()?)));
        let mut stored = self.cache.set_multi(&valid.collect::<Vec<_>>(), &how.flags(TAG)).into_iter();
        // A value that was encoded has its outcome among those stored.
        encoded.into_iter().map(|value| value.and_then(|_| stored.next().unwrap_or(Ok(())))).collect()
    }

    /// Stores a value if the key has none, as [`Cache::add`] does; `false` if it has one, of whatever type.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn add(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<bool> {
        self.cache.add(key, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Stores a value if the key has one, of whatever type, as [`Cache::replace`] does; `false` if it has none.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn replace(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<bool> {
        self.cache.replace(key, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Stores a value if the key's value is still the one with this stamp, as [`Cache::compare_and_swap`] does.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn compare_and_swap(&self, key: impl AsRef<[u8]>, stamp: Stamp, value: &T, how: &SetOptions) -> Result<Swap> {
        self.cache.compare_and_swap(key, stamp, self.codec.encode(value)?, &how.flags(TAG))
    }

    /// Changes when a key expires: see [`Cache::touch`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        self.cache.touch(key, expiry)
    }

    /// Removes a key, whatever the type of its value: see [`Cache::delete`].
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.cache.delete(key)
    }

    /// The value of a key, created as by [`Cache::get_or_create`] if there is none, or none of this type. A value of
    /// another type stays where it is until the new one takes its place.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`], and [`Codec`](crate::Error::Codec) if the value cannot be serialized, or not be read back.
    pub fn get_or_create<R: CreatorOutput<T>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<T, R::Error> {
        match self.search(key.as_ref(), &how.for_value())? {
            End::Found(value) => Ok(value),
            End::Absent => create().into_result(),
            End::Create(claim) => {
                let value = create().into_result()?;
                self.store(claim, &value)?;
                Ok(value)
            }
        }
    }

    /// As [`get_or_create`](Self::get_or_create), for a key that may have no value: see
    /// [`Cache::get_or_create_optional`].
    ///
    /// # Errors
    /// As [`get_or_create`](Self::get_or_create).
    pub fn get_or_create_optional<R: CreatorOutput<Option<T>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<Option<T>, R::Error> {
        match self.search(key.as_ref(), how)? {
            End::Found(value) => Ok(Some(value)),
            End::Absent => Ok(None),
            End::Create(claim) => {
                let made = create().into_result()?;
                match &made {
                    Some(value) => self.store(claim, value)?,
                    // As with a value: the caller knows, and what keeps the cache from storing it is counted.
                    None => drop(claim.store_absence()),
                }
                Ok(made)
            }
        }
    }

    /// As [`get_or_create`](Self::get_or_create), but a stale value is returned to its creator, too, while a thread of its
    /// own creates the new one: see [`Cache::get_or_refresh`].
    ///
    /// # Errors
    /// As [`get_or_create`](Self::get_or_create).
    pub fn get_or_refresh<R: CreatorOutput<T>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R + Send + 'static,
    ) -> Result<T, R::Error>
    where
        T: 'static,
    {
        let task = how.task_or(Task::unique);
        match self.search(key.as_ref(), &how.for_refresh().task(task))? {
            End::Found(value) => Ok(value),
            End::Absent => create().into_result(),
            End::Create(claim) => match claim.stale().and_then(|stale| self.codec.decode(stale).ok()) {
                Some(stale) => {
                    let typed = self.clone();
                    let work =
                        move || task.run(|| create().into_result().map(|value| drop(typed.store(claim, &value))));
                    // Without a thread the claim is dropped, and another caller tries.
                    let _ = std::thread::Builder::new().name("kennel-refresh".into()).spawn(move || drop(work()));
                    Ok(stale)
                }
                None => {
                    let value = task.run(create).into_result()?;
                    self.store(claim, &value)?;
                    Ok(value)
                }
            },
        }
    }

    fn search(&self, key: &[u8], how: &CreateOptions) -> Result<End<T>> {
        let mut search = Search::new(&self.codec, how)?;
        self.cache.with_stored_key(key, |key| {
            loop {
                let lookup = self.cache.claim_stored(key, &search.how, &mut search.wait)?;
                if let Some(end) = search.judge(lookup)? {
                    return Ok(end);
                }
            }
        })
    }

    /// Stores a created value. The caller has it: if the cache cannot store it, that is counted, and no error.
    fn store(&self, claim: Claim, value: &T) -> Result<()> {
        let _ = claim.store(self.codec.encode(value)?);
        Ok(())
    }
}

/// One caller's way to a value of a type, or to the right to create it.
struct Search<'c, T> {
    codec: &'c Codec<T>,
    how: CreateOptions,
    wait: Remaining,
    unreadable: u32,
}

/// How a search ends.
enum End<T> {
    Found(T),
    /// The cache remembers that the key has no value.
    Absent,
    Create(Claim),
}

impl<'c, T: Serialize + DeserializeOwned> Search<'c, T> {
    fn new(codec: &'c Codec<T>, how: &CreateOptions) -> Result<Self> {
        codec.check_type("serialize")?;
        let wait = Remaining::of(how.wait_policy());
        Ok(Self { codec, how: how.clone().flags(TAG).form(codec.form()), wait, unreadable: 0 })
    }

    /// The end of the search; `None`: the next look takes this value for a miss. Values of other types have been misses
    /// already: looks compare the fingerprint, under the stripe's lock if need be, and the value is decoded here, without
    /// a lock.
    fn judge(&mut self, lookup: Lookup) -> Result<Option<End<T>>> {
        let item = match lookup {
            Lookup::Hit(item) | Lookup::Stale(item) => item,
            Lookup::Absent => return Ok(Some(End::Absent)),
            Lookup::Create(claim) => return Ok(Some(End::Create(claim))),
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
impl<T: Serialize + DeserializeOwned> Typed<T> {
    /// As [`get_or_create`](Self::get_or_create) for a task of tokio: see [`AsyncCache`](crate::AsyncCache). It needs the
    /// feature `tokio`, too.
    ///
    /// # Errors
    /// As [`get_or_create`](Self::get_or_create).
    pub async fn get_or_create_async<R: CreatorOutput<T>, F: Future<Output = R>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<T, R::Error> {
        let (cache, mut search) = (self.cache.to_async(), Search::new(&self.codec, &how.for_value())?);
        let (task, key) = (how.task_or(Task::unique), cache.stored_key(key.as_ref()));
        let mut attempts = cache.attempts();
        let end = loop {
            let lookup = cache.claim_within(&key, &search.how, task, &search.wait, &mut attempts).await?;
            if let Some(end) = search.judge(lookup)? {
                break end;
            }
        };
        match end {
            End::Found(value) => Ok(value),
            End::Absent => run(task, create).await.into_result(),
            End::Create(claim) => {
                let value = run(task, create).await.into_result()?;
                let made = self.codec.encode(&value)?.into();
                cache.store(claim, Some(&made), &mut cache.attempts()).await;
                Ok(value)
            }
        }
    }
}
