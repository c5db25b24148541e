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
    /// No expiry except a namespace's defaults, and a wait of at most 30 seconds for another caller's creation.
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

    /// When the value becomes stale. From then on one caller creates it anew, and all others get the stale one immediately.
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

    /// The tags of the value, or of the remembered absence: see [`SetOptions::tags`](crate::SetOptions::tags). A creator may
    /// add others: see [`Created::tags`](crate::Created::tags).
    #[must_use]
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: &[T]) -> Self {
        self.set = self.set.tags(tags);
        self
    }

    /// Shortens the times of the value by a random part: see [`SetOptions::jitter`](crate::SetOptions::jitter).
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.set = self.set.jitter(part);
        self
    }

    /// How long the cache remembers that a creator found no value. Without this, and without a default of the namespace,
    /// it does not remember that.
    #[must_use]
    pub fn absence_expiry(mut self, expiry: Expiry) -> Self {
        self.absence = Some(expiry);
        self
    }

    /// How long to wait for a value that another caller is creating.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Creates the value without protection, instead of failing, when the time for waiting is over or the stripe's lock
    /// cannot be taken. [`Counters::unprotected`](crate::Counters::unprotected) counts this.
    #[must_use]
    pub fn unprotected(mut self, yes: bool) -> Self {
        self.unprotected = yes;
        self
    }

    /// The age of a claim after which another caller may create the value, too, although the first creator is alive; to a
    /// tenth of a second, at most 19 days. The default is five minutes.
    #[must_use]
    pub fn claim_max_age(mut self, age: Duration) -> Self {
        self.claim_max_age = Some(age);
        self
    }

    /// The maximum age of a value that this call accepts, to a hundredth of a second. An older value is a miss, even if it
    /// was stored for longer. The age is known of values that `get_or_create` and its kin created, and of values stored
    /// with flags, with a soft expiry or in a namespace. A value of unknown age counts as too old.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The maximum age of a value that this call takes as fresh. An older value is stale, even if it was stored to be fresh
    /// for longer. Precision and unknown ages are as for [`max_age`](Self::max_age).
    #[must_use]
    pub fn max_fresh_age(mut self, age: Duration) -> Self {
        self.max_fresh_age = Some(age);
        self
    }

    /// Takes a remembered absence as a miss, which the caller creates. [`get_or_create`](crate::Cache::get_or_create)
    /// always does so; a caller of [`claim`](crate::Cache::claim) that needs a value sets this.
    #[must_use]
    pub fn needs_value(mut self, yes: bool) -> Self {
        self.needs_value = yes;
        self
    }

    /// Says that the caller returns a stale value immediately and creates the new one in the background, as
    /// [`get_or_refresh`](crate::Cache::get_or_refresh) does. After such a creation that failed or stored nothing, this
    /// process begins no other for that key in the background for a second, and uses the stale value.
    #[must_use]
    pub fn background(mut self, yes: bool) -> Self {
        self.background = yes;
        self
    }

    /// Creates the value anew before it expires, with a probability that rises towards its soft expiry, or towards its
    /// expiry if it has no soft one, so that it hardly ever expires. A larger `beta` refreshes earlier; 1 is a good value.
    /// The duration of each creation is stored beside the value. A `beta` that is negative or not finite fails with
    /// [`BadOption`](crate::Error::BadOption) when it is used. (Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache
    /// Stampede Prevention", VLDB 2015.)
    #[must_use]
    pub fn early_refresh(mut self, beta: f64) -> Self {
        self.early_refresh = Some(beta);
        self
    }

    /// Stores only values that this predicate accepts. A refused value is returned to its creator, and each waiter creates
    /// for itself.
    #[must_use]
    pub fn should_cache(mut self, predicate: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.should_cache = Some(Arc::new(predicate));
        self
    }

    /// If the cache itself fails, creates and returns the value and stores nothing, as if there were no cache. The cache
    /// fails if the handle is read-only, a stopped process holds the stripe's lock ([`Busy`](crate::Error::Busy)), the time
    /// for waiting is over, the locks are lost, the file is gone, no seat is free, or with any other of its errors.
    /// [`Counters::uncached`](crate::Counters::uncached) counts such creations, and [`Claim::uncached`] gives the error.
    ///
    /// Two errors remain errors, since the caller causes them: [`OwnClaim`](crate::Error::OwnClaim) of a creator that asks
    /// for its own key, and [`BadOption`](crate::Error::BadOption). What concerns creators is no failure of the cache, either:
    /// [`Resting`](crate::Error::Resting) and [`FailedElsewhere`](crate::Error::FailedElsewhere). Off by default.
    ///
    /// [`Claim::uncached`]: crate::Claim::uncached
    #[must_use]
    pub fn or_uncached(mut self, yes: bool) -> Self {
        self.or_uncached = yes;
        self
    }

    /// If the creator returns an error and there is a stale value, returns that value instead of the error. The value is
    /// looked up again at that moment: one that has expired, or was deleted, replaced or invalidated by
    /// [`Invalidation::Hard`](crate::Invalidation::Hard), is never returned. The error is dropped, so a creator reports it
    /// by itself; [`Counters::stale_on_error`](crate::Counters::stale_on_error) counts such calls. Off by default.
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

    /// After the creator returned an error, nobody creates the value of this key for a time, in any process: callers get
    /// the stale value, or the error [`Resting`](crate::Error::Resting). The first rest lasts `first`, and each further
    /// failure in a row doubles it, up to `most`; a random quarter is taken off, so that many keys do not end their rests
    /// together. A rest lasts from a tenth of a second to an hour. Off by default.
    ///
    /// A write or deletion of the key, and an invalidation, end the rest. Failures are remembered for as long as the last
    /// rest was. A rest is a hint, for which the file has a limited number of places: if many keys of a stripe fail, the
    /// oldest rests end early. All callers respect a rest, also those that did not ask for rests.
    #[must_use]
    pub fn rest(mut self, first: Duration, most: Duration) -> Self {
        self.on_failure = self.on_failure.rest(first, most);
        self
    }

    /// If this caller waits for another caller's creation and its creator returns an error, returns
    /// [`FailedElsewhere`](crate::Error::FailedElsewhere) instead of trying, too. If that creator dies, panics or is
    /// cancelled, this caller tries. Off by default.
    #[must_use]
    pub fn share_failure(mut self, yes: bool) -> Self {
        self.on_failure.share = yes;
        self
    }

    /// Serves as many callers as possible while creators or the cache fail: [`stale_if_error`](Self::stale_if_error),
    /// [`rest`](Self::rest) from one second to 30 unless other times are set, [`share_failure`](Self::share_failure), and
    /// [`or_uncached`](Self::or_uncached).
    #[must_use]
    pub fn resilient(mut self) -> Self {
        self.on_failure = self.on_failure.resilient();
        self.or_uncached = true;
        self
    }

    /// The owner of the claim; by default the calling thread.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }

    /// Whether this caller judges a value by more than whether it is stale.
    #[cfg(feature = "typed")]
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

    /// Whether it depends on a value's age, or on the cost of its creation, what the caller does with it.
    pub(super) fn asks_for_age(&self) -> bool {
        self.max_age.is_some() || self.max_fresh_age.is_some() || self.early_refresh.is_some()
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

/// The form of the values that a caller can read; others are misses for it. A comparison runs no code of the caller, so
/// the stripe may be locked meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    flags: u32,
    start: [u8; 8],
    /// A value of this form that turned out to be unreadable.
    except: Option<Stamp>,
}

#[cfg_attr(not(feature = "typed"), expect(dead_code, reason = "only typed values have a form"))]
impl Form {
    /// Values with these flags that start with these bytes.
    pub(crate) fn new(flags: u32, start: [u8; 8]) -> Self {
        Self { flags, start, except: None }
    }

    /// This form without the value that has this stamp.
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

/// Whether a value is of at least this age, or of an unknown age.
pub(super) fn is_older(known: &Known, age: Duration, time: &Time) -> bool {
    let created_ms = known.extension.metadata().created_ms;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    created_ms == 0 || time.now_ms().saturating_sub(created_ms) >= age_ms
}
