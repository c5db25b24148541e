//! The right to create a key, and what becomes of what its owner created.

use super::created::{Created, Overrides};
use super::options::CreateOptions;
use crate::api::cache::Cache;
use crate::api::claim::{EpochSnapshot, HeldClaim};
use crate::api::count::count;
use crate::api::item::{Item, Stamp};
use crate::api::stripe_lock::Patience;
use crate::api::writer::check_size;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::notes::Rest;
use crate::store::claim::End;
use crate::store::namespace::Defaults;
use crate::store::record::{Metadata, NewRecord};
use crate::store::tally::MemberCount;
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

/// The right to create the value of a key, and the duty to report the outcome. Dropping it reports that the creation
/// failed, and the next waiter tries. It may be moved to another thread.
#[must_use]
pub struct Claim(Box<Creation>);

/// A creation that has begun.
pub(super) struct Creation {
    key: Vec<u8>,
    key_hash: u64,
    opened: Arc<AttachedFile>,
    right: Right,
    began: EpochSnapshot,
    started: Instant,
    /// The value to be used meanwhile, if there is one.
    pub stale: Option<Item>,
    /// The defaults of the key's namespace.
    pub defaults: Defaults,
    how: CreateOptions,
    /// How long the handle waits for a stripe's lock.
    lock_wait: Duration,
    /// Whether this creation replaces a stale value in the background and has not stored the new one yet.
    pub is_refresh: bool,
}

impl Creation {
    /// The creation of a stored key with no value to be used meanwhile, and without a namespace's defaults.
    pub(super) fn new(
        cache: &Cache,
        opened: &Arc<AttachedFile>,
        key: &[u8],
        how: &CreateOptions,
        right: Right,
        began: EpochSnapshot,
    ) -> Self {
        Self {
            key: key.to_vec(),
            key_hash: opened.store.key(key).hash,
            opened: opened.clone(),
            right,
            began,
            started: Instant::now(),
            stale: None,
            defaults: Defaults::default(),
            how: how.clone(),
            lock_wait: cache.lock_wait(),
            is_refresh: false,
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
    }
}

/// By what right a value is created.
pub(super) enum Right {
    /// The key's claim is held: all others wait.
    Claimed(HeldClaim),
    /// Others may write or create the key meanwhile. The version is that of the key's bucket at the start, unless a writer
    /// was at work there.
    Unprotected(Option<u64>),
    /// The cache failed with this error: nothing will be stored.
    Uncached(Error),
    /// The outcome is reported.
    Used,
}

impl From<Creation> for Claim {
    fn from(creation: Creation) -> Self {
        Self(Box::new(creation))
    }
}

impl Claim {
    /// The key as it is stored: see [`Cache::stored_key`].
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
    /// [`TooLarge`](crate::Error::TooLarge): each waiter creates for itself. [`Busy`](crate::Error::Busy) and the other
    /// errors of a write: nothing is stored, and the next waiter tries. With
    /// [`or_uncached`](CreateOptions::or_uncached) these are [`Stored::Uncached`] instead.
    pub fn store(self, value: impl AsRef<[u8]>) -> Result<Stored> {
        let mut patience = self.patience();
        store_prepared(self.prepare_value(value.as_ref(), Overrides::default()), &mut patience)
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
        let mut patience = self.patience();
        store_prepared(self.prepare(Some(made)), &mut patience)
    }

    /// Stores that the key has no value, if the options give absences an expiry: see
    /// [`absence_expiry`](CreateOptions::absence_expiry).
    ///
    /// # Errors
    /// Those of [`store`](Self::store).
    pub fn store_absence(self) -> Result<Stored> {
        let mut patience = self.patience();
        store_prepared(self.prepare(None), &mut patience)
    }

    /// Does [`store_with`](Self::store_with) for a value and [`store_absence`](Self::store_absence) for `None`, without
    /// waiting for the lock of the key's stripe. An event loop, whose thread must not wait, tries again later.
    ///
    /// # Errors
    /// The claim, still held, while another caller has the lock. Within `Ok`: the errors of [`store`](Self::store) but `Busy`.
    pub fn try_store(self, made: Option<&Created>) -> std::result::Result<Result<Stored>, Self> {
        match self.prepare(made) {
            Err(end) => Ok(Ok(end)),
            Ok(mut storing) => match storing.attempt(&mut Patience::of(Duration::ZERO)) {
                Err(Error::Busy { .. }) => Err(storing.claim),
                stored => Ok(storing.conclude(stored)),
            },
        }
    }

    /// The time that a store may wait for the lock of the key's stripe.
    pub(super) fn patience(&self) -> Patience {
        Patience::of(self.0.lock_wait)
    }

    /// The created value, or its absence, ready to be stored; or the outcome if it is not to be stored.
    pub(crate) fn prepare(self, made: Option<&Created>) -> Prepared<'_> {
        match made {
            Some(made) => self.prepare_created(made),
            None => self.prepare_absence(),
        }
    }

