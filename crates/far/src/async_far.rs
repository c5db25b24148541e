//! A far tier for tasks of tokio.
//!
//! A near hit needs no thread, and a task that waits for another caller's fill or for another creator holds none. Each
//! call to the server, together with its changes to the near tier, is one closure on a thread for blocking work. The
//! closure runs to its end even if the task that waits for it is dropped, so each write to the far tier is followed by
//! the deletion of its near key.

use crate::create::{Asked, Create, CreateError, Pauses, Turn};
use crate::creating::check_not_own;
use crate::error::{Error, Result};
use crate::far::{Far, Inner};
use crate::near::Claim;
use crate::read::{Found, Look, Near};
use crate::resp::Value;
use kennel::{Expiry, Task};
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// A [`Far`] for tasks of tokio, made by [`Far::to_async`]: a task holds no thread while it waits for another caller's
/// fetch or creation. It needs the feature `tokio`, and a runtime of either kind with its timer enabled.
///
/// Each method does what the method of the same name on [`Far`] does. A future that is dropped before it is ready
/// leaves nothing half done. A command that was sent is executed, and its near keys are deleted. A value that was
/// requested is stored in the near tier. A creation ends, and the next caller may create.
///
/// In a process, a handle and its clones make at most 32 calls to the server at a time. Further calls wait without a
/// thread.
///
/// A runtime does not survive a fork. A forked child may use its copy of this handle in a runtime of its own.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use kennel_far::{Create, Expiry, Options};
/// let far = Options::new("redis://127.0.0.1").prefix("app:").open("/dev/shm/app.kennel")?.to_async();
/// far.set("app:user:7", "Ann", Expiry::Never).await?;
/// let name: Option<Vec<u8>> = far.get("app:user:7").await?;
/// let report = far.get_or_create("app:report", &Create::new(), async || Ok::<_, std::io::Error>(b"...".to_vec())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncFar {
    far: Far,
}

impl fmt::Debug for AsyncFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFar").field(&self.far).finish()
    }
}

impl Far {
    /// This handle for tasks of tokio.
    #[must_use]
    pub fn to_async(&self) -> AsyncFar {
        AsyncFar { far: self.clone() }
    }
}

impl AsyncFar {
    /// The handle that this one was made from: for [`stats`](Far::stats), for example.
    #[must_use]
    pub fn far(&self) -> &Far {
        &self.far
    }

