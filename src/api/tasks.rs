//! Claims for tasks of tokio: the same ways to a value and to a lock, without blocking a thread of the executor.
//!
//! Nothing here needs another thread, so that nothing depends on whether the runtime has one to spare. What takes a lock
//! tries to, and a task that finds it taken tries again after a pause. An attempt also finds out that the lock's owner is
//! dead. A task that waits for another's claim looks at the claim's word now and then.

use super::cache::Cache;
use super::claim::{KeyLock, LockOptions, Locking, Pause, Task};
use super::count::count;
use super::create::{
    Batch, Claim, CreateError, CreateOptions, Created, Finding, Lookup, Next, Remaining, in_one_order,
};
use super::namespace::{Named, Namespace};
use super::stripe_lock::Patience;
use super::write::Scope;
use crate::error::{Error, Result};
use crate::store::tally::MemberCount;
use std::future::Future;
use std::sync::Arc;
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

/// A cache or a namespace, as a task uses it.
#[derive(Clone)]
pub(super) struct Place {
    cache: Cache,
    /// A handle that does not wait for locks.
    trying: Cache,
    namespace: Option<Arc<Named>>,
}

impl Place {
    fn new(cache: &Cache, namespace: Option<&Arc<Named>>) -> Self {
        Self { cache: cache.clone(), trying: cache.with_lock_wait(Duration::ZERO), namespace: namespace.cloned() }
    }

