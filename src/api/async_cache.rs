//! A cache for tasks of tokio: what waits for a lock or for another's value blocks no thread of the executor.
//!
//! Nothing here needs another thread, so nothing depends on whether the runtime has one to spare. Each step only tries to
//! lock, and a task that finds the lock taken tries again after a pause. An attempt also finds out that the lock's owner is
//! dead. A task that waits for another's claim looks at the claim's word from time to time.

use super::cache::Cache;
use super::claim::{KeyLock, LockOptions, Locking, Pause, Task, Wait};
use super::count::count;
use super::create::{
    Batch, Claim, CreateOptions, Created, CreatorOutput, Finding, Lookup, Next, Remaining, in_one_order,
};
use super::item::{Item, Stamp};
use super::namespace::NamespaceOptions;
use super::set_options::SetOptions;
use super::stripe_lock::Patience;
use super::write::Swap;
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::store::Invalidation;
use crate::store::tally::MemberCount;
use std::borrow::Cow;
use std::future::Future;
use std::time::{Duration, Instant};

/// The first and the longest pause between two looks at a claim's word, or two attempts to take a lock.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));
/// Attempts to take a stripe's lock, which is held for microseconds, before the first pause. Between them other tasks run.
const EAGER: u32 = 8;

tokio::task_local! {
    /// The tasks within whose creations this one runs.
    static WITHIN: Vec<Task>;
}

fn within() -> Vec<Task> {
    WITHIN.try_with(Clone::clone).unwrap_or_default()
}

/// Runs a creator in the name of a task, within those that run here.
pub(super) async fn run<F: Future>(task: Task, create: impl FnOnce() -> F) -> F::Output {
    let mut tasks = within();
    tasks.push(task);
    // The creator may be a future that does nothing before it is polled, or do its work here.
    WITHIN.scope(tasks, async { create().await }).await
}

