//! Claims for tasks of tokio: the same ways to a value and to a lock, without blocking a thread of the executor.
//!
//! What takes a lock, or waits for a change that is under way, runs on a thread for blocking work. A task that waits for
//! another's claim holds no thread: it looks at the claim's word now and then.

use super::cache::Cache;
use super::claim::{KeyLock, LockOptions, Locking, Pause, Task, Wait};
use super::create::{
    Batch, Claim, CreateError, CreateOptions, Created, Finding, Lookup, Next, Remaining, in_one_order, store,
};
use super::region::{Named, Region};
use super::write::Scope;
use crate::error::{Error, Result};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first and the longest pause between two looks at a claim's word.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

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

/// A cache or a region, for a thread of its own.
#[derive(Clone)]
pub(super) struct Place {
    cache: Cache,
    region: Option<Arc<Named>>,
}

impl Place {
    fn scope(&self) -> Scope<'_> {
        Scope { cache: &self.cache, region: self.region.as_deref() }
    }

    async fn claim(&self, key: Vec<u8>, how: &CreateOptions, task: Task) -> Result<Lookup> {
        self.claim_waiting(key, how, task, how.wait_policy()).await
    }

    pub(super) async fn claim_waiting(
        &self,
        key: Vec<u8>,
        how: &CreateOptions,
        task: Task,
        wait: Wait,
    ) -> Result<Lookup> {
        let mut finding = Finding::new(task, how, wait)?;
        finding.seeker.within(within());
        // Most find a value, and need no other thread for that.
        if let Some(lookup) = finding.at_once(self.scope(), &key, how) {
            return Ok(lookup);
        }
        let (key, how): (Arc<[u8]>, _) = (key.into(), how.clone());
        loop {
            let (place, key, how) = (self.clone(), key.clone(), how.clone());
            let step = move || {
                let next = finding.step(place.scope(), &key, &how);
                (finding, next)
            };
            let next;
            (finding, next) = self.cache.elsewhere(step).await?;
            match next? {
                Next::Done(lookup) => return Ok(lookup),
                Next::Wait(pause) => sleep(pause).await,
            }
        }
    }

    async fn lock(&self, key: Vec<u8>, options: &LockOptions) -> Result<KeyLock> {
        let mut locking = Locking::new(options.task_or(Task::unique), *options);
        locking.seeker.within(within());
        let key: Arc<[u8]> = key.into();
        loop {
            let (place, key) = (self.clone(), key.clone());
            let step = move || {
                let locked = locking.step(place.scope(), &key);
                (locking, locked)
            };
            let locked;
            (locking, locked) = self.cache.elsewhere(step).await?;
            match locked? {
                Ok(lock) => return Ok(lock),
                Err(pause) => sleep(pause).await,
            }
        }
    }

    async fn get_or_create<E, F: Future<Output = Result<Vec<u8>, E>>>(
        &self,
        key: Vec<u8>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        let task = how.task_or(Task::unique);
        match self.claim(key, &how.for_value(), task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Absent => run(task, create).await.map_err(CreateError::Creator),
            Lookup::Create(claim) => self.created_always(claim, task, create).await,
        }
    }

    async fn get_or_create_optional<E, F: Future<Output = Result<Option<Vec<u8>>, E>>>(
        &self,
        key: Vec<u8>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        let task = how.task_or(Task::unique);
        match self.claim(key, how, task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(Some(item.value)),
            Lookup::Absent => Ok(None),
            Lookup::Create(claim) => self.created(claim, task, create).await,
        }
    }

    async fn get_or_refresh<E, F>(
        &self,
        key: Vec<u8>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>>
    where
        E: Send + 'static,
        F: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
    {
        let task = how.task_or(Task::unique);
        match self.claim(key, &how.for_refresh(), task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Absent => run(task, create).await.map_err(CreateError::Creator),
            Lookup::Create(mut claim) if claim.stale().is_some() => {
                let stale = claim.take_stale();
                let (place, create) = (self.clone(), create());
                // A task of its own, so that it is within no other's creation.
                tokio::spawn(async move { place.created_always(claim, task, || create).await.map(drop) });
                Ok(stale)
            }
            Lookup::Create(claim) => self.created_always(claim, task, create).await,
        }
    }

    async fn get_or_create_multi<K: AsRef<[u8]>, E, F: Future<Output = Result<Vec<Option<Vec<u8>>>, E>>>(
        &self,
        keys: &[K],
        how: &CreateOptions,
        create: impl FnOnce(Vec<usize>) -> F,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>> {
        let task = how.task_or(Task::unique);
        let mut batch = Batch::of(keys.len());
        let left = Remaining::of(how.wait_policy());
        for places in in_one_order(keys) {
            let key = keys[places[0]].as_ref().to_vec();
            let lookup = self.claim_waiting(key, how, task, left.now()).await?;
            batch.found(places, lookup);
        }
        let missing = batch.missing();
        let created = match missing.is_empty() {
            true => Vec::new(),
            false => run(task, || create(missing)).await.map_err(CreateError::Creator)?,
        };
        Ok(self.cache.elsewhere(move || batch.finish(created)).await??)
    }

    /// Runs a creator and stores what it made. What keeps the cache from storing it is counted there; the caller has its
    /// value.
    async fn created<E, F: Future<Output = Result<Option<Vec<u8>>, E>>>(
        &self,
        claim: Claim,
        task: Task,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        let value = run(task, create).await.map_err(CreateError::Creator)?;
        Ok(self.store(claim, value).await?)
    }

    /// Stores what was created, and gives it back.
    pub(super) async fn store(&self, claim: Claim, value: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let store = move || {
            let made = value.map(Created::from);
            store(claim, made.as_ref());
            made.map(Created::into_value)
        };
        self.cache.elsewhere(store).await
    }

    /// The same for a creator that always makes a value.
    async fn created_always<E, F: Future<Output = Result<Vec<u8>, E>>>(
        &self,
        claim: Claim,
        task: Task,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        let value = self.created(claim, task, || async { create().await.map(Some) }).await?;
        Ok(value.unwrap_or_default())
    }
}

/// Sleeps until the claim that is waited for has ended, or something else must be looked at.
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

impl Cache {
    /// Does something on a thread for blocking work.
    pub(super) async fn elsewhere<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(stopped) => Err(Error::Io {
                what: "work on a thread of the runtime for",
                path: self.path().into(),
                source: std::io::Error::other(stopped),
            }),
        }
    }

    pub(super) fn place(&self) -> Place {
        Place { cache: self.clone(), region: None }
    }

    /// As [`get_or_create`](Cache::get_or_create) for a task of tokio: while it waits it holds no thread. Each call is an
    /// owner of its own; a creator that asks for its own key gets [`OwnClaim`](Error::OwnClaim). When the future is
    /// dropped in the middle of a creation, the next who waits tries. It needs the feature `tokio`, and a runtime
    /// with its clock enabled.
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub async fn get_or_create_async<E, F: Future<Output = Result<Vec<u8>, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.place().get_or_create(key.as_ref().to_vec(), how, create).await
    }

    /// As [`get_or_create_optional`](Cache::get_or_create_optional) for a task of tokio: see
    /// [`get_or_create_async`](Cache::get_or_create_async).
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub async fn get_or_create_optional_async<E, F: Future<Output = Result<Option<Vec<u8>>, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        self.place().get_or_create_optional(key.as_ref().to_vec(), how, create).await
    }

    /// As [`get_or_create_async`](Cache::get_or_create_async), but a stale value is returned to its creator, too: a task of
    /// its own creates the new one. What goes wrong there is told to nobody, and if the runtime ends before it does, the
    /// claim ends, too; the next caller tries again.
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub async fn get_or_refresh_async<E, F>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>>
    where
        E: Send + 'static,
        F: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
    {
        self.place().get_or_refresh(key.as_ref().to_vec(), how, create).await
    }

    /// As [`get_or_create_multi`](Cache::get_or_create_multi) for a task of tokio: see
    /// [`get_or_create_async`](Cache::get_or_create_async).
    ///
    /// # Errors
    /// As [`get_or_create_multi`](Cache::get_or_create_multi).
    pub async fn get_or_create_multi_async<'k, K, E, F>(
        &self,
        keys: &'k [K],
        how: &CreateOptions,
        create: impl FnOnce(Vec<&'k K>) -> F,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>>
    where
        K: AsRef<[u8]>,
        F: Future<Output = Result<Vec<Option<Vec<u8>>>, E>>,
    {
        let create = |missing: Vec<usize>| create(missing.into_iter().map(|i| &keys[i]).collect());
        self.place().get_or_create_multi(keys, how, create).await
    }

    /// As [`claim`](Cache::claim) for a task of tokio. Storing what was created blocks for as long as a `set` does.
    ///
    /// # Errors
    /// As [`claim`](Cache::claim).
    pub async fn claim_async(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.place().claim(key.as_ref().to_vec(), how, how.task_or(Task::unique)).await
    }

    /// As [`lock_with`](Cache::lock_with) for a task of tokio. Giving the lock back does not block.
    ///
    /// # Errors
    /// As [`lock`](Cache::lock).
    pub async fn lock_async(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        self.place().lock(key.as_ref().to_vec(), options).await
    }
}

