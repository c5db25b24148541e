//! The handle for typed values in tokio tasks.

use super::codec::TAG;
use super::handle::Typed;
use super::search::{End, Search};
use crate::api::async_cache::AsyncCache;
use crate::api::create::{Claim, CreateOptions, Created, CreatorOutput};
use crate::api::item::{Item, Stamp};
use crate::api::set_options::SetOptions;
use crate::api::task::Task;
use crate::api::write::Swap;
use crate::clock::Expiry;
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// A [`Typed`] for tokio tasks, made by [`Typed::to_async`]: a call that waits holds no thread. It needs the features
/// `typed` and `tokio`.
///
/// Reads are plain functions; writes and creations are futures, as on [`AsyncCache`]. Methods that do not depend on the
/// type of the values are on [`cache`](Self::cache).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// use kennel::CreateOptions;
/// let points = cache.typed::<(i32, i32)>().to_async();
/// points.set("origin", &(0, 0)).await?;
/// let unit = points.get_or_create("unit", &CreateOptions::new(), async || (1, 1)).await?;
/// assert_eq!((points.get("origin")?, unit), (Some((0, 0)), (1, 1)));
/// # Ok(())
/// # }
/// ```
pub struct AsyncTyped<T> {
    typed: Typed<T>,
    cache: AsyncCache,
}

impl<T> Clone for AsyncTyped<T> {
    fn clone(&self) -> Self {
        Self { typed: self.typed.clone(), cache: self.cache.clone() }
    }
}

impl<T> fmt::Debug for AsyncTyped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncTyped").field(&self.typed).finish()
    }
}

impl<T: Serialize + DeserializeOwned> Typed<T> {
    /// This handle for tokio tasks. It also needs the feature `tokio`.
    #[must_use]
    pub fn to_async(&self) -> AsyncTyped<T> {
        AsyncTyped { typed: self.clone(), cache: self.cache.to_async() }
    }
}

impl<T: Serialize + DeserializeOwned> AsyncTyped<T> {
    /// The handle that this one was made from.
    #[must_use]
    pub fn typed(&self) -> &Typed<T> {
        &self.typed
    }

    /// The handle for raw bytes.
    #[must_use]
    pub fn cache(&self) -> &AsyncCache {
        &self.cache
    }

