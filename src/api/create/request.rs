//! A request for a claim, which a caller whose thread must not wait repeats until it has an answer.

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

/// A [`Cache::claim`] for a caller whose thread must not wait, such as an event loop without tokio. Dropping it ends
/// the request, but not a claim that it has returned.
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
    /// Asks for the claim, and never waits. While another caller creates the value, the answer is `Pending`: ask again
    /// after 1 to 20 milliseconds. Most such calls only look at one word of the file.
    ///
    /// The time for waiting, [`CreateOptions::wait`], begins with the request, and ends with
    /// [`TimedOut`](crate::Error::TimedOut) as in [`Cache::claim`]. A call after `Ready` or an error begins a new look,
    /// within the same time for waiting.
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

    /// Whether the caller has waited for another caller's creation since the request began. If so, a [hit](Lookup::Hit)
    /// is the value that the other caller created. See [`Cache::claim_for_item`].
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
    /// Begins a [`claim`](Cache::claim) that never waits: the caller asks for it by [`ClaimRequest::poll`], as often as
    /// it likes. Each request is a separate owner, unless the options name one.
    /// [`Claim::try_store`](crate::Claim::try_store) stores a created value without waiting.
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
    /// [`BadOption`](crate::Error::BadOption) and [`TooManyTags`](crate::Error::TooManyTags), for invalid options.
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
