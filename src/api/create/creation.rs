//! The result of a lookup: a value, or the right to create it. And how the owner of this right stores what it created.

mod as_item;

use super::created::{Created, Made, Overrides};
use super::failure::Fallback;
use super::options::CreateOptions;
use crate::api::acquire::{EpochSnapshot, HeldClaim, Target};
use crate::api::count::{count, count_lock_wait, time};
use crate::api::item::{Item, Known, Stamp};
use crate::api::stripe_lock::Patience;
#[cfg(feature = "tokio")]
use crate::api::waiting::run_as_task;
use crate::api::waiting::{Step, run};
use crate::api::writer::{Writer, check_size};
use crate::clock::Expiry;
use crate::error::{Error, Result};
use crate::fault::{Fault, injected};
use crate::file::AttachedFile;
use crate::file::notes::Rest;
use crate::store::NamespaceId;
use crate::store::claim::End;
use crate::store::counters::MemberCount;
use crate::store::histograms::Timed;
use crate::store::namespace::Defaults;
use crate::store::record::{Metadata, NewRecord};
use crate::store::tag_words::TagNumbers;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The outcome of storing a created value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stored {
    /// The value is stored, with this stamp.
    Yes(Stamp),
    /// Nothing is stored: the key was written, deleted or invalidated while the value was created, or the claim passed
    /// its maximum age and another caller took it over.
    Voided,
    /// Nothing is stored: the cache failed, and [`or_uncached`](CreateOptions::or_uncached) is set.
    Uncached,
    /// Nothing is stored: the creator or the predicate of [`should_cache`](CreateOptions::should_cache) refused to
    /// store the value, or there is no value, and no expiry is set for absences.
    Refused,
}

/// The right to create the value of a key, and the duty to report the outcome. Dropping a claim gives the creation up,
/// and the next waiter creates the value; [`fail`](Self::fail) reports a failure. A claim may be moved to another
/// thread.
#[must_use]
pub struct Claim(Box<Creation>);

/// What [`Cache::claim`](crate::Cache::claim) found.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Lookup {
    /// A value to use.
    Hit(Item),
    /// A stale value to use. Another caller creates a new one, or the key rests after failures.
    Stale(Item),
    /// The cache remembers that the key has no value.
    Absent,
    /// This caller creates the value.
    Create(Claim),
}

/// A creation that has begun.
struct Creation {
    key: Vec<u8>,
    key_hash: u64,
    opened: Arc<AttachedFile>,
    right: Right,
    began: EpochSnapshot,
    started: Instant,
    /// The stale value to use during the creation, if there is one.
    stale: Option<Item>,
    /// The value to use if the creator fails.
    fallback: Option<Fallback>,
    /// The defaults of the key's namespace.
    defaults: Defaults,
    how: CreateOptions,
    /// How long a store waits for the stripe's lock.
    lock_wait: Duration,
    /// This creation replaces a stale value in the background and has not stored the new one yet.
    is_refresh: bool,
    /// The creator has reported an outcome.
    has_outcome: bool,
}

impl Creation {
    /// A creation without a stale value, and without a namespace's defaults.
    fn new(
        of: Target<'_>,
        opened: &Arc<AttachedFile>,
        how: &CreateOptions,
        right: Right,
        began: EpochSnapshot,
    ) -> Self {
        Self {
            key: of.key.to_vec(),
            key_hash: opened.store.key(of.key).hash,
            opened: opened.clone(),
            right,
            began,
            started: Instant::now(),
            stale: None,
            fallback: None,
            defaults: Defaults::default(),
            how: how.clone(),
            lock_wait: of.lock_wait,
            is_refresh: false,
            has_outcome: false,
        }
    }

    /// After a refresh that stored nothing, this process begins no other refresh of the key for a while.
    fn rest_if_refresh(&mut self) {
        if std::mem::take(&mut self.is_refresh) {
            self.opened.rest(self.key_hash, Rest::Failed);
        }
    }
}