    /// [`Typed::get`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        self.typed.get(key)
    }

    /// [`Typed::get_item`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::get`].
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Result<Option<Item<T>>> {
        self.typed.get_item(key)
    }

    /// [`Typed::get_multi`] for tasks.
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<T>>> {
        self.typed.get_multi(keys)
    }

    /// [`Typed::get_items`] for tasks.
    #[must_use]
    pub fn get_items<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<Item<T>>>> {
        self.typed.get_items(keys)
    }

    /// [`Typed::contains`] for tasks.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.typed.contains(key)
    }

    /// [`Typed::set`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::set`].
    pub async fn set(&self, key: impl AsRef<[u8]>, value: &T) -> Result<()> {
        self.set_with(key, value, &SetOptions::new()).await.map(|_| ())
    }

    /// [`Typed::set_with`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::set`].
    pub async fn set_with(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<Stamp> {
        self.cache.set_with(key, self.typed.codec.encode(value)?, &how.flags(TAG)).await
    }

    /// [`Typed::set_multi`] for tasks. Each item is written separately, under its own lock.
    #[must_use = "each item is stored, or not, by itself"]
    pub async fn set_multi<K: AsRef<[u8]>>(&self, items: &[(K, T)], how: &SetOptions) -> Vec<Result<()>> {
        let encoded = self.typed.codec.encode_all(items);
        let stored = self.cache.set_multi(&encoded.items, &how.flags(TAG)).await;
        encoded.outcomes(stored)
    }

    /// [`Typed::add`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::set`].
    pub async fn add(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<bool> {
        self.cache.add(key, self.typed.codec.encode(value)?, &how.flags(TAG)).await
    }

    /// [`Typed::replace`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::set`].
    pub async fn replace(&self, key: impl AsRef<[u8]>, value: &T, how: &SetOptions) -> Result<bool> {
        self.cache.replace(key, self.typed.codec.encode(value)?, &how.flags(TAG)).await
    }

    /// [`Typed::compare_and_swap`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::set`].
    pub async fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        stamp: Stamp,
        value: &T,
        how: &SetOptions,
    ) -> Result<Swap> {
        self.cache.compare_and_swap(key, stamp, self.typed.codec.encode(value)?, &how.flags(TAG)).await
    }

    /// [`Typed::touch`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`](crate::Cache::set).
    pub async fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        self.cache.touch(key, expiry).await
    }

    /// [`Typed::delete`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`](crate::Cache::set).
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.cache.delete(key).await
    }

    /// [`Typed::compare_and_delete`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`](crate::Cache::set).
    pub async fn compare_and_delete(&self, key: impl AsRef<[u8]>, stamp: Stamp) -> Result<bool> {
        self.cache.compare_and_delete(key, stamp).await
    }

    /// [`Typed::take`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::take`].
    pub async fn take(&self, key: impl AsRef<[u8]>) -> Result<Option<Item<T>>> {
        self.typed.decoded(self.cache.take(key).await?)
    }

    /// [`Typed::get_and_touch`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::get_and_touch`].
    pub async fn get_and_touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<Option<Item<T>>> {
        self.typed.decoded(self.cache.get_and_touch(key, expiry).await?)
    }

    /// [`Typed::get_or_create`] for tasks. Each call is a separate owner, as with [`AsyncCache::get_or_create`].
    ///
    /// # Errors
    /// Those of [`Typed::get_or_create`].
    pub async fn get_or_create<R: CreatorOutput<T>, F: Future<Output = R>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<T, R::Error> {
        let task = how.task_or(Task::unique);
        match self.search(key.as_ref(), &how.for_value(), task).await? {
            End::Found(found) => Ok(found.item.value),
            End::Create(claim) => self.created(claim, task, create).await,
            // A search with `needs_value` never ends with a remembered absence.
            End::Absent => task.run_async(create).await.into_result(),
        }
    }

    /// [`Typed::get_or_create_optional`] for tasks.
    ///
    /// # Errors
    /// Those of [`Typed::get_or_create`].
    pub async fn get_or_create_optional<R: CreatorOutput<Option<T>>, F: Future<Output = R>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<T>, R::Error> {
        let task = how.task_or(Task::unique);
        match self.search(key.as_ref(), how, task).await? {
            End::Found(found) => Ok(Some(found.item.value)),
            End::Absent => Ok(None),
            End::Create(claim) => {
                let value = match task.run_async(create).await.into_result() {
                    Ok(value) => value,
                    Err(error) => return self.typed.instead_of(error, claim).map(Some),
                };
                let made = value.as_ref().map(|value| self.typed.codec.encode(value)).transpose()?.map(Created::from);
                self.cache.store(claim, made.as_ref()).await;
                Ok(value)
            }
        }
    }

    /// [`Typed::get_or_refresh`] for tasks: a separate task creates the new value, as with
    /// [`AsyncCache::get_or_refresh`].
    ///
    /// # Errors
    /// Those of [`Typed::get_or_create`].
    pub async fn get_or_refresh<R, F>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<T, R::Error>
    where
        T: Send + 'static,
        R: CreatorOutput<T> + Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let task = how.task_or(Task::unique);
        match self.search(key.as_ref(), &how.for_refresh(), task).await? {
            End::Found(found) => Ok(found.item.value),
            End::Create(claim) => {
                let Some(stale) = claim.stale().and_then(|stale| self.typed.codec.decode(stale).ok()) else {
                    return self.created(claim, task, create).await;
                };
                let (typed, create) = (self.clone(), create());
                // A separate task, so that it does not run within another task's creation.
                tokio::spawn(async move { typed.created(claim, task, || create).await.is_ok() });
                Ok(stale)
            }
            // A search with `needs_value` never ends with a remembered absence.
            End::Absent => task.run_async(create).await.into_result(),
        }
    }

    pub(super) async fn search(&self, key: &[u8], how: &CreateOptions, task: Task) -> Result<End<T>> {
        let mut search = Search::new(&self.typed.codec, how)?;
        let mut caller = self.cache.caller(how, task);
        let key = self.cache.stored_key(key);
        loop {
            let lookup = self.cache.claim_stored(&key, &search.how, &mut caller).await?;
            if let Some(end) = search.judge(lookup)? {
                return Ok(end);
            }
        }
    }

    /// Runs a creator and stores what it made. If the value cannot be encoded, this is an error, and the next waiter
    /// creates the value.
    pub(super) async fn created<R: CreatorOutput<T>, F: Future<Output = R>>(
        &self,
        claim: Claim,
        task: Task,
        create: impl FnOnce() -> F,
    ) -> Result<T, R::Error> {
        let value = match task.run_async(create).await.into_result() {
            Ok(value) => value,
            Err(error) => return self.typed.instead_of(error, claim),
        };
        let made = Created::from(self.typed.codec.encode(&value)?);
        self.cache.store(claim, Some(&made)).await;
        Ok(value)
    }
}
