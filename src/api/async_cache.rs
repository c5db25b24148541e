//! A cache for tokio tasks: no call blocks a thread of the executor while it waits for a lock or for another caller's
//! value.
//!
//! No call needs a thread besides the one that polls it, so it does not matter whether the runtime has threads for
//! blocking work. Each step only tries to lock. A task that finds the lock taken tries again after a pause, and each
//! attempt also finds out whether the lock's owner is dead.

use super::acquire::{Acquire, Caller, Progress};
use super::cache::Cache;
use super::count::count_lock_wait;
use super::create::{Batch, Claim, CreateOptions, Created, CreatorOutput, Got, Lookup, Source, ToCreate, in_one_order};
use super::item::{Item, Stamp};
use super::key_lock::{KeyLock, LockOptions};
use super::namespace::NamespaceOptions;
use super::set_options::SetOptions;
use super::stripe_lock::Patience;
use super::task::Task;
use super::waiting::{Wait, run_as_task};
use super::write::Swap;
use crate::clock::Expiry;
use crate::error::Result;
use crate::store::Invalidation;
use std::borrow::Cow;
use std::time::Duration;

/// A [`Cache`] for tokio tasks, made by [`Cache::to_async`]: a call that waits holds no thread. It needs the feature
/// `tokio`, and a runtime whose time driver is enabled.
///
/// Reads take no lock, so they are plain functions. Writes, locks and creations are futures; each does and returns what
/// the method of the same name on [`Cache`] does and returns. Operations on the file, such as [`Cache::flush`], block:
/// run them on a thread for blocking work.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// use kennel::CreateOptions;
/// let cache = cache.to_async();
/// let page = cache.get_or_create("page", &CreateOptions::new(), async || "text").await?;
/// assert_eq!(page, b"text");
/// cache.set("page", "another text").await?;
/// assert_eq!(cache.get("page").as_deref(), Some(&b"another text"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncCache {
    cache: Cache,
    /// A handle that does not wait for locks.
    trying: Cache,
}

impl Cache {
    /// This handle for tokio tasks, with the same namespace.
    #[must_use]
    pub fn to_async(&self) -> AsyncCache {
        AsyncCache { cache: self.clone(), trying: self.with_lock_wait(Duration::ZERO) }
    }
}

impl AsyncCache {
    /// The handle that this one was made from.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// [`Cache::namespace`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::namespace`].
    pub async fn namespace(&self, name: &str, options: &NamespaceOptions) -> Result<Self> {
        let trying = self.write(|cache| cache.namespace(name, options)).await?;
        Ok(Self { cache: trying.with_lock_wait(self.cache.lock_wait()), trying })
    }

    /// [`Cache::remove_namespace`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::remove_namespace`].
    pub async fn remove_namespace(&self, name: &str) -> Result<bool> {
        self.write(|cache| cache.remove_namespace(name)).await
    }