impl Drop for Creation {
    /// Runs before the drop of the claim, and so before the claim ends.
    fn drop(&mut self) {
        self.rest_if_refresh();
        // A forked child that inherited the claim does not create.
        let is_inherited = matches!(&self.right, Right::Claimed(held) if held.claim_id().is_none());
        if !is_inherited {
            time(&self.opened, Timed::Creation, self.started.elapsed());
        }
        if !self.has_outcome && std::thread::panicking() {
            count(&self.opened, MemberCount::Failed);
        }
    }
}

/// What entitles a caller to create the value.
enum Right {
    /// The caller holds the key's claim: all others wait.
    Claimed(HeldClaim),
    /// Others may write or create the key meanwhile. Holds the version that the key's bucket had at the start, or
    /// `None` if a writer was changing the bucket then.
    Unprotected(Option<u64>),
    /// The cache failed with this error: nothing will be stored.
    Uncached(Error),
}

/// How a claim is made.
impl Claim {
    /// The claim of a caller that holds the key's claim in the file, and may have a stale value to use meanwhile.
    pub(super) fn held(
        of: Target<'_>,
        how: &CreateOptions,
        held: HeldClaim,
        began: EpochSnapshot,
        usable: Option<Item>,
    ) -> Result<Self> {
        let opened = held.opened().clone();
        let mut creation = Creation::new(of, &opened, how, Right::Claimed(held), began);
        if let Some(namespace) = of.cache.in_namespace() {
            creation.defaults = namespace.in_file(&opened, of.cache.lock_wait())?.1;
        }
        creation.is_refresh = how.background && usable.is_some();
        creation.fallback = Fallback::of(of, how.on_failure, usable.as_ref());
        creation.stale = usable;
        Ok(Self(Box::new(creation)))
    }

    /// The claim of a caller that does not hold the key's claim in the file, so that nobody waits for it.
    pub(super) fn unprotected(of: Target<'_>, how: &CreateOptions) -> Result<Self> {
        let file = of.cache.current()?;
        let writer = Writer::new(&file, of.cache.in_namespace(), of.key, of.cache.lock_wait())?;
        let opened: &Arc<AttachedFile> = &file;
        count(opened, MemberCount::Unprotected);
        let began = EpochSnapshot::now(opened, writer.namespace);
        // Loaded before the look at the key, and before the creator reads the data from which it makes the value.
        let seen = opened.store.bucket_view(&writer.key).version();
        let known = of.cache.known(of.key, of.may_wait)?;
        let is_usable = |known: &Known| !known.extension.is_absence() && !how.is_too_old(known, &opened.settings.time);
        let mut creation = Creation::new(of, opened, how, Right::Unprotected(seen), began);
        creation.stale = known.filter(is_usable).map(|known| known.item);
        creation.fallback = Fallback::of(of, how.on_failure, creation.stale.as_ref());
        creation.defaults = writer.defaults;
        Ok(Self(Box::new(creation)))
    }

    /// The claim of a caller that creates the value without the cache, because the cache failed.
    pub(super) fn without_cache(of: Target<'_>, how: &CreateOptions, error: Error) -> Self {
        let opened = of.cache.opened();
        count_uncached(&opened);
        let began = EpochSnapshot::now(&opened, NamespaceId::NONE);
        Self(Box::new(Creation::new(of, &opened, how, Right::Uncached(error), began)))
    }
}

