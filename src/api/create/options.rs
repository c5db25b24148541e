//! How a missing value is created, waited for and stored, and which values a caller accepts.

use super::failure::OnFailure;
use crate::api::item::{Item, Known, Stamp};
use crate::api::set_options::{SetOptions, after};
use crate::api::task::Task;
use crate::api::waiting::Wait;
use crate::clock::{Expiry, Time};
use crate::error::{Error, Result};
use crate::store::namespace::Defaults;
use crate::store::tag_words::MAX_TAGS;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Says whether a value may be cached.
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
    pub(in crate::api) wait: Wait,
    pub(super) unprotected: bool,
    pub(super) claim_max_age: Option<Duration>,
    pub(super) max_age: Option<Duration>,
    pub(super) max_fresh_age: Option<Duration>,
    pub(super) early_refresh: Option<f64>,
    pub(super) should_cache: Option<Predicate>,
    pub(super) task: Option<Task>,
    pub(super) or_uncached: bool,
    pub(super) on_failure: OnFailure,
    pub(super) needs_value: bool,
    pub(in crate::api) background: bool,
    pub(super) form: Option<Form>,
}

impl CreateOptions {
    /// No expiry except the defaults of the namespace, and a wait of at most 30 seconds for another caller's creation.
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

    /// When the value becomes stale. After that, one caller creates it anew, and all others get the stale value
    /// immediately.
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.set = self.set.soft_expiry(expiry);
        self
    }

    /// A number for the caller's own purposes, which is stored with the value: see
    /// [`SetOptions::flags`](crate::SetOptions::flags).
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.set = self.set.flags(flags);
        self
    }

    /// The tags of the value, or of the remembered absence: see [`SetOptions::tags`](crate::SetOptions::tags). A
    /// creator may add tags: see [`Created::tags`](crate::Created::tags).
    #[must_use]
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: &[T]) -> Self {
        self.set = self.set.tags(tags);
        self
    }

    /// Shortens the times to live of the value by a random part: see [`SetOptions::jitter`](crate::SetOptions::jitter).
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.set = self.set.jitter(part);
        self
    }

    /// How long the cache remembers that a creator found no value. Without this option, and without a default of the
    /// namespace, the cache does not remember it.
    #[must_use]
    pub fn absence_expiry(mut self, expiry: Expiry) -> Self {
        self.absence = Some(expiry);
        self
    }

    /// How long to wait for a value that another caller is creating; default 30 seconds.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// When the time for waiting is over, or the stripe's lock cannot be taken, creates the value without a claim
    /// instead of failing; off by default. Other callers may then create the value at the same time.
    /// [`Counters::unprotected`](crate::Counters::unprotected) counts such creations.
    #[must_use]
    pub fn unprotected(mut self, yes: bool) -> Self {
        self.unprotected = yes;
        self
    }

    /// The age of a claim after which another caller may create the value, too, although the first creator is alive. It
    /// is rounded up to a tenth of a second, and at most 19 days; default 5 minutes.
    #[must_use]
    pub fn claim_max_age(mut self, age: Duration) -> Self {
        self.claim_max_age = Some(age);
        self
    }

    /// The maximum age of a value that this call accepts, with a precision of 10 ms. An older value is a miss, even if
    /// it has not expired. The cache knows the age of values that `get_or_create` and its variants created, and of
    /// values that have flags, tags, a soft expiry or a namespace. It takes a value of unknown age for too old.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The maximum age of a value that this call accepts as fresh. An older value is stale, even if its soft expiry has
    /// not passed. Precision and unknown ages are as for [`max_age`](Self::max_age).
    #[must_use]
    pub fn max_fresh_age(mut self, age: Duration) -> Self {
        self.max_fresh_age = Some(age);
        self
    }

    /// Treats a remembered absence as a miss: the caller creates the value.
    /// [`get_or_create`](crate::Cache::get_or_create) always does so; a caller of [`claim`](crate::Cache::claim) that
    /// needs a value sets this option. Off by default.
    #[must_use]
    pub fn needs_value(mut self, yes: bool) -> Self {
        self.needs_value = yes;
        self
    }

    /// Says that the caller returns a stale value immediately and creates the new one in the background, as
    /// [`get_or_refresh`](crate::Cache::get_or_refresh) does. If such a creation fails or stores nothing, this process
    /// begins no other creation of the key in the background for one second, and uses the stale value. Off by default.
    #[must_use]
    pub fn background(mut self, yes: bool) -> Self {
        self.background = yes;
        self
    }

    /// Creates the value anew before its soft expiry, or before its expiry if it has no soft one. The probability of
    /// this rises towards that time, so that the value hardly ever expires. A larger `beta` refreshes earlier; 1 is a
    /// good value. For this purpose the duration of each creation is stored with the value. A negative or infinite
    /// `beta`, or one that is not a number, makes the call that uses these options fail with
    /// [`BadOption`](crate::Error::BadOption). Off by default. (Vattani, Chierichetti and Lowenstein, "Optimal
    /// Probabilistic Cache Stampede Prevention", VLDB 2015.)
    #[must_use]
    pub fn early_refresh(mut self, beta: f64) -> Self {
        self.early_refresh = Some(beta);
        self
    }

    /// Stores only values that this predicate accepts. The creator of a refused value gets the value, and each waiter
    /// creates its own.
    #[must_use]
    pub fn should_cache(mut self, predicate: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.should_cache = Some(Arc::new(predicate));
        self
    }

    /// If the cache itself fails, creates and returns the value and stores nothing, as if there were no cache. The
    /// cache fails if the handle is read-only, if a stopped process holds the stripe's lock
    /// ([`Busy`](crate::Error::Busy)), if the time for waiting is over, if the locks are lost, if the file is gone, if
    /// no seat is free, and with all its other errors except those below.
    /// [`Counters::uncached`](crate::Counters::uncached) counts such creations, and [`Claim::uncached`] returns the
    /// error. Off by default.
    ///
    /// Errors that the caller causes remain errors: [`OwnClaim`](crate::Error::OwnClaim) of a creator that asks for its
    /// own key, [`BadOption`](crate::Error::BadOption) and [`TooManyTags`](crate::Error::TooManyTags). So do errors
    /// that a creator's failure causes: [`Resting`](crate::Error::Resting) and
    /// [`FailedElsewhere`](crate::Error::FailedElsewhere).
    ///
    /// [`Claim::uncached`]: crate::Claim::uncached
    #[must_use]
    pub fn or_uncached(mut self, yes: bool) -> Self {
        self.or_uncached = yes;
        self
    }

    /// If the creator returns an error and there is a stale value, returns this value instead of the error. The value
    /// is looked up again at that moment: if it has expired, or was deleted, replaced or invalidated by
    /// [`Invalidation::Hard`](crate::Invalidation::Hard), it is not returned. The error is dropped, so a creator should
    /// report it by itself; [`Counters::stale_on_error`](crate::Counters::stale_on_error) counts such calls. Off by
    /// default.
    ///
    /// A value is stale between its [soft expiry](Self::soft_expiry) and its expiry, and after a soft invalidation.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Expiry};
    /// use std::time::Duration;
    /// let how = CreateOptions::new().soft_expiry(Expiry::After(Duration::ZERO)).stale_if_error(true);
    /// cache.get_or_create("rates", &how, || "1.08")?;
    /// let fails = || Err::<Vec<u8>, _>(std::io::Error::other("the server is down"));
    /// assert_eq!(cache.get_or_create("rates", &how, fails)?, b"1.08");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stale_if_error(mut self, yes: bool) -> Self {
        self.on_failure.stale_if_error = yes;
        self
    }

    /// After the creator returned an error, no caller in any process creates the value of this key for a time, its
    /// rest: callers get the stale value, or the error [`Resting`](crate::Error::Resting). The first rest lasts
    /// `first`, and each further failure in a row doubles it, up to `most`. Both are limited to between 0.1 seconds and
    /// one hour. Up to a quarter of each rest is taken off at random, so that many keys do not end their rests
    /// together. Off by default.
    ///
    /// A write or deletion of the key ends the rest, and so does an invalidation. After a rest, its failures still
    /// count for as long again as the rest lasted. A rest is a hint, and the file has a limited number of places for
    /// rests: if many keys of a stripe fail, the oldest rests end early. All callers respect a rest, even those that
    /// did not set this option.
    #[must_use]
    pub fn rest(mut self, first: Duration, most: Duration) -> Self {
        self.on_failure = self.on_failure.rest(first, most);
        self
    }

    /// If this caller waits for another caller's creation, and that creator returns an error, fails with
    /// [`FailedElsewhere`](crate::Error::FailedElsewhere) instead of creating the value. If the other creator dies,
    /// panics or is cancelled, this caller creates the value. Off by default.
    #[must_use]
    pub fn share_failure(mut self, yes: bool) -> Self {
        self.on_failure.share = yes;
        self
    }

    /// Serves as many callers as possible while creators or the cache fail. Sets
    /// [`stale_if_error`](Self::stale_if_error), [`share_failure`](Self::share_failure),
    /// [`or_uncached`](Self::or_uncached), and a [`rest`](Self::rest) from 1 to 30 seconds, unless a rest is set
    /// already.
    #[must_use]
    pub fn resilient(mut self) -> Self {
        self.on_failure = self.on_failure.resilient();
        self.or_uncached = true;
        self
    }

    /// The owner of the claim. By default it is the calling thread. In tokio tasks, in
    /// [`get_or_refresh`](crate::Cache::get_or_refresh) and in [`request_claim`](crate::Cache::request_claim), each
    /// call is by default a separate owner.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }

    /// Whether this caller judges a value by its age or the cost of its creation, and not only by whether it is stale.
    pub(crate) fn judges_age(&self) -> bool {
        self.max_age.is_some() || self.max_fresh_age.is_some() || self.early_refresh.is_some()
    }

    /// The owner of the claim, or `other` if none is set.
    pub(crate) fn task_or(&self, other: fn() -> Task) -> Task {
        self.task.unwrap_or_else(other)
    }

    /// Accepts only values of this form; others are misses.
    #[cfg(feature = "typed")]
    pub(crate) fn form(mut self, form: Form) -> Self {
        self.form = Some(form);
        self
    }

    /// The options of a call that needs a value.
    pub(crate) fn for_value(&self) -> Self {
        self.clone().needs_value(true)
    }

    /// The options of a call that needs a value and refreshes a stale one in the background.
    pub(crate) fn for_refresh(&self) -> Self {
        self.for_value().background(true)
    }

    /// # Errors
    /// [`BadOption`](Error::BadOption) and [`TooManyTags`](Error::TooManyTags).
    pub(super) fn check(&self) -> Result<()> {
        match self.early_refresh {
            Some(beta) if !(beta.is_finite() && beta >= 0.0) => Err(Error::BadOption {
                option: "early_refresh",
                given: beta.to_string(),
                expected: "a finite number of at least 0; 1 is a good one".into(),
            }),
            _ => match self.set.tag_numbers().too_many() {
                Some(found) => Err(Error::TooManyTags { found, limit: MAX_TAGS }),
                None => Ok(()),
            },
        }
    }

    /// Whether a value is too old for this caller to use at all.
    pub(super) fn is_too_old(&self, known: &Known, time: &Time) -> bool {
        self.max_age.is_some_and(|age| is_older(known, age, time))
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

/// The form of the values that a caller can read. Other values are misses for this caller. Comparing a value with the
/// form runs no code of the caller, so the stripe may be locked at that time.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    flags: u32,
    start: [u8; 8],
    /// A value of this form that turned out to be unreadable.
    except: Option<Stamp>,
}

#[cfg_attr(not(feature = "typed"), expect(dead_code, reason = "only typed values have a form"))]
impl Form {
    /// The form of values that have these flags and begin with these bytes.
    pub(crate) fn new(flags: u32, start: [u8; 8]) -> Self {
        Self { flags, start, except: None }
    }

    /// This form, but without the value that has this stamp.
    pub(crate) fn except(self, stamp: Stamp) -> Self {
        Self { except: Some(stamp), ..self }
    }

    pub(super) fn has_flags(&self, flags: u32) -> bool {
        self.flags == flags
    }

    pub(super) fn fits(&self, item: &Item) -> bool {
        self.has_flags(item.flags) && item.value.starts_with(&self.start) && self.except != Some(item.stamp)
    }
}

/// Whether a value is at least this old, or of unknown age.
pub(super) fn is_older(known: &Known, age: Duration, time: &Time) -> bool {
    let created_ms = known.extension.metadata().created_ms;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    created_ms == 0 || time.now_ms().saturating_sub(created_ms) >= age_ms
}