/// A [`Cache`] for tasks of tokio, made by [`Cache::to_async`]: while a call waits it holds no thread. It needs the feature
/// `tokio`, and a runtime with its clock enabled.
///
/// Reads take no lock, so they are plain functions. Writes, locks and creations are futures, and what each does and
/// returns is what the method of that name does and returns on [`Cache`]. What concerns the file, such as
/// [`Cache::flush`], blocks: run it on a thread for blocking work.
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
    /// This handle for tasks of tokio, with the same namespace.
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

    /// [`Cache::set_multi`] for tasks. Each item is a write of its own, with a lock of its own.
    #[must_use = "each item is stored, or not, by itself"]
    pub async fn set_multi<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        items: &[(K, V)],
        how: &SetOptions,
    ) -> Vec<Result<()>> {
        let (mut results, mut attempts) = (Vec::with_capacity(items.len()), self.attempts());
        for (key, value) in items {
            let (key, value) = (key.as_ref(), value.as_ref());
            let stored = self.write_within(&mut attempts, |cache| cache.set_with(key, value, how)).await;
            results.push(stored.map(drop));
        }
        results
    }

    /// [`Cache::delete_multi`] for tasks. Each key is a write of its own, with a lock of its own.
    #[must_use = "each item is deleted, or not, by itself"]
    pub async fn delete_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<bool>> {
        let (mut results, mut attempts) = (Vec::with_capacity(keys.len()), self.attempts());
        for key in keys {
            let key = key.as_ref();
            results.push(self.write_within(&mut attempts, |cache| cache.delete(key)).await);
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

    /// [`Cache::lock`] for tasks. Each call is an owner of its own.
    ///
    /// # Errors
    /// Those of [`Cache::lock`].
    pub async fn lock(&self, key: impl AsRef<[u8]>, wait: Wait) -> Result<KeyLock> {
        self.lock_with(key, &LockOptions::new().wait(wait)).await
    }

    /// [`Cache::lock_with`] for tasks. Giving the lock back does not block.
    ///
    /// # Errors
    /// Those of [`Cache::lock`].
    pub async fn lock_with(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        let key = self.stored_key(key.as_ref());
        let mut locking = Locking::new(options.task_or(Task::unique), *options);
        locking.seeker.within(within());
        let mut attempts = self.attempts();
        loop {
            let locked = locking.step(&self.trying, &key);
            if attempts.fail(&locked, locking.seeker.lock_limit()).await {
                continue;
            }
            match attempts.end(&self.cache, locked)? {
                Ok(lock) => return Ok(lock),
                Err(pause) => sleep(pause).await,
            }
        }
    }

    /// [`Cache::is_claimed`] for tasks.
    #[must_use]
    pub fn is_claimed(&self, key: impl AsRef<[u8]>) -> bool {
        self.cache.is_claimed(key)
    }

    /// [`Cache::claim`] for tasks. Storing what was created blocks for as long as a [`Cache::set`] does; see
    /// [`Claim::try_store`].
    ///
    /// # Errors
    /// Those of [`Cache::claim`].
    pub async fn claim(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.claim_as(key.as_ref(), how, how.task_or(Task::unique)).await
    }

    /// [`Cache::get_or_create`] for tasks. Each call is an owner of its own; a creator that asks for its own key gets
    /// [`OwnClaim`](Error::OwnClaim). When the future is dropped in the middle of a creation, the next caller that waits
    /// tries.
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
            // A claim that needs a value finds no absence.
            Lookup::Absent => run(task, create).await.into_result().map(Created::into_value),
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
                let made = run(task, create).await.into_result()?;
                self.store(claim, made.as_ref(), &mut self.attempts()).await;
                Ok(made.map(Created::into_value))
            }
        }
    }

    /// [`Cache::get_or_refresh`] for tasks: a task of its own creates the new value. If the runtime ends before that task does,
    /// its claim ends, too, and the next caller tries again.
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
                // A task of its own, so that it is within no other's creation.
                tokio::spawn(async move { cache.created(claim, task, || create).await.is_ok() });
                Ok(stale)
            }
            // A claim that needs a value finds no absence.
            Lookup::Absent => run(task, create).await.into_result().map(Created::into_value),
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
        let mut batch = Batch::of(keys.len());
        let (left, mut attempts) = (Remaining::of(how.wait_policy()), self.attempts());
        let stored: Vec<_> = keys.iter().map(|key| self.stored_key(key.as_ref())).collect();
        for places in in_one_order(&stored) {
            let lookup = self.claim_within(&stored[places[0]], how, task, &left, &mut attempts).await?;
            batch.found(places, lookup);
        }
        let missing = batch.missing();
        let created = match missing.is_empty() {
            true => Vec::new(),
            false => {
                let missing = missing.into_iter().map(|i| &keys[i]).collect();
                run(task, || create(missing)).await.into_result()?
            }
        };
        let mut attempts = self.attempts();
        for (places, claim, made) in batch.take_claims(created)? {
            self.store(claim, made.as_ref(), &mut attempts).await;
            batch.give(&places, made.map(Created::into_value));
        }
        Ok(batch.into_values())
    }
}