impl Claim {
    /// The stored key: see [`Cache::stored_key`](crate::Cache::stored_key).
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0.key
    }

    /// The stale value that the new one replaces, if there is one.
    #[must_use]
    pub fn stale(&self) -> Option<&Item> {
        self.0.stale.as_ref()
    }

    /// Takes the stale value, for a caller that does not wait for the new one.
    pub(crate) fn take_stale(&mut self) -> Option<Vec<u8>> {
        self.0.stale.take().map(|item| item.value)
    }

    /// Sets how long a store waits for the lock of the key's stripe. By default it waits as long as the handle that
    /// claimed the key does.
    pub fn waiting(mut self, lock_wait: Duration) -> Self {
        self.0.lock_wait = lock_wait;
        self
    }

    /// Adds tags to those of the options, at most 16 in all, for the value or for a remembered absence: see
    /// [`CreateOptions::tags`](crate::CreateOptions::tags). An invalidation of these tags since the creation began
    /// covers the value.
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: &[T]) -> Self {
        let set = self.0.how.set;
        self.0.how.set = set.with_tags(set.tag_numbers().and(TagNumbers::of(tags)));
        self
    }

    /// Sets how long the cache remembers that the key has no value, in place of
    /// [`CreateOptions::absence_expiry`](crate::CreateOptions::absence_expiry).
    pub fn absence_expiry(mut self, expiry: Expiry) -> Self {
        self.0.how.absence = Some(expiry);
        self
    }

    /// Whether all other callers wait for this creation. They do not if all claims of the stripe were held, if this
    /// caller's time for waiting was over, after the claim has ended, or after the cache file was destroyed or
    /// replaced.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        matches!(&self.0.right, Right::Claimed(held) if held.is_held())
    }

    /// The error of the cache, if the cache failed, [`or_uncached`](CreateOptions::or_uncached) is set, and the value
    /// will therefore not be stored.
    #[must_use]
    pub fn uncached(&self) -> Option<&Error> {
        match &self.0.right {
            Right::Uncached(error) => Some(error),
            _ => None,
        }
    }

    /// Stores the value with the options of the claim, and wakes the waiters.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge), [`TooManyTags`](crate::Error::TooManyTags) and
    /// [`BadOption`](crate::Error::BadOption) for tags that the file cannot hold: each waiter creates its own value.
    /// [`Busy`](crate::Error::Busy) and the other errors of a write: nothing is stored, and the next waiter creates the
    /// value. With [`or_uncached`](CreateOptions::or_uncached), `Busy` and those other errors become
    /// [`Stored::Uncached`].
    pub fn store(self, value: impl AsRef<[u8]>) -> Result<Stored> {
        self.store_made(Some((value.as_ref(), Overrides::default())), None)
    }

    /// Stores a value with the settings that its creator chose, such as its expiry and flags: see [`Created`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Created, Expiry, Lookup, Stored};
    /// use std::time::Duration;
    /// let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new())? else { panic!("it is missing") };
    /// let made = Created::new("value").expiry(Expiry::After(Duration::from_secs(60)));
    /// assert!(matches!(claim.store_with(&made)?, Stored::Yes(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`store`](Self::store).
    pub fn store_with(self, made: &Created) -> Result<Stored> {
        self.store_made(Some(made.parts()), None)
    }

    /// Stores that the key has no value, if the options or the namespace set how long absences are remembered: see
    /// [`absence_expiry`](CreateOptions::absence_expiry).
    ///
    /// # Errors
    /// Those of [`store`](Self::store).
    pub fn store_absence(self) -> Result<Stored> {
        self.store_made(None, None)
    }

    /// Does what [`store_with`](Self::store_with) does for a value, and what [`store_absence`](Self::store_absence)
    /// does for `None`, but does not wait for the lock of the key's stripe. It is for an event loop, whose thread must
    /// not wait: if the lock is held, the caller tries again later.
    ///
    /// # Errors
    /// The outer error is the claim, still held: another caller holds the stripe's lock. The inner one is an error of
    /// [`store`](Self::store) other than `Busy`.
    pub fn try_store(self, made: Option<&Created>) -> std::result::Result<Result<Stored>, Self> {
        match self.prepare(made.map(Created::parts)) {
            Err(end) => Ok(Ok(end)),
            Ok(mut storing) => match storing.attempt(&mut Patience::none()) {
                Err(Error::Busy { .. }) => Err(storing.claim),
                stored => Ok(storing.conclude(stored)),
            },
        }
    }

    /// Stores a created value, or its absence. It waits with the claim's own patience, or with one that several
    /// stores share.
    pub(super) fn store_made(self, made: Option<Made<'_>>, locks: Option<&mut Patience>) -> Result<Stored> {
        let mut own = Patience::of_thread(self.0.lock_wait);
        let locks = locks.unwrap_or(&mut own);
        match self.prepare(made) {
            Ok(mut storing) => {
                let stored = run(|| storing.step(locks));
                storing.conclude(stored)
            }
            Err(end) => Ok(end),
        }
    }

    /// Stores what a tokio task created. If the future is dropped before its end, the creation is given up.
    #[cfg(feature = "tokio")]
    pub(in crate::api) async fn store_as_task(self, made: Option<&Created>, locks: &mut Patience) -> Result<Stored> {
        match self.prepare(made.map(Created::parts)) {
            Ok(mut storing) => {
                let stored = run_as_task(|| storing.step(locks)).await;
                storing.conclude(stored)
            }
            Err(end) => Ok(end),
        }
    }

    /// Prepares the store of a created value.
    ///
    /// # Errors
    /// The final outcome, if nothing is to be stored.
    fn prepare(mut self, made: Option<Made<'_>>) -> std::result::Result<Storing<'_>, Stored> {
        self.0.has_outcome = true;
        if self.uncached().is_some() {
            return Err(Stored::Uncached);
        }
        let (how, defaults, time) = (&self.0.how, self.0.defaults, &self.0.opened.settings.time);
        let accepted = match made {
            Some((value, of_value)) if of_value.is_accepted(value, how) => {
                let (expires_ms, metadata) = of_value.over(how.set).times(defaults, || time.now_ms());
                Some((value, expires_ms, metadata))
            }
            Some(_) => None,
            None => how.absence(defaults).map(|expiry| {
                let metadata = Metadata { is_absence: true, tags: how.set.tag_numbers(), ..Metadata::default() };
                (&[][..], expiry.to_ms(|| time.now_ms()), metadata)
            }),
        };
        match accepted {
            Some((value, expires_ms, metadata)) => {
                let metadata = self.metadata(metadata);
                Ok(Storing { claim: self, value, expires_ms, metadata })
            }
            None => {
                self.refuse();
                Err(Stored::Refused)
            }
        }
    }

    /// Stores nothing: each waiter creates its own value.
    pub fn refuse(mut self) {
        self.end_unstored();
    }

    fn end_unstored(&mut self) {
        self.0.has_outcome = true;
        self.0.rest_if_refresh();
        if let Right::Claimed(held) = &mut self.0.right {
            held.end(End::NotStored);
        }
    }

    /// Reports that the creator failed. The next waiter creates the value, unless it
    /// [shares](crate::CreateOptions::share_failure) the failure, or the key [rests](crate::CreateOptions::rest).
    /// Returns the stale value for the caller to use, if [`stale_if_error`](crate::CreateOptions::stale_if_error) is
    /// set and the key still has this value.
    ///
    /// Dropping the claim instead gives the creation up, as the death of the creator does: no waiter shares a failure,
    /// and the key does not rest.
    pub fn fail(mut self) -> Option<Item> {
        let creation = &mut self.0;
        creation.has_outcome = true;
        creation.rest_if_refresh();
        let found = creation.fallback.take().and_then(|fallback| fallback.still_there(&creation.key));
        if let Right::Claimed(held) = &mut creation.right {
            held.end_failed(creation.how.on_failure);
        }
        count(&creation.opened, MemberCount::Failed);
        if found.is_some() {
            count(&creation.opened, MemberCount::StaleOnError);
        }
        found
    }

    /// [`fail`](Self::fail) for a caller that has no use for a stale value.
    pub(crate) fn fail_without_stale(mut self) {
        self.0.fallback = None;
        self.fail();
    }

    fn metadata(&self, metadata: Metadata) -> Metadata {
        let cost = if self.0.how.early_refresh.is_some() { self.0.started.elapsed() } else { Duration::ZERO };
        Metadata {
            namespace: self.0.began.namespace.namespace(),
            created_ms: self.0.opened.settings.time.now_ms(),
            cost_ms: u64::try_from(cost.as_millis()).unwrap_or(u64::MAX),
            tag_clock: if injected(Fault::LateClock) {
                self.0.opened.store.tag_clock()
            } else {
                self.0.began.tag_clock
            },
            ..metadata
        }
    }

    /// Stores a record by the right of this claim. After [`Busy`](Error::Busy) the caller may try again.
    fn store_record(&mut self, draft: &NewRecord<'_>, locks: &mut Patience) -> Result<Stored> {
        let opened = self.0.opened.clone();
        // No reader would find the value in a replaced file.
        if opened.is_replaced() {
            return Ok(Stored::Voided);
        }
        match &self.0.right {
            Right::Claimed(held) if held.claim_id().is_none() => return Ok(Stored::Voided),
            Right::Uncached(_) => return Ok(Stored::Uncached),
            Right::Claimed(_) | Right::Unprotected(_) => {}
        }
        if let Err(error) = check_size(&opened, draft) {
            self.end_unstored();
            return Err(error);
        }
        let mut guard = locks.lock_stripe(&opened, opened.store.stripe_of(&draft.key))?;
        let entry = guard.find(&draft.key);
        let epochs = guard.epochs_for(self.0.began.epochs, self.0.began.namespace);
        let stamp = match &self.0.right {
            Right::Claimed(held) => {
                held.claim_id().and_then(|claim_id| guard.store_claimed(claim_id, draft, entry.as_ref(), epochs))
            }
            // This right excluded no other caller from the key, so the key must be unchanged. Every write and every
            // deletion of the key changes the version of its bucket, and an invalidation changes the epochs or the
            // words of tags. A change of another key in the bucket looks the same, so nothing is stored after such a
            // change, either.
            Right::Unprotected(seen) => {
                let is_unchanged = *seen == Some(guard.version(&draft.key))
                    && self.0.began.has_epochs_of(&opened)
                    && !opened.store.is_covered_by_tags(draft);
                is_unchanged.then(|| guard.put(draft, entry.as_ref(), epochs))
            }
            Right::Uncached(_) => return Ok(Stored::Uncached),
        };
        Ok(stamp.map_or(Stored::Voided, |stamp| Stored::Yes(Stamp(stamp))))
    }
}

