//! What a lookup returns: a value, or the right to create it; and the store of what the owner of that right created.

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

/// What became of a created value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stored {
    /// It is stored.
    Yes(Stamp),
    /// The key was written, deleted or invalidated while the value was created, or the claim passed its maximum age and
    /// another caller took over. Nothing is stored.
    Voided,
    /// The cache failed, and [`or_uncached`](CreateOptions::or_uncached) is set. Nothing is stored.
    Uncached,
    /// The predicate of [`should_cache`](CreateOptions::should_cache) refused the value, or it is an absence without an
    /// expiry. Nothing is stored.
    Refused,
}

/// The right to create the value of a key, and the duty to report the outcome. Dropping it says that the creator
/// gave up, and the next waiter tries; [`fail`](Self::fail) reports a failure. It may be moved to another thread.
#[must_use]
pub struct Claim(Box<Creation>);

/// What [`Cache::claim`](crate::Cache::claim) found.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Lookup {
    /// A value to be used.
    Hit(Item),
    /// A stale value to be used while another caller creates a new one.
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
    /// The value to be used meanwhile, if there is one.
    stale: Option<Item>,
    /// The value to be used if the creator fails.
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

    /// After a refresh that stored nothing, no other begins for a while.
    fn rest_if_refresh(&mut self) {
        if std::mem::take(&mut self.is_refresh) {
            self.opened.rest(self.key_hash, Rest::Failed);
        }
    }
}

impl Drop for Creation {
    /// Runs before the claim is dropped, and so before it ends.
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

/// By what right a value is created.
enum Right {
    /// The key's claim is held: all others wait.
    Claimed(HeldClaim),
    /// Others may write or create the key meanwhile. The version is that of the key's bucket at the start, unless a writer
    /// was at work there.
    Unprotected(Option<u64>),
    /// The cache failed with this error: nothing will be stored.
    Uncached(Error),
}

/// Who may create.
impl Claim {
    /// The claim of a caller that holds the key's claim in the file. It may have a value to be used meanwhile.
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

    /// The claim of a caller that nobody waits for.
    pub(super) fn unprotected(of: Target<'_>, how: &CreateOptions) -> Result<Self> {
        let file = of.cache.current()?;
        let writer = Writer::new(&file, of.cache.in_namespace(), of.key, of.cache.lock_wait())?;
        let opened: &Arc<AttachedFile> = &file;
        count(opened, MemberCount::Unprotected);
        let began = EpochSnapshot::now(opened, writer.namespace);
        // Before the look at the key, and before the creator reads what it makes the value from.
        let seen = opened.store.bucket_view(&writer.key).version();
        let known = of.cache.known(of.key, of.may_wait)?;
        let is_usable = |known: &Known| !known.extension.is_absence() && !how.is_too_old(known, &opened.settings.time);
        let mut creation = Creation::new(of, opened, how, Right::Unprotected(seen), began);
        creation.stale = known.filter(is_usable).map(|known| known.item);
        creation.fallback = Fallback::of(of, how.on_failure, creation.stale.as_ref());
        creation.defaults = writer.defaults;
        Ok(Self(Box::new(creation)))
    }

    /// The claim of a caller that creates the value without the cache, which failed.
    pub(super) fn without_cache(of: Target<'_>, how: &CreateOptions, error: Error) -> Self {
        let opened = of.cache.opened();
        count_uncached(&opened);
        let began = EpochSnapshot::now(&opened, NamespaceId::NONE);
        Self(Box::new(Creation::new(of, &opened, how, Right::Uncached(error), began)))
    }
}

impl Claim {
    /// The key as it is stored: see [`Cache::stored_key`](crate::Cache::stored_key).
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

    /// Changes how long a store waits for the lock of the key's stripe. By default it waits as long as the handle that
    /// claimed the key.
    pub fn waiting(mut self, lock_wait: Duration) -> Self {
        self.0.lock_wait = lock_wait;
        self
    }

    /// Adds tags to those of the options, for the value and for an absence: see
    /// [`CreateOptions::tags`](crate::CreateOptions::tags). Every invalidation since the creation began counts.
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: &[T]) -> Self {
        let set = self.0.how.set;
        self.0.how.set = set.with_tags(set.tag_numbers().and(TagNumbers::of(tags)));
        self
    }

