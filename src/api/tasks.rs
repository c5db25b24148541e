//! Claims for tasks of tokio: the same ways to a value and to a lock, without blocking a thread of the executor.
//!
//! What takes the stripe's lock runs on a thread for blocking work. A task that waits for another's claim holds no
//! thread: it looks at the claim's word now and then.

use super::cache::Cache;
use super::claim::{KeyLock, LockOptions, Locking, Pause, Task};
use super::create::{CreateError, CreateOptions, Finding, Lookup, Next};
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

/// A cache or a region, for a thread of its own.
#[derive(Clone)]
struct Place {
    cache: Cache,
    region: Option<Arc<Named>>,
}

impl Place {
    fn scope(&self) -> Scope<'_> {
        Scope { cache: &self.cache, region: self.region.as_deref() }
    }

    async fn claim(&self, key: Vec<u8>, how: &CreateOptions, task: Task) -> Result<Lookup> {
        let mut finding = Finding::new(task, how, how.wait_policy());
        finding.seeker.within(within());
        // Most find a value, and need no other thread for that.
        if let Some(lookup) = finding.fresh(self.scope(), &key) {
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
            (finding, next) = self.elsewhere(step).await?;
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
            (locking, locked) = self.elsewhere(step).await?;
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
        let claim = match self.claim(key, how, task).await? {
            Lookup::Hit(item) | Lookup::Stale(item) => return Ok(item.value),
            Lookup::Absent => None,
            Lookup::Create(claim) => Some(claim),
        };
        let mut tasks = within();
        tasks.push(task);
        // The creator may be a future that does nothing before it is polled, or do its work here.
        let value = WITHIN.scope(tasks, async { create().await }).await.map_err(CreateError::Creator)?;
        let Some(claim) = claim else { return Ok(value) };
        let store = move || {
            // What keeps the cache from storing it is counted there; the caller has its value.
            let _ = claim.store(&value);
            value
        };
        Ok(self.elsewhere(store).await?)
    }

    /// Does something on a thread for blocking work.
    async fn elsewhere<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(stopped) => Err(Error::Io {
                what: "work on a thread of the runtime for",
                path: self.cache.path().into(),
                source: std::io::Error::other(stopped),
            }),
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
    fn place(&self) -> Place {
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
    fn place(&self) -> Place {
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