/// A value that is about to be stored. Dropping it gives the creation up.
struct Storing<'v> {
    claim: Claim,
    value: &'v [u8],
    expires_ms: u64,
    /// Always contains the time of creation, because a reader may want to know the value's age.
    metadata: Metadata,
}

impl Storing<'_> {
    fn step(&mut self, locks: &mut Patience) -> Result<Step<Stored>> {
        let attempt = self.attempt(locks);
        locks.retry(attempt, |what, waited| count_lock_wait(&self.claim.0.opened, what, waited))
    }

    /// Stores the value. After [`Busy`](Error::Busy) the claim is still held.
    fn attempt(&mut self, locks: &mut Patience) -> Result<Stored> {
        let opened = self.claim.0.opened.clone();
        let key = std::mem::take(&mut self.claim.0.key);
        let draft = NewRecord::new(opened.store.key(&key), self.value, self.expires_ms, Some(self.metadata));
        let stored = self.claim.store_record(&draft, locks);
        self.claim.0.key = key;
        stored
    }

    /// The final outcome of the store.
    fn conclude(mut self, stored: Result<Stored>) -> Result<Stored> {
        let creation = &mut self.claim.0;
        let stored = match stored {
            Err(error)
                if creation.how.or_uncached && !matches!(error, Error::TooLarge { .. }) && error.is_of_cache() =>
            {
                count_uncached(&creation.opened);
                Stored::Uncached
            }
            stored => stored?,
        };
        if stored == Stored::Voided {
            count(&creation.opened, MemberCount::Voided);
        }
        creation.is_refresh &= matches!(stored, Stored::Refused | Stored::Uncached);
        Ok(stored)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("is_protected", &self.is_protected()).finish_non_exhaustive()
    }
}

/// Counts a creation without the cache. If this process has no seat, the count is not in the file, but in this process
/// alone.
fn count_uncached(opened: &AttachedFile) {
    if opened.joined().is_some() {
        count(opened, MemberCount::Uncached);
    } else {
        opened.note_uncached();
    }
}
