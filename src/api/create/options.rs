//! How a missing value is created, waited for and stored.

use super::form::Form;
use crate::api::claim::{Task, Wait};
use crate::api::set_options::{SetOptions, after};
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::store::namespace::Defaults;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Whether a value may be cached.
type Predicate = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// How a missing value is created, waited for and stored.
///
/// ```
/// use kennel::{CreateOptions, Expiry, Wait};
/// use std::time::Duration;
/// let how = CreateOptions::new()
///     .expiry(Expiry::After(Duration::from_secs(600)))
///     .soft_expiry(Expiry::After(Duration::from_secs(60)))
///     .wait(Wait::For(Duration::from_secs(2)));
/// # let _ = how;
/// ```
#[derive(Clone, Default)]
pub struct CreateOptions {
    pub(super) set: SetOptions,
    pub(super) absence: Option<Expiry>,
    pub(super) wait: Wait,
    pub(super) unprotected: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) usable_for: Option<Duration>,
    pub(super) fresh_for: Option<Duration>,
    pub(super) early: Option<f64>,
    pub(super) should_cache: Option<Predicate>,
    pub(super) task: Option<Task>,
    pub(super) or_uncached: bool,
    pub(super) needs_value: bool,
    pub(super) background: bool,
    pub(super) form: Option<Form>,
}

impl CreateOptions {
    /// No expiry but those that a namespace may have by default; waits 30 seconds at most for another's creation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the value expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.set = self.set.expiry(expiry);
        self
    }

    /// When the value becomes stale: from then on one caller creates it anew, and all others get the stale one at once.
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.set = self.set.soft_expiry(expiry);
        self
    }

    /// The caller's flags that are stored with the value.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.set = self.set.flags(flags);
        self
    }

    /// Remembers, until then, that a creator found no value. Without it, and without a default of the namespace, that is
    /// not remembered.
    #[must_use]
    pub fn absence_expiry(mut self, expiry: Expiry) -> Self {
        self.absence = Some(expiry);
        self
    }

    /// How long to wait for a value that another is creating.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// When the time for waiting is over, or the stripe's lock is not to be had, creates the value all the same
    /// instead of failing. It is counted.
    #[must_use]
    pub fn unprotected(mut self, yes: bool) -> Self {
        self.unprotected = yes;
        self
    }

    /// After so long another may create the value, too, although the first creator lives; to a tenth of a second, at
    /// most 19 days. Default five minutes.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Takes a value that was created longer ago than this as one that is not there, although it was stored for longer:
    /// an expiry of the caller who asks, beside that of the caller who stored. To a hundredth of a second. A value that
    /// was created here knows when, as does one that was stored with flags, with a soft expiry or in a namespace; of any
    /// other nobody knows its age, and it counts as too old.
    #[must_use]
    pub fn usable_for(mut self, age: Duration) -> Self {
        self.usable_for = Some(age);
        self
    }

    /// Takes a value that was created longer ago than this as stale, although it was stored to be fresh for longer; else
    /// as [`usable_for`](Self::usable_for).
    #[must_use]
    pub fn fresh_for(mut self, age: Duration) -> Self {
        self.fresh_for = Some(age);
        self
    }

    /// Takes a remembered absence as a miss: the key is claimed and created. [`get_or_create`](crate::Cache::get_or_create)
    /// does so by itself; who creates by [`claim`](crate::Cache::claim) and cannot do without a value asks for it here.
    #[must_use]
    pub fn needs_value(mut self, yes: bool) -> Self {
        self.needs_value = yes;
        self
    }

    /// The caller returns a stale value at once and creates the new one in the background, as
    /// [`get_or_refresh`](crate::Cache::get_or_refresh) does by itself. When such a creation fails, or its value is not
    /// stored, this process begins no other of that key in the background for a second, and uses the stale value.
    #[must_use]
    pub fn background(mut self, yes: bool) -> Self {
        self.background = yes;
        self
    }

    /// Creates the value anew before it expires, with a probability that rises towards its soft expiry, or its expiry
    /// if it has no other, so that it hardly ever expires. A larger `beta` is earlier; 1 is a good one. What a creation
    /// takes is remembered beside the value. A `beta` below 0, and one that is no finite number, is
    /// [`BadOption`](crate::Error::BadOption) when it is used. (Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache
    /// Stampede Prevention", VLDB 2015.)
    #[must_use]
    pub fn early(mut self, beta: f64) -> Self {
        self.early = Some(beta);
        self
    }

    /// Stores only values of which this says yes; what it refuses is returned to its creator, and those who waited for
    /// it create for themselves.
    #[must_use]
    pub fn should_cache(mut self, predicate: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.should_cache = Some(Arc::new(predicate));
        self
    }

    /// When the cache itself fails, creates the value, returns it and stores nothing, as if there were no cache. The
    /// cache fails when the handle is read-only, a stopped process holds the stripe's lock ([`Busy`](crate::Error::Busy)),
    /// the time for waiting is over, the locks are lost, the file is gone, no seat is free, or another of its errors
    /// comes. [`Counters::uncached`](crate::Counters::uncached) counts such creations, and [`Claim::uncached`] says why.
    ///
    /// Two errors stay errors, since the caller makes them: [`OwnClaim`](crate::Error::OwnClaim) of a creator that asks
    /// for its own key, and [`BadOption`](crate::Error::BadOption). Off by default.
    ///
    /// [`Claim::uncached`]: crate::Claim::uncached
    #[must_use]
    pub fn or_uncached(mut self, yes: bool) -> Self {
        self.or_uncached = yes;
        self
    }

    /// In whose name the key is claimed; by default the calling thread's.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }

    /// In whose name.
    pub(crate) fn task_or(&self, other: fn() -> Task) -> Task {
        self.task.unwrap_or_else(other)
    }

    /// Takes only values of this form; others are misses.
    #[cfg(feature = "typed")]
    pub(crate) fn form(mut self, form: Form) -> Self {
        self.form = Some(form);
        self
    }

    /// As asked by one who must have a value.
    pub(crate) fn for_value(&self) -> Self {
        self.clone().needs_value(true)
    }

    /// As asked by one who must have a value, and refreshes a stale one in the background.
    pub(crate) fn for_refresh(&self) -> Self {
        self.for_value().background(true)
    }

    /// Whether all that is said can be.
    pub(super) fn check(&self) -> Result<()> {
        match self.early {
            Some(beta) if !(beta.is_finite() && beta >= 0.0) => Err(Error::BadOption {
                option: "early",
                given: beta.to_string(),
                expected: "a finite number of at least 0; 1 is a good one".into(),
            }),
            _ => Ok(()),
        }
    }

    #[cfg(any(feature = "tokio", feature = "typed"))]
    pub(crate) fn wait_policy(&self) -> Wait {
        self.wait
    }

    /// When a remembered absence expires, if it is remembered at all.
    pub(super) fn absence(&self, defaults: Defaults) -> Option<Expiry> {
        let default = (defaults.none_ttl_ms != 0).then(|| after(defaults.none_ttl_ms));
        self.absence.or(default)
    }
}

impl fmt::Debug for CreateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateOptions").field("set", &self.set).field("wait", &self.wait).finish_non_exhaustive()
    }
}