    /// [`Cache::get`] for tasks.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.cache.get(key)
    }

    /// [`Cache::get_item`] for tasks.
    #[must_use]
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Option<Item> {
        self.cache.get_item(key)
    }

    /// [`Cache::get_multi`] for tasks.
    #[must_use]
    pub fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        self.cache.get_multi(keys)
    }

    /// [`Cache::get_items`] for tasks.
    #[must_use]
    pub fn get_items<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Item>> {
        self.cache.get_items(keys)
    }

    /// [`Cache::contains`] for tasks.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache.contains(key)
    }

    /// [`Cache::set`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(|cache| cache.set(key, value)).await
    }

    /// [`Cache::set_with`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn set_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<Stamp> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(|cache| cache.set_with(key, value, how)).await
    }

    /// [`Cache::add`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn add(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(|cache| cache.add(key, value, how)).await
    }

    /// [`Cache::replace`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn replace(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, how: &SetOptions) -> Result<bool> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(|cache| cache.replace(key, value, how)).await
    }

    /// [`Cache::compare_and_swap`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        stamp: Stamp,
        value: impl AsRef<[u8]>,
        how: &SetOptions,
    ) -> Result<Swap> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(|cache| cache.compare_and_swap(key, stamp, value, how)).await
    }

    /// [`Cache::swap_value`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::swap_value`].
    pub async fn swap_value(&self, key: impl AsRef<[u8]>, stamp: Stamp, value: impl AsRef<[u8]>) -> Result<Swap> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(|cache| cache.swap_value(key, stamp, value)).await
    }

    /// [`Cache::rename`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::rename`].
    pub async fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.write(|cache| cache.rename(from, to)).await
    }

    /// [`Cache::incr`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::incr`].
    pub async fn incr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        let key = key.as_ref();
        self.write(|cache| cache.incr(key, delta)).await
    }

    /// [`Cache::decr`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::decr`].
    pub async fn decr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>> {
        let key = key.as_ref();
        self.write(|cache| cache.decr(key, delta)).await
    }

    /// [`Cache::incr_or`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::incr`].
    pub async fn incr_or(&self, key: impl AsRef<[u8]>, delta: u64, initial: u64, how: &SetOptions) -> Result<u64> {
        let key = key.as_ref();
        self.write(|cache| cache.incr_or(key, delta, initial, how)).await
    }

    /// [`Cache::decr_or`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::decr`].
    pub async fn decr_or(&self, key: impl AsRef<[u8]>, delta: u64, initial: u64, how: &SetOptions) -> Result<u64> {
        let key = key.as_ref();
        self.write(|cache| cache.decr_or(key, delta, initial, how)).await
    }

    /// [`Cache::touch`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool> {
        let key = key.as_ref();
        self.write(|cache| cache.touch(key, expiry)).await
    }

    /// [`Cache::delete`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.write(|cache| cache.delete(key)).await
    }

    /// [`Cache::compare_and_delete`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn compare_and_delete(&self, key: impl AsRef<[u8]>, stamp: Stamp) -> Result<bool> {
        let key = key.as_ref();
        self.write(|cache| cache.compare_and_delete(key, stamp)).await
    }

    /// [`Cache::take`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::take`].
    pub async fn take(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        let key = key.as_ref();
        self.write(|cache| cache.take(key)).await
    }

    /// [`Cache::get_and_touch`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::get_and_touch`].
    pub async fn get_and_touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<Option<Item>> {
        let key = key.as_ref();
        self.write(|cache| cache.get_and_touch(key, expiry)).await
    }

    /// [`Cache::set_multi`] for tasks. Each item is written separately, under its own lock.
    #[must_use = "each item is stored, or not, by itself"]
    pub async fn set_multi<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        items: &[(K, V)],
        how: &SetOptions,
    ) -> Vec<Result<()>> {
        let (mut results, mut locks) = (Vec::with_capacity(items.len()), self.patience());
        for (key, value) in items {
            let (key, value) = (key.as_ref(), value.as_ref());
            let stored = self.write_within(&mut locks, |cache| cache.set_with(key, value, how)).await;
            results.push(stored.map(drop));
        }
        results
    }

    /// [`Cache::delete_multi`] for tasks. Each key is deleted separately, under its own lock.
    #[must_use = "each item is deleted, or not, by itself"]
    pub async fn delete_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<bool>> {
        let (mut results, mut locks) = (Vec::with_capacity(keys.len()), self.patience());
        for key in keys {
            let key = key.as_ref();
            results.push(self.write_within(&mut locks, |cache| cache.delete(key)).await);
        }
        results
    }

    /// [`Cache::clear`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn clear(&self) -> Result<()> {
        self.invalidate(Invalidation::Hard).await
    }

    /// [`Cache::invalidate`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn invalidate(&self, how: Invalidation) -> Result<()> {
        self.write(|cache| cache.invalidate(how)).await
    }

    /// [`Cache::invalidate_tags`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub async fn invalidate_tags<T: AsRef<[u8]>>(&self, tags: &[T], how: Invalidation) -> Result<()> {
        self.write(|cache| cache.invalidate_tags(tags, how)).await
    }

    /// [`Cache::lock`] for tasks. Each call is a separate owner.
    ///
    /// # Errors
    /// Those of [`Cache::lock`].
    pub async fn lock(&self, key: impl AsRef<[u8]>, wait: Wait) -> Result<KeyLock> {
        self.lock_with(key, &LockOptions::new().wait(wait)).await
    }

    /// [`Cache::lock_with`] for tasks. Without [`LockOptions::task`] each call is a separate owner. Releasing the lock
    /// does not block.
    ///
    /// # Errors
    /// Those of [`Cache::lock`].
    pub async fn lock_with(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        let key = self.stored_key(key.as_ref());
        let mut caller = Caller::of_task(&self.cache, options.task.unwrap_or_else(Task::unique), options.wait);
        let mut progress = Progress::towards(*options);
        let mut acquire = Acquire::new(&self.trying, &key, &mut progress, &mut caller);
        run_as_task(|| acquire.step()).await
    }

    /// [`Cache::is_claimed`] for tasks.
    #[must_use]
    pub fn is_claimed(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache.is_claimed(key)
    }

    /// [`Cache::claim`] for tasks. To store the created value can block for as long as [`Cache::set`] can;
    /// [`Claim::try_store`] does not block.
    ///
    /// # Errors
    /// Those of [`Cache::claim`].
    pub async fn claim(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.claim_as(key.as_ref(), how, how.task_or(Task::unique)).await
    }

    /// [`Cache::get_or_create`] for tasks. Each call is a separate owner, unless the options name one. A creator that
    /// asks for its own key gets [`OwnClaim`](crate::Error::OwnClaim). If the future is dropped during a creation, the
    /// next waiter creates the value.
    ///
    /// # Errors
    /// Those of [`Cache::get_or_create`].
    pub async fn get_or_create<R: CreatorOutput<Created>, F: Future<Output = R>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, R::Error> {
        let task = how.task_or(Task::unique);
        match self.claim_as(key.as_ref(), &how.for_value(), task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Create(claim) => self.created(claim, task, create).await,
            // A claim with `needs_value` never returns a remembered absence.
            Lookup::Absent => task.run_async(create).await.into_result().map(Created::into_value),
        }
    }

    /// [`Cache::get_or_create_item`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::get_or_create`].
    pub async fn get_or_create_item<R: CreatorOutput<Created>, F: Future<Output = R>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Got, R::Error> {
        let (task, key) = (how.task_or(Task::unique), self.stored_key(key.as_ref()));
        let (lookup, has_waited) = self.claim_for_item(&key, &how.for_value(), &mut self.caller(how, task)).await?;
        match lookup {
            Lookup::Hit(item) => Ok(Got::hit(item, has_waited)),
            Lookup::Stale(item) => Ok(Got { item, source: Source::Stale }),
            Lookup::Create(claim) => match task.run_async(create).await.into_result() {
                Ok(made) => Ok(Got::created(claim.store_as_item_of_task(made, &mut self.patience()).await)),
                Err(error) => Got::failed(claim).ok_or(error),
            },
            // A claim with `needs_value` never returns a remembered absence.
            Lookup::Absent => task.run_async(create).await.into_result().map(Got::unclaimed),
        }
    }

    /// [`Cache::get_or_create_optional`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::get_or_create`].
    pub async fn get_or_create_optional<R: CreatorOutput<Option<Created>>, F: Future<Output = R>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, R::Error> {
        let task = how.task_or(Task::unique);
        match self.claim_as(key.as_ref(), how, task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(Some(item.value)),
            Lookup::Absent => Ok(None),
            Lookup::Create(claim) => {
                let made = match task.run_async(create).await.into_result() {
                    Ok(made) => made,
                    Err(error) => return claim.fail().map(|item| Some(item.value)).ok_or(error),
                };
                self.store(claim, made.as_ref()).await;
                Ok(made.map(Created::into_value))
            }
        }
    }

    /// [`Cache::get_or_refresh`] for tasks: a separate task creates the new value. If the runtime ends before that task
    /// does, the claim ends, too, and the next caller creates the value.
    ///
    /// # Errors
    /// Those of [`Cache::get_or_create`].
    pub async fn get_or_refresh<R, F>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, R::Error>
    where
        R: CreatorOutput<Created> + Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let task = how.task_or(Task::unique);
        match self.claim_as(key.as_ref(), &how.for_refresh(), task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Create(mut claim) => {
                let Some(stale) = claim.take_stale() else { return self.created(claim, task, create).await };
                let (cache, create) = (self.clone(), create());
                // A separate task, so that it does not run within another task's creation.
                tokio::spawn(async move { cache.created(claim, task, || create).await.is_ok() });
                Ok(stale)
            }
            // A claim with `needs_value` never returns a remembered absence.
            Lookup::Absent => task.run_async(create).await.into_result().map(Created::into_value),
        }
    }

    /// [`Cache::get_or_create_multi`] for tasks.
    ///
    /// # Errors
    /// Those of [`Cache::get_or_create_multi`].
    pub async fn get_or_create_multi<'k, K, R, F>(
        &self,
        keys: &'k [K],
        how: &CreateOptions,
        create: impl FnOnce(Vec<&'k K>) -> F,
    ) -> Result<Vec<Option<Vec<u8>>>, R::Error>
    where
        K: AsRef<[u8]>,
        R: CreatorOutput<Vec<Option<Created>>>,
        F: Future<Output = R>,
    {
        let task = how.task_or(Task::unique);
        let stored: Vec<_> = keys.iter().map(|key| self.stored_key(key.as_ref())).collect();
        let (mut batch, left) = Batch::of(self.cache.values_at_hand(&stored, how));
        let mut caller = self.caller(how, task);
        for places in in_one_order(&stored, left) {
            let lookup = self.claim_stored(&stored[places[0]], how, &mut caller).await?;
            batch.found(places, lookup);
        }
        let missing = batch.missing();
        let created = match missing.is_empty() {
            true => Vec::new(),
            false => {
                let missing = missing.into_iter().map(|i| &keys[i]).collect();
                match task.run_async(|| create(missing)).await.into_result() {
                    Ok(created) => created,
                    Err(error) => return batch.into_stale_values().ok_or(error),
                }
            }
        };
        let mut locks = self.patience();
        for (places, claim, made) in batch.take_claims(created)? {
            // A failure to store is counted, not returned.
            let _ = claim.store_as_task(made.as_ref(), &mut locks).await;
            batch.give(&places, made.map(Created::into_value));
        }
        Ok(batch.into_values())
    }
}