    /// [`Far::get`] for tasks. A near hit is returned at once.
    ///
    /// # Errors
    /// Those of [`Far::get`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let (key, inner) = (key.as_ref(), &self.far.0);
        if let Some(value) = inner.near_value(key) {
            return Ok(Some(value));
        }
        match self.look(Task::unique(), key, false, inner.fetch_wait()).await {
            Near::Value(value) => Ok(Some(value)),
            Near::Absent => Ok(None),
            Near::Fill(claim) => self.fill(key, claim).await,
            Near::Bypass => self.get_fresh(key).await,
        }
    }

    /// [`Far::get_fresh`] for tasks.
    ///
    /// # Errors
    /// Those of [`Far::get_fresh`].
    pub async fn get_fresh(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let key = key.as_ref().to_vec();
        self.block(move |inner| inner.bypass(&key)).await
    }

    /// [`Far::get_multi`] for tasks.
    ///
    /// # Errors
    /// Those of [`Far::get_multi`].
    pub async fn get_multi<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        let inner = &self.far.0;
        let mut batch = inner.near_batch(&keys);
        let (task, mut fills, mut bypasses, mut waits) = (Task::unique(), Vec::new(), Vec::new(), Vec::new());
        for key in batch.missing() {
            match self.look(task, key, false, Duration::ZERO).await {
                Near::Value(value) => batch.give(key, Some(&value)),
                Near::Absent => {}
                Near::Fill(claim) => fills.push((key.to_vec(), claim)),
                Near::Bypass if inner.is_being_filled(key) => waits.push(key),
                Near::Bypass => bypasses.push(key.to_vec()),
            }
        }
        if !fills.is_empty() {
            let fill = move |inner: &Inner| {
                let (keys, claims): (Vec<_>, Vec<_>) = fills.into_iter().unzip();
                let mut done = Vec::new();
                inner.fill_many(keys.iter().map(Vec::as_slice).zip(claims).collect(), &mut done)?;
                Ok(owned(done))
            };
            self.block(fill).await?.iter().for_each(|(key, value)| batch.give(key, value.as_ref()));
        }
        let deadline = Instant::now() + inner.fetch_wait();
        for key in waits {
            match self.look(task, key, false, deadline.saturating_duration_since(Instant::now())).await {
                Near::Value(value) => batch.give(key, Some(&value)),
                Near::Absent => {}
                Near::Fill(claim) => batch.give(key, self.fill(key, claim).await?.as_ref()),
                Near::Bypass => bypasses.push(key.to_vec()),
            }
        }
        if !bypasses.is_empty() {
            let fetch = move |inner: &Inner| {
                let keys: Vec<&[u8]> = bypasses.iter().map(Vec::as_slice).collect();
                let mut done = Vec::new();
                inner.bypass_many(&keys, &mut done)?;
                Ok(owned(done))
            };
            self.block(fetch).await?.iter().for_each(|(key, value)| batch.give(key, value.as_ref()));
        }
        Ok(batch.values)
    }

    /// [`Far::set`] for tasks.
    ///
    /// # Errors
    /// Those of [`Far::set`].
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expiry: Expiry) -> Result<()> {
        let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.write(move |far| far.set(key, value, expiry)).await
    }

    /// [`Far::delete`] for tasks.
    ///
    /// # Errors
    /// Those of [`Far::delete`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref().to_vec();
        self.write(move |far| far.delete(key)).await
    }

    /// [`Far::incr`] for tasks.
    ///
    /// # Errors
    /// Those of [`Far::incr`].
    pub async fn incr(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64> {
        let key = key.as_ref().to_vec();
        self.write(move |far| far.incr(key, delta)).await
    }

    /// [`Far::call`] for tasks.
    ///
    /// # Errors
    /// Those of [`Far::call`].
    pub async fn call<P: AsRef<[u8]>, K: AsRef<[u8]>>(&self, command: &[P], changes: &[K]) -> Result<Value> {
        let command: Vec<Vec<u8>> = command.iter().map(|part| part.as_ref().to_vec()).collect();
        let changes: Vec<Vec<u8>> = changes.iter().map(|key| key.as_ref().to_vec()).collect();
        self.write(move |far| far.call(&command, &changes)).await
    }

    /// [`Far::get_or_create`] for tasks: the creator is a future of the calling task. If this future is dropped while it
    /// creates, the lease is given back, and the next caller tries.
    ///
    /// # Errors
    /// Those of [`Far::get_or_create`].
    pub async fn get_or_create<E, F: Future<Output = Result<Vec<u8>, E>>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &Create,
        create: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, CreateError<E>> {
        let (key, task, deadline) = (key.as_ref(), Task::unique(), Instant::now() + how.wait);
        let wanted = || self.far.0.wanted(key);
        check_not_own(wanted)?;
        let claim = match self.look(task, key, true, how.wait).await {
            Near::Value(value) => return Ok(value),
            Near::Fill(claim) => Some(claim),
            Near::Absent | Near::Bypass => None,
        };
        let mut asked = Asked::new(&self.far, key, how, claim)?.in_runtime(Handle::current());
        let mut pauses = Pauses::until(deadline);
        let creation = loop {
            asked = match self.block(move |_| asked.look()).await? {
                Turn::Value(value) => return Ok(value),
                Turn::Create(creation) => break Some(creation),
                Turn::Wait(asked) => asked,
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break None,
            }
        };
        if creation.is_none() {
            self.far.0.counters.creations.add(1);
        }
        let value = wanted().during_task(task.run_async(create)).await.map_err(CreateError::Creator)?;
        let (Some(creation), expiry) = (creation, how.expiry) else { return Ok(value) };
        let store = move |_: &Inner| {
            // A value that cannot be stored is returned all the same.
            drop(creation.store(&value, expiry));
            Ok(value)
        };
        Ok(self.block(store).await?)
    }
}

fn owned(found: Vec<Found<'_>>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    found.into_iter().map(|(key, value)| (key.to_vec(), value)).collect()
}

/// The parts of the methods above.
impl AsyncFar {
    /// [`Inner::look`] for a task.
    async fn look(&self, task: Task, key: &[u8], needs_value: bool, wait: Duration) -> Near {
        let inner = &self.far.0;
        let mut look = Look::new(inner, key, needs_value, wait);
        while let Some((near, wait, claims)) = look.attempt() {
            let lookup = near.claim_as(task, key, wait, &claims).await;
            if let Some(found) = look.found(near, lookup) {
                return found;
            }
        }
        Near::Bypass
    }

    async fn fill(&self, key: &[u8], claim: Claim) -> Result<Option<Vec<u8>>> {
        let key = key.to_vec();
        self.block(move |inner| inner.fill(&key, claim)).await
    }

    async fn write<R: Send + 'static>(&self, work: impl FnOnce(&Far) -> Result<R> + Send + 'static) -> Result<R> {
        let far = self.far.clone();
        self.block(move |_| work(&far)).await
    }

    /// Runs `work` on a thread for blocking work, to its end, even if the caller's future is dropped.
    async fn block<R: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<R> + Send + 'static) -> Result<R> {
        let turns = Arc::clone(&self.far.0.process()?.turns);
        // The semaphore is never closed.
        let turn = turns.acquire_owned().await.ok();
        let far = self.far.clone();
        let working = spawn_blocking(move || {
            let _turn = turn;
            work(&far.0)
        });
        match working.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Error::Connection("the runtime of tokio has ended".into())),
            },
        }
    }
}
