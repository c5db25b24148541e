//! A claim that is asked for again and again, by a caller whose thread must not wait.

use super::creation::Lookup;
use super::options::CreateOptions;
use super::purpose::ToCreate;
use crate::api::acquire::{Acquire, Caller, Progress};
use crate::api::cache::Cache;
use crate::api::task::Task;
use crate::api::waiting::{Pause, Step};
use crate::error::Result;
use std::fmt;
use std::task::Poll;
use std::time::{Duration, Instant};

/// A [`Cache::claim`] of a caller whose thread must not wait, such as an event loop without tokio. Dropping it ends the
/// request, not a claim that it has returned.
#[must_use]
pub struct ClaimRequest {
    /// A handle that does not wait for locks.
    trying: Cache,
    key: Vec<u8>,
    caller: Caller,
    progress: Progress<ToCreate<CreateOptions>>,
    /// The pause before the next step, and when it began.
    pause: Option<(Pause, Instant)>,
}

impl ClaimRequest {
    /// Asks for the claim, and never waits. While another caller creates the value the answer is pending: the caller asks
    /// again after one to twenty milliseconds. Most such calls only look at one word of the file.
    ///
    /// The time for waiting, [`CreateOptions::wait`], begins with the request, and ends with
    /// [`TimedOut`](crate::Error::TimedOut) as in [`Cache::claim`]. After another answer than a pending one a further call
    /// begins a new look, within the same time.
    ///
    /// # Errors
    /// Those of [`Cache::claim`].
    pub fn poll(&mut self) -> Result<Poll<Lookup>> {
        if self.pause.as_ref().is_some_and(|(pause, since)| pause.lasts(*since)) {
            return Ok(Poll::Pending);
        }
        self.pause = None;
        let mut acquire = Acquire::new(&self.trying, &self.key, &mut self.progress, &mut self.caller);
        Ok(match acquire.step()? {
            Step::Done(lookup) => Poll::Ready(lookup),
            Step::Wait(pause) => {
                self.pause = Some((pause, Instant::now()));
                Poll::Pending
            }
        })
    }

    /// Whether the caller has had to wait for another caller's creation since the request began: then a
    /// [hit](Lookup::Hit) is what that one created. See [`Cache::claim_for_item`].
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.progress.has_waited()
    }
}

impl fmt::Debug for ClaimRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimRequest").field("is_pending", &self.pause.is_some()).finish_non_exhaustive()
    }
}

impl Cache {
    /// Begins a [`claim`](Cache::claim) that never waits: [`ClaimRequest::poll`] asks for it, as often as the caller likes.
    /// Each request is an owner of its own, unless the options name one. A created value is stored without a wait by
    /// [`Claim::try_store`](crate::Claim::try_store).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Lookup};
    /// use std::task::Poll;
    /// let mut first = cache.request_claim("key", &CreateOptions::new())?;
    /// let mut second = cache.request_claim("key", &CreateOptions::new())?;
    /// let Poll::Ready(Lookup::Create(claim)) = first.poll()? else { panic!("the key is missing") };
    /// assert!(second.poll()?.is_pending());
    /// claim.store("value")?;
    /// assert!(matches!(second.poll()?, Poll::Ready(Lookup::Hit(item)) if item.value == b"value"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BadOption`](crate::Error::BadOption).
    pub fn request_claim(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<ClaimRequest> {
        Ok(ClaimRequest {
            trying: self.with_lock_wait(Duration::ZERO),
            key: self.stored_key(key),
            caller: Caller::of_request(self, how.task_or(Task::unique), how.wait),
            progress: Progress::towards(ToCreate::new(how.clone())?),
            pause: None,
        })
    }
}
