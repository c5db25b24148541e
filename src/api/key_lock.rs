//! Locks of keys.

use super::acquire::{Acquire, Caller, EpochSnapshot, HeldClaim, Progress, Purpose, Target};
use super::cache::Cache;
use super::count::count;
use super::task::Task;
use super::waiting::{Wait, run};
use crate::error::{Error, Result};
use crate::store::claim::Kind;
use crate::store::counters::MemberCount;
use crate::sync::clock::monotonic_ms;
use std::fmt;
use std::time::Duration;

/// How a key is locked.
#[derive(Clone, Copy, Debug, Default)]
pub struct LockOptions {
    pub(super) wait: Wait,
    max_age: Option<Duration>,
    unprotected: bool,
    pub(super) task: Option<Task>,
}

impl LockOptions {
    /// A wait of at most 30 seconds for the lock, which lasts until it is released or its process dies.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait for the lock; default 30 seconds.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// The age after which another caller may take the lock over although its owner is alive. It is rounded up to a
    /// tenth of a second, and at most 19 days. By default a lock has no maximum age.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// If all claims of the key's stripe are held, returns a lock that excludes no other caller instead of waiting; off
    /// by default. [`Counters::unprotected`](crate::Counters::unprotected) counts such locks.
    #[must_use]
    pub fn unprotected_when_full(mut self, yes: bool) -> Self {
        self.unprotected = yes;
        self
    }

    /// The owner of the lock; by default the calling thread, and in tokio a new task for each call.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }
}

impl Purpose for LockOptions {
    type Got = KeyLock;
    type Usable = KeyLock;
    const KIND: Kind = Kind::Lock;

    fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    fn claimed(&self, _: Target<'_>, held: HeldClaim, _: EpochSnapshot, _: Option<KeyLock>) -> Result<KeyLock> {
        Ok(KeyLock(Some(held)))
    }

    fn unprotected(&self, of: Target<'_>) -> Result<Option<KeyLock>> {
        if !self.unprotected {
            return Ok(None);
        }
        count(&*of.cache.current()?, MemberCount::Unprotected);
        Ok(Some(KeyLock(None)))
    }
}

/// The lock of a key. Dropping it, on any thread of the process, releases the lock.
#[must_use]
pub struct KeyLock(Option<HeldClaim>);

impl KeyLock {
    /// Whether this lock excludes other callers. It does not if all claims of the stripe were held and
    /// [`unprotected_when_full`](LockOptions::unprotected_when_full) was set, after another caller took it over, or
    /// after the cache file was destroyed or replaced, which ends all locks in it.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.0.as_ref().is_some_and(HeldClaim::is_held)
    }

    /// Releases the lock. Returns `false` if it no longer excluded other callers, or never did.
    pub fn release(self) -> bool {
        self.is_protected()
    }
}

impl fmt::Debug for KeyLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLock").field("is_protected", &self.is_protected()).finish()
    }
}

impl Cache {
    /// Locks a key: no other thread or process can lock or create it meanwhile, since locks and creations of a key
    /// exclude each other. The key's value is not locked: reads and writes continue. The lock ends when it is dropped,
    /// or when its process dies, which other processes notice within one second.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::Wait;
    /// let lock = cache.lock("nightly report", Wait::default())?;
    /// assert!(cache.is_claimed("nightly report"));
    /// drop(lock);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](Error::TimedOut); [`OwnClaim`](Error::OwnClaim) if this thread has already claimed the key;
    /// [`Busy`](Error::Busy) if the stripe's own lock cannot be taken in time; and the errors of [`set`](Cache::set).
    pub fn lock(&self, key: impl AsRef<[u8]>, wait: Wait) -> Result<KeyLock> {
        self.lock_with(key, &LockOptions::new().wait(wait))
    }

    /// [`lock`](Cache::lock) with options.
    ///
    /// # Errors
    /// Those of [`lock`](Cache::lock).
    pub fn lock_with(&self, key: impl AsRef<[u8]>, options: &LockOptions) -> Result<KeyLock> {
        let task = options.task.unwrap_or_else(Task::of_thread);
        let mut caller = Caller::of_thread(self, task, options.wait);
        self.with_stored_key(key.as_ref(), |key| {
            let mut progress = Progress::towards(*options);
            let mut acquire = Acquire::new(self, key, &mut progress, &mut caller);
            run(|| acquire.step())
        })
    }

    /// Locks a key if no other caller has claimed it. Returns `None` if another caller has, or if all claims of its
    /// stripe are held.
    ///
    /// # Errors
    /// Those of [`lock`](Cache::lock), except `TimedOut`.
    pub fn try_lock(&self, key: impl AsRef<[u8]>) -> Result<Option<KeyLock>> {
        match self.lock(key, Wait::No) {
            Ok(lock) => Ok(Some(lock)),
            Err(Error::TimedOut { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a caller is creating or locking a key at this moment. This takes no lock, and does not test whether the
    /// caller is alive.
    #[must_use]
    pub fn is_claimed(&self, key: impl AsRef<[u8]>) -> bool {
        let Some(opened) = self.readable() else { return false };
        self.with_stored_key(key.as_ref(), |key| {
            opened.store.claim_seen(&opened.store.key(key), monotonic_ms()).is_some()
        })
    }
}