/// The parts of the methods above.
impl AsyncCache {
    pub(super) fn stored_key<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        match self.cache.in_namespace() {
            None => Cow::Borrowed(key),
            Some(namespace) => Cow::Owned(namespace.stored_key(key)),
        }
    }

    /// How long one operation waits for all its locks together.
    fn patience(&self) -> Patience {
        Patience::of_task(self.cache.lock_wait())
    }

    async fn write<R>(&self, work: impl Fn(&Cache) -> Result<R>) -> Result<R> {
        self.write_within(&mut self.patience(), work).await
    }

    /// Runs a write that only tries to lock its stripe, until it has the lock or the time for waiting is over.
    async fn write_within<R>(&self, locks: &mut Patience, work: impl Fn(&Cache) -> Result<R>) -> Result<R> {
        run_as_task(|| {
            locks.retry(work(&self.trying), |what, waited| count_lock_wait(&self.cache.in_use(), what, waited))
        })
        .await
    }

    /// A call of a task that may create values.
    pub(super) fn caller(&self, how: &CreateOptions, task: Task) -> Caller {
        Caller::of_task(&self.cache, task, how.wait)
    }

    async fn claim_as(&self, key: &[u8], how: &CreateOptions, task: Task) -> Result<Lookup> {
        self.claim_stored(&self.stored_key(key), how, &mut self.caller(how, task)).await
    }

    /// Looks up a stored key, and claims it if its value is to be created.
    pub(super) async fn claim_stored(&self, key: &[u8], how: &CreateOptions, caller: &mut Caller) -> Result<Lookup> {
        self.claim_for_item(key, how, caller).await.map(|(lookup, _)| lookup)
    }

    /// [`claim_stored`](Self::claim_stored) that also says whether this call waited for another caller's creation.
    async fn claim_for_item(&self, key: &[u8], how: &CreateOptions, caller: &mut Caller) -> Result<(Lookup, bool)> {
        if let Some(lookup) = self.cache.lookup_at_hand(key, how) {
            return Ok((lookup, false));
        }
        let mut progress = Progress::towards(ToCreate::new(how)?);
        let mut acquire = Acquire::new(&self.trying, key, &mut progress, caller);
        let lookup = run_as_task(|| acquire.step()).await?;
        Ok((lookup, progress.has_waited()))
    }

    /// Runs a creator and stores what it made.
    async fn created<R: CreatorOutput<Created>, F: Future<Output = R>>(
        &self,
        claim: Claim,
        task: Task,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, R::Error> {
        let made = match task.run_async(create).await.into_result() {
            Ok(made) => made,
            Err(error) => return claim.fail().map(|item| item.value).ok_or(error),
        };
        self.store(claim, Some(&made)).await;
        Ok(made.into_value())
    }

    /// Stores a created value, or its absence. A failure is counted and not returned, since the caller has its
    /// value.
    pub(super) async fn store(&self, claim: Claim, made: Option<&Created>) {
        let _ = claim.store_as_task(made, &mut self.patience()).await;
    }
}