    fn scope(&self) -> Scope<'_> {
        Scope { cache: &self.cache, namespace: self.namespace.as_deref() }
    }

    fn trying(&self) -> Scope<'_> {
        Scope { cache: &self.trying, namespace: self.namespace.as_deref() }
    }

    async fn claim(&self, key: &[u8], how: &CreateOptions, task: Task) -> Result<Lookup> {
        self.claim_within(key, how, task, &Remaining::of(how.wait_policy()), &mut self.attempts()).await
    }

    /// The attempts to take the locks of one operation.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts::of(self.cache.lock_wait())
    }

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
            let next = finding.try_step(self.trying(), key, how);
            if attempts.fail(&next, finding.seeker.lock_limit()).await {
                continue;
            }
            let next = attempts.end(&self.cache, next);
            match finding.conclude(self.scope(), key, how, next)? {
                Next::Done(Lookup::Create(claim)) => return Ok(Lookup::Create(claim.waiting(self.cache.lock_wait()))),
                Next::Done(lookup) => return Ok(lookup),
                Next::Wait(pause) => sleep(pause).await,
            }
        }
    }

    async fn lock(&self, key: &[u8], options: &LockOptions) -> Result<KeyLock> {
        let mut locking = Locking::new(options.task_or(Task::unique), *options);
        locking.seeker.within(within());
        let mut attempts = self.attempts();
        loop {
            let locked = locking.step(self.trying(), key);
            if attempts.fail(&locked, locking.seeker.lock_limit()).await {
                continue;
            }
            match attempts.end(&self.cache, locked)? {
                Ok(lock) => return Ok(lock),
                Err(pause) => sleep(pause).await,
            }
        }
    }

    async fn get_or_create<V: Into<Created>, E, F: Future<Output = Result<V, E>>>(
        &self,
        key: &[u8],
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        let task = how.task_or(Task::unique);
        match self.claim(key, &how.for_value(), task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Create(claim) => self.created(claim, task, create).await.map_err(CreateError::Creator),
            // Not for one who needs a value.
            Lookup::Absent => run(task, create).await.map(value_of).map_err(CreateError::Creator),
        }
    }

    async fn get_or_create_optional<V: Into<Created>, E, F: Future<Output = Result<Option<V>, E>>>(
        &self,
        key: &[u8],
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        let task = how.task_or(Task::unique);
        match self.claim(key, how, task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(Some(item.value)),
            Lookup::Absent => Ok(None),
            Lookup::Create(claim) => {
                let made = run(task, create).await.map_err(CreateError::Creator)?.map(Into::into);
                self.store(claim, made.as_ref(), &mut self.attempts()).await;
                Ok(made.map(Created::into_value))
            }
        }
    }

    async fn get_or_refresh<V, E, F>(
        &self,
        key: &[u8],
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>>
    where
        V: Into<Created> + Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let task = how.task_or(Task::unique);
        match self.claim(key, &how.for_refresh(), task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => Ok(item.value),
            Lookup::Create(mut claim) if claim.stale().is_some() => {
                let stale = claim.take_stale();
                let (place, create) = (self.clone(), create());
                // A task of its own, so that it is within no other's creation.
                tokio::spawn(async move { place.created(claim, task, || create).await.map(drop) });
                Ok(stale)
            }
            Lookup::Create(claim) => self.created(claim, task, create).await.map_err(CreateError::Creator),
            // Not for one who needs a value.
            Lookup::Absent => run(task, create).await.map(value_of).map_err(CreateError::Creator),
        }
    }

    async fn get_or_create_multi<K: AsRef<[u8]>, V: Into<Created>, E, F: Future<Output = Result<Vec<Option<V>>, E>>>(
        &self,
        keys: &[K],
        how: &CreateOptions,
        create: impl FnOnce(Vec<usize>) -> F,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>> {
        let task = how.task_or(Task::unique);
        let mut batch = Batch::of(keys.len());
        let (left, mut attempts) = (Remaining::of(how.wait_policy()), self.attempts());
        for places in in_one_order(keys) {
            let lookup = self.claim_within(keys[places[0]].as_ref(), how, task, &left, &mut attempts).await?;
            batch.found(places, lookup);
        }
        let missing = batch.missing();
        let created = match missing.is_empty() {
            true => Vec::new(),
            false => run(task, || create(missing)).await.map_err(CreateError::Creator)?,
        };
        let mut attempts = self.attempts();
        for (places, claim, made) in batch.take_claims(created)? {
            self.store(claim, made.as_ref(), &mut attempts).await;
            batch.give(&places, made.map(Created::into_value));
        }
        Ok(batch.into_values())
    }

    /// Runs a creator and stores what it made.
    async fn created<V: Into<Created>, E, F: Future<Output = Result<V, E>>>(
        &self,
        claim: Claim,
        task: Task,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, E> {
        let made = run(task, create).await?.into();
        self.store(claim, Some(&made), &mut self.attempts()).await;
        Ok(made.into_value())
    }

    /// Stores what was created, or that there is nothing. What keeps the cache from that is counted, and no error of the
    /// caller's: it has its value. Dropped on the way, the creation has failed.
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

fn value_of(made: impl Into<Created>) -> Vec<u8> {
    made.into().into_value()
}

/// Attempts of one operation to take the locks of stripes. However many there are, all together take the time that the
/// handle waits for one.
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

    /// Whether somebody had the lock, and the task may try again: then a moment has passed. For one lock it tries no longer
    /// than a limit.
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

    /// The end of the attempts to take one lock, which is counted as a wait is.
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
    pub(super) fn place(&self) -> Place {
        Place::new(self, None)
    }

    /// As [`get_or_create`](Cache::get_or_create) for a task of tokio: while it waits it holds no thread. Each call is an
    /// owner of its own; a creator that asks for its own key gets [`OwnClaim`](Error::OwnClaim). When the future is
    /// dropped in the middle of a creation, the next who waits tries. It needs the feature `tokio`, and a runtime
    /// with its clock enabled.
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub async fn get_or_create_async<V: Into<Created>, E, F: Future<Output = Result<V, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.place().get_or_create(key.as_ref(), how, create).await
    }

    /// As [`get_or_create_optional`](Cache::get_or_create_optional) for a task of tokio: see
    /// [`get_or_create_async`](Cache::get_or_create_async).
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub async fn get_or_create_optional_async<V: Into<Created>, E, F: Future<Output = Result<Option<V>, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        self.place().get_or_create_optional(key.as_ref(), how, create).await
    }

    /// As [`get_or_create_async`](Cache::get_or_create_async), but a stale value is returned to its creator, too: a task of
    /// its own creates the new one. What goes wrong there is told to nobody, and if the runtime ends before it does, the
    /// claim ends, too; the next caller tries again.
    ///
    /// # Errors
    /// As [`get_or_create`](Cache::get_or_create).
    pub async fn get_or_refresh_async<V, E, F>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>>
    where
        V: Into<Created> + Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.place().get_or_refresh(key.as_ref(), how, create).await
    }

    /// As [`get_or_create_multi`](Cache::get_or_create_multi) for a task of tokio: see
    /// [`get_or_create_async`](Cache::get_or_create_async).
    ///
    /// # Errors
    /// As [`get_or_create_multi`](Cache::get_or_create_multi).
    pub async fn get_or_create_multi_async<'k, K, V, E, F>(
        &self,
        keys: &'k [K],
        how: &CreateOptions,
        create: impl FnOnce(Vec<&'k K>) -> F,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>>
    where
        K: AsRef<[u8]>,
        V: Into<Created>,
        F: Future<Output = Result<Vec<Option<V>>, E>>,
    {
        let create = |missing: Vec<usize>| create(missing.into_iter().map(|i| &keys[i]).collect());
        self.place().get_or_create_multi(keys, how, create).await
    }

    /// As [`claim`](Cache::claim) for a task of tokio. Storing what was created blocks for as long as a `set` does.
    ///
    /// # Errors
    /// As [`claim`](Cache::claim).
    pub async fn claim_async(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.place().claim(key.as_ref(), how, how.task_or(Task::unique)).await
    }

    /// As [`lock_with`](Cache::lock_with) for a task of tokio. Giving the lock back does not block.
    ///
    /// # Errors
    /// As [`lock`](Cache::lock).
    pub async fn lock_async(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        self.place().lock(key.as_ref(), options).await
    }
}