    /// How long the cache remembers that the key has no value, in place of
    /// [`CreateOptions::absence_expiry`](crate::CreateOptions::absence_expiry).
    pub fn absence_expiry(mut self, expiry: Expiry) -> Self {
        self.0.how.absence = Some(expiry);
        self
    }

    /// Whether all others wait for this creation. They do not if all claims were held, if this caller's time for waiting
    /// was over, after the claim has ended, or after the cache file was destroyed or replaced.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        matches!(&self.0.right, Right::Claimed(held) if held.is_held())
    }

    /// The error of the cache because of which the value will not be stored, if
    /// [`or_uncached`](CreateOptions::or_uncached) is set and the cache failed.
    #[must_use]
    pub fn uncached(&self) -> Option<&Error> {
        match &self.0.right {
            Right::Uncached(error) => Some(error),
            _ => None,
        }
    }

    /// Stores the value and wakes its waiters.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge): each waiter creates its own value. [`Busy`](crate::Error::Busy) and the other
    /// errors of a write: nothing is stored, and the next waiter tries. With
    /// [`or_uncached`](CreateOptions::or_uncached) these are [`Stored::Uncached`] instead.
    pub fn store(self, value: impl AsRef<[u8]>) -> Result<Stored> {
        self.store_made(Some((value.as_ref(), Overrides::default())), None)
    }

    /// Stores a value with the expiry and flags that it brings along: see [`Created`].
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

    /// Stores that the key has no value, if the options give absences an expiry: see
    /// [`absence_expiry`](CreateOptions::absence_expiry).
    ///
    /// # Errors
    /// Those of [`store`](Self::store).
    pub fn store_absence(self) -> Result<Stored> {
        self.store_made(None, None)
    }

    /// Does [`store_with`](Self::store_with) for a value and [`store_absence`](Self::store_absence) for `None`, without
    /// waiting for the lock of the key's stripe. An event loop, whose thread must not wait, tries again later.
    ///
    /// # Errors
    /// The claim, still held, while another caller has the lock. Within `Ok`: the errors of [`store`](Self::store) but `Busy`.
    pub fn try_store(self, made: Option<&Created>) -> std::result::Result<Result<Stored>, Self> {
        match self.prepare(made.map(Created::parts)) {
            Err(end) => Ok(Ok(end)),
            Ok(mut storing) => match storing.attempt(&mut Patience::none()) {
                Err(Error::Busy { .. }) => Err(storing.claim),
                stored => Ok(storing.conclude(stored)),
            },
        }
    }

    /// Stores a created value, or that there is none, with the claim's own patience or one that several stores share.
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

    /// Stores what a task of tokio created. When the future is dropped before its end, the creation has failed.
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

    /// Makes what was created ready to be stored.
    ///
    /// # Errors
    /// The outcome, if it is not to be stored.
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

    /// Reports that the creator failed. The next waiter tries, unless it [shares](crate::CreateOptions::share_failure) the
    /// failure, or the key [rests](crate::CreateOptions::rest). Returns the stale value that the caller then uses, if
    /// [`stale_if_error`](crate::CreateOptions::stale_if_error) is set and the key still has that value.
    ///
    /// A claim that is dropped instead is given up, as after a death: nobody shares that, and the key does not rest.
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

    /// Stores a record by this right. After [`Busy`](Error::Busy) the caller may try again.
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
            // Nothing excluded others from the key, so it must be unchanged. Every write and every deletion of the key
            // changes its bucket's version, and an invalidation changes the epochs or the words of tags. A change of another
            // key in the bucket cannot be told apart, so nothing is stored then, either.
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

/// A value that is about to be stored. Dropping it reports that the creation failed.
struct Storing<'v> {
    claim: Claim,
    value: &'v [u8],
    expires_ms: u64,
    /// For every value it contains the time of its creation, because a reader may want to know the value's age.
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

    /// The final outcome.
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

/// Counts a creation without the cache: for this process alone if it has no seat.
fn count_uncached(opened: &AttachedFile) {
    if opened.joined().is_some() {
        count(opened, MemberCount::Uncached);
    } else {
        opened.note_uncached();
    }
}