    fn prepare_created(self, made: &Created) -> Prepared<'_> {
        if !made.is_stored && self.uncached().is_none() {
            self.refuse();
            return Err(Stored::Refused);
        }
        self.prepare_value(&made.value, made.how)
    }

    fn prepare_value(self, value: &[u8], how: Overrides) -> Prepared<'_> {
        if self.uncached().is_some() {
            return Err(Stored::Uncached);
        }
        if self.0.how.should_cache.as_ref().is_some_and(|wanted| !wanted(value)) {
            self.refuse();
            return Err(Stored::Refused);
        }
        let how = how.over(self.0.how.set);
        let (expires_ms, metadata) = how.times(self.0.defaults, || self.0.opened.settings.time.now_ms());
        let metadata = self.metadata(metadata);
        Ok(Storing { claim: self, value, expires_ms, metadata })
    }

    fn prepare_absence(self) -> Prepared<'static> {
        if self.uncached().is_some() {
            return Err(Stored::Uncached);
        }
        let Some(expiry) = self.0.how.absence(self.0.defaults) else {
            self.refuse();
            return Err(Stored::Refused);
        };
        let expires_ms = expiry.to_ms(|| self.0.opened.settings.time.now_ms());
        let metadata = self.metadata(Metadata { is_absence: true, ..Metadata::default() });
        Ok(Storing { claim: self, value: &[], expires_ms, metadata })
    }

    /// Stores nothing: each waiter creates for itself.
    pub fn refuse(mut self) {
        self.end_unstored();
    }

    fn end_unstored(&mut self) {
        self.0.rest_if_refresh();
        if let Right::Claimed(held) = self.take_right() {
            held.end(End::NotStored);
        }
    }

    /// Reports that the creation failed: the next waiter tries.
    pub fn fail(self) {
        drop(self);
    }

    fn take_right(&mut self) -> Right {
        std::mem::replace(&mut self.0.right, Right::Used)
    }

    fn metadata(&self, metadata: Metadata) -> Metadata {
        let cost = if self.0.how.early_refresh.is_some() { self.0.started.elapsed() } else { Duration::ZERO };
        Metadata {
            namespace: self.0.began.namespace.namespace(),
            created_ms: self.0.opened.settings.time.now_ms(),
            cost_ms: u64::try_from(cost.as_millis()).unwrap_or(u64::MAX),
            ..metadata
        }
    }

    fn put(&mut self, draft: &NewRecord<'_>, patience: &mut Patience) -> Result<Stored> {
        let opened = self.0.opened.clone();
        // In a replaced file nobody would find it.
        if opened.is_replaced() {
            return Ok(Stored::Voided);
        }
        match &self.0.right {
            Right::Claimed(held) if held.claim_id().is_none() => return Ok(Stored::Voided),
            Right::Uncached(_) | Right::Used => return Ok(Stored::Uncached),
            Right::Claimed(_) | Right::Unprotected(_) => {}
        }
        if let Err(error) = check_size(&opened, draft) {
            self.end_unstored();
            return Err(error);
        }
        // The right is used up only under the stripe's lock: a caller that does not get the lock may try again.
        let mut stripe = patience.lock_stripe(&opened, opened.store.stripe_of(&draft.key))?;
        let entry = stripe.find(&draft.key);
        let epochs = stripe.epochs_for(self.0.began.epochs, self.0.began.namespace);
        match self.take_right() {
            Right::Claimed(held) => {
                let Some(claim_id) = held.claim_id() else { return Ok(Stored::Voided) };
                let stored = stripe.store_claimed(claim_id, draft, entry.as_ref(), epochs);
                Ok(stored.map_or(Stored::Voided, |stamp| Stored::Yes(Stamp(stamp))))
            }
            // Nothing excluded others from the key, so it must be unchanged. Every write and every deletion of the key
            // changes its bucket's version, and an invalidation changes the epochs. A change of another key in the bucket
            // cannot be told apart, so nothing is stored then, either.
            Right::Unprotected(seen) => {
                let is_as_it_was = seen == Some(stripe.version(&draft.key));
                let now = EpochSnapshot::now(&opened, self.0.began.namespace.namespace());
                if !is_as_it_was || now.epochs != self.0.began.epochs || now.namespace != self.0.began.namespace {
                    return Ok(Stored::Voided);
                }
                Ok(Stored::Yes(Stamp(stripe.put(draft, entry.as_ref(), epochs))))
            }
            Right::Uncached(_) | Right::Used => Ok(Stored::Uncached),
        }
    }
}

/// A value that can be stored, or the outcome if it is not to be stored.
pub(crate) type Prepared<'v> = Result<Storing<'v>, Stored>;

/// Stores what was prepared.
pub(super) fn store_prepared(prepared: Prepared<'_>, patience: &mut Patience) -> Result<Stored> {
    match prepared {
        Ok(mut storing) => {
            let stored = storing.attempt(patience);
            storing.conclude(stored)
        }
        Err(end) => Ok(end),
    }
}

/// A value that is about to be stored. Dropping it reports that the creation failed.
pub(crate) struct Storing<'v> {
    claim: Claim,
    value: &'v [u8],
    expires_ms: u64,
    /// Of every value it says when it was created: somebody may want to know its age.
    metadata: Metadata,
}

impl Storing<'_> {
    /// Stores the value. After [`Busy`](Error::Busy) the claim is still held.
    pub(in crate::api) fn attempt(&mut self, patience: &mut Patience) -> Result<Stored> {
        let opened = self.claim.0.opened.clone();
        let key = std::mem::take(&mut self.claim.0.key);
        let draft = NewRecord::new(opened.store.key(&key), self.value, self.expires_ms, Some(self.metadata));
        let stored = self.claim.put(&draft, patience);
        self.claim.0.key = key;
        stored
    }

    /// The final outcome.
    pub(crate) fn conclude(mut self, stored: Result<Stored>) -> Result<Stored> {
        let creation = &mut self.claim.0;
        let stored = match stored {
            Err(error) if creation.how.or_uncached && !matches!(error, Error::TooLarge { .. }) => {
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

/// Counts a creation without the cache: for this process alone, where it has no seat.
pub(super) fn count_uncached(opened: &AttachedFile) {
    if opened.joined().is_some() {
        count(opened, MemberCount::Uncached);
    } else {
        opened.note_uncached();
    }
}