impl Namespace {
    pub(super) fn place(&self) -> Place {
        let (cache, named) = self.parts();
        Place::new(cache, Some(named))
    }

    /// As [`Cache::get_or_create_async`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub async fn get_or_create_async<V: Into<Created>, E, F: Future<Output = Result<V, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        self.place().get_or_create(&self.stored_key(key), how, create).await
    }

    /// As [`Cache::get_or_create_optional_async`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub async fn get_or_create_optional_async<V: Into<Created>, E, F: Future<Output = Result<Option<V>, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Option<Vec<u8>>, CreateError<E>> {
        self.place().get_or_create_optional(&self.stored_key(key), how, create).await
    }

    /// As [`Cache::get_or_refresh_async`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create`].
    pub async fn get_or_refresh_async<V, E, F>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>>
    where
        V: Into<Created> + Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        self.place().get_or_refresh(&self.stored_key(key), how, create).await
    }

    /// As [`Cache::get_or_create_multi_async`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::get_or_create_multi`].
    pub async fn get_or_create_multi_async<'k, K, V, E, F>(
        &self,
        keys: &'k [K],
        how: &CreateOptions,
        create: impl FnOnce(Vec<&'k K>) -> F,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<E>>
    where
        K: AsRef<[u8]>,
        V: Into<Created>,
        F: Future<Output = Result<Vec<Option<V>>, E>>,
    {
        let create = |missing: Vec<usize>| create(missing.into_iter().map(|i| &keys[i]).collect());
        self.place().get_or_create_multi(&self.mangled(keys), how, create).await
    }

    /// As [`Cache::claim_async`]; what is not said is the namespace's default.
    ///
    /// # Errors
    /// As [`Cache::claim`].
    pub async fn claim_async(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<Lookup> {
        self.place().claim(&self.stored_key(key), how, how.task_or(Task::unique)).await
    }

    /// As [`Cache::lock_async`].
    ///
    /// # Errors
    /// As [`Cache::lock`].
    pub async fn lock_async(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        self.place().lock(&self.stored_key(key), options).await
    }
}