/// What the methods above are made of.
impl AsyncCache {
    pub(super) fn stored_key<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        match self.cache.in_namespace() {
            None => Cow::Borrowed(key),
            Some(namespace) => Cow::Owned(namespace.stored_key(key)),
        }
    }

    /// The attempts to lock stripes for one operation.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts::of(self.cache.lock_wait())
    }

    async fn write<R>(&self, work: impl Fn(&Cache) -> Result<R>) -> Result<R> {
        self.write_within(&mut self.attempts(), work).await
    }

    /// Runs a write that only tries to lock its stripe, until it has the lock or the time for waiting is over.
    async fn write_within<R>(&self, attempts: &mut Attempts, work: impl Fn(&Cache) -> Result<R>) -> Result<R> {
        loop {
            let result = work(&self.trying);
            if !attempts.fail(&result, Duration::MAX).await {
                return attempts.end(&self.cache, result);
            }
        }
    }

    async fn claim_as(&self, key: &[u8], how: &CreateOptions, task: Task) -> Result<Lookup> {
        let (key, left) = (self.stored_key(key), Remaining::of(how.wait_policy()));
        self.claim_within(&key, how, task, &left, &mut self.attempts()).await
    }

    /// Looks a stored key up, and claims it if it is to be created.
    pub(super) async fn claim_within(
        &self,
        key: &[u8],
        how: &CreateOptions,
        task: Task,
        left: &Remaining,
        attempts: &mut Attempts,
    ) -> Result<Lookup> {
        let mut finding = Finding::new(task, how, left.now())?;
        finding.seeker.within(within());
        loop {
            let next = finding.try_step(&self.trying, key, how);
            if attempts.fail(&next, finding.seeker.lock_limit()).await {
                continue;
            }
            let next = attempts.end(&self.cache, next);
            match finding.conclude(&self.cache, key, how, next)? {
                Next::Done(Lookup::Create(claim)) => return Ok(Lookup::Create(claim.waiting(self.cache.lock_wait()))),
                Next::Done(lookup) => return Ok(lookup),
                Next::Wait(pause) => sleep(pause).await,
            }
        }
    }

    /// Runs a creator and stores what it made.
    async fn created<R: CreatorOutput<Created>, F: Future<Output = R>>(
        &self,
        claim: Claim,
        task: Task,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, R::Error> {
        let made = run(task, create).await.into_result()?;
        self.store(claim, Some(&made), &mut self.attempts()).await;
        Ok(made.into_value())
    }

    /// Stores a created value, or that there is none. The caller has its value: if the cache cannot store it, that is
    /// counted, and no error. When the future is dropped before its end, the creation has failed.
    pub(super) async fn store(&self, claim: Claim, made: Option<&Created>, attempts: &mut Attempts) {
        let Ok(mut storing) = claim.prepare(made) else { return };
        loop {
            let stored = storing.attempt(&mut Patience::of(Duration::ZERO));
            if !attempts.fail(&stored, Duration::MAX).await {
                let _ = storing.conclude(attempts.end(&self.cache, stored));
                return;
            }
        }
    }
}

/// The attempts of one operation to lock stripes. However many locks it takes, all together have the time that the handle
/// waits for one.
pub(super) struct Attempts {
    whole: Duration,
    left: Duration,
    /// Since the first attempt to take this lock failed: when that was, and for how long the task tries.
    failing: Option<(Instant, Duration)>,
    failed: u32,
}

impl Attempts {
    fn of(whole: Duration) -> Self {
        Self { whole, left: whole, failing: None, failed: 0 }
    }

    /// Whether another holds the lock and the task may try again, after a pause that this makes. For one lock it tries no
    /// longer than a limit.
    async fn fail<T>(&mut self, result: &Result<T>, limit: Duration) -> bool {
        if !matches!(result, Err(Error::Busy { .. })) {
            return false;
        }
        let (since, limit) = *self.failing.get_or_insert_with(|| (Instant::now(), limit.min(self.left)));
        let left = limit.saturating_sub(since.elapsed());
        if left.is_zero() {
            return false;
        }
        self.failed += 1;
        match self.failed.checked_sub(EAGER) {
            None => tokio::task::yield_now().await,
            Some(pauses) => tokio::time::sleep((PAUSES.0 * (1 << pauses.min(8))).min(PAUSES.1).min(left)).await,
        }
        true
    }

    /// Ends the attempts to take one lock, and counts them as a wait.
    fn end<T>(&mut self, cache: &Cache, result: Result<T>) -> Result<T> {
        let Some((since, limit)) = self.failing.take() else { return result };
        self.left = self.left.saturating_sub(since.elapsed());
        self.failed = 0;
        let counted = |what| count(&cache.in_use(), what);
        match result {
            Err(Error::Busy { stripe, .. }) => {
                if !self.whole.is_zero() {
                    counted(MemberCount::Busy);
                }
                Err(Error::Busy { stripe, waited: limit })
            }
            result => {
                counted(MemberCount::LockWaits);
                result
            }
        }
    }
}

/// Sleeps until the awaited claim has ended, or it is time for another look.
async fn sleep(pause: Pause) {
    let start = Instant::now();
    let mut next = PAUSES.0;
    while pause.is_worth() {
        let left = pause.limit().saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(next.min(left)).await;
        next = (next * 2).min(PAUSES.1);
    }
}