impl Region {
    pub(super) fn place(&self) -> Place {
        let (cache, named) = self.parts();
        Place { cache: cache.clone(), region: Some(named.clone()) }
    }

    /// As [`Cache::get_or_create_async`]; what is not said is the region's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub async fn get_or_create_async<E, F: Future<Output = Result<Vec<u8>, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.place().get_or_create(self.stored_key(key), how, create).await
    }

    /// As [`Cache::get_or_create_optional_async`]; what is not said is the region's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub async fn get_or_create_optional_async<E, F: Future<Output = Result<Option<Vec<u8>>, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        self.place().get_or_create_optional(self.stored_key(key), how, create).await
    }

    /// As [`Cache::get_or_refresh_async`]; what is not said is the region's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub async fn get_or_refresh_async<E, F>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>>
    where
        E: Send + 'static,
        F: Future<Output = Result<Vec<u8>, E>> + Send + 'static,
    {
        self.place().get_or_refresh(self.stored_key(key), how, create).await
    }

    /// As [`Cache::get_or_create_multi_async`]; what is not said is the region's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create_multi`].
    pub async fn get_or_create_multi_async<'k, K, E, F>(
        &self,
        keys: &'k [K],
        how: &CreateOptions,
        create: impl FnOnce(Vec<&'k K>) -> F,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>>
    where
        K: AsRef<[u8]>,
        F: Future<Output = Result<Vec<Option<Vec<u8>>>, E>>,
    {
        let create = |missing: Vec<usize>| create(missing.into_iter().map(|i| &keys[i]).collect());
        self.place().get_or_create_multi(&self.mangled(keys), how, create).await
    }

    /// As [`Cache::claim_async`]; what is not said is the region's default.
    ///
    /// # Errors
    /// As [`Cache::claim`].
    pub async fn claim_async(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.place().claim(self.stored_key(key), how, how.task_or(Task::unique)).await
    }

    /// As [`Cache::lock_async`].
    ///
    /// # Errors
    /// As [`Cache::lock`].
    pub async fn lock_async(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        self.place().lock(self.stored_key(key), options).await
    }
}
