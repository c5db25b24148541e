//! The right to create a key, and what becomes of what its owner created.

use super::created::{Created, Overrides};
use super::options::CreateOptions;
use crate::api::cache::Cache;
use crate::api::claim::{EpochSnapshot, Held};
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
    /// The key was written or deleted, or an invalidation came, while the value was created; nothing is stored. So it
    /// is, too, when the claim had passed its greatest age and another took over.
    Voided,
    /// The cache failed, and [`or_uncached`](CreateOptions::or_uncached) was asked for; nothing is stored.
    Uncached,
    /// It is not to be cached: the predicate of [`should_cache`](CreateOptions::should_cache) says so, or it is an
    /// absence that has no expiry.
    Refused,
}

/// The right to create the value of a key, and the duty to say what became of it. Dropped, it says that the creation
/// failed, and the next who waits tries. It may be moved to another thread.
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
    /// Those of the key's namespace.
    pub defaults: Defaults,
    how: CreateOptions,
    /// How long the handle waits for a stripe's lock.
    lock_wait: Duration,
    /// In the background a stale value is to be replaced, and the new one is not stored yet.
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

    /// A refresh that came to nothing is not begun again at once.
    fn rest_if_refresh(&mut self) {
        if std::mem::take(&mut self.is_refresh) {
            self.opened.rest(self.key_hash, Rest::Failed);
        }
    }
}

impl Drop for Creation {
    /// Before the claim ends, with what the creation holds.
    fn drop(&mut self) {
        self.rest_if_refresh();
    }
}

/// By what right a value is created.
pub(super) enum Right {
    /// The key's claim is held: all others wait.
    Claimed(Held),
    /// Others may write or create the key meanwhile. The version is that of the key's bucket at the start, unless a writer
    /// was at work there.
    Unprotected(Option<u64>),
    /// The cache failed, by this error: nothing will be stored.
    Uncached(Error),
    /// What became of the value is said.
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

    /// The value that is to be replaced, if it is stale and not gone.
    #[must_use]
    pub fn stale(&self) -> Option<&Item> {
        self.0.stale.as_ref()
    }

    /// Takes the stale value, for a caller that does not wait for the new one.
    pub(crate) fn take_stale(&mut self) -> Option<Vec<u8>> {
        self.0.stale.take().map(|item| item.value)
    }

    /// The same claim for an owner that waits longer, or less, for the lock of the key's stripe when it stores. By default
    /// it waits as the handle does by which the key was claimed.
    pub fn waiting(mut self, lock_wait: Duration) -> Self {
        self.0.lock_wait = lock_wait;
        self
    }

    /// Whether all others wait for this creation. They do not if all claims were held, or if this caller did not want
    /// to wait any longer; nor once the claim has ended, or the cache file was destroyed or replaced.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        matches!(&self.0.right, Right::Claimed(held) if held.is_held())
    }

    /// Why the value will not be stored: the error of the cache, if
    /// [`or_uncached`](CreateOptions::or_uncached) was asked for and the cache failed.
    #[must_use]
    pub fn uncached(&self) -> Option<&Error> {
        match &self.0.right {
            Right::Uncached(error) => Some(error),
            _ => None,
        }
    }

    /// Stores the value and lets those go on who wait for it.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge): those who wait create for themselves. [`Busy`](crate::Error::Busy) and what
    /// else a write may meet: nothing is stored, and the next who waits tries. Where
    /// [`or_uncached`](CreateOptions::or_uncached) was asked for, these are [`Stored::Uncached`] instead.
    pub fn store(self, value: impl AsRef<[u8]>) -> Result<Stored> {
        let mut patience = self.patience();
        store_prepared(self.prepare_value(value.as_ref(), Overrides::default()), &mut patience)
    }

    /// Stores the value as it says itself: see [`Created`].
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
    /// As [`store`](Self::store).
    pub fn store_with(self, made: &Created) -> Result<Stored> {
        let mut patience = self.patience();
        store_prepared(self.prepare(Some(made)), &mut patience)
    }

    /// Stores that there is no value, if an absence has an expiry: see
    /// [`absence_expiry`](CreateOptions::absence_expiry).
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub fn store_absence(self) -> Result<Stored> {
        let mut patience = self.patience();
        store_prepared(self.prepare(None), &mut patience)
    }

    /// Stores a value as [`store_with`](Self::store_with) does, or `None` as [`store_absence`](Self::store_absence) does,
    /// but does not wait for the lock of the key's stripe. An event loop, whose thread must not wait, tries this again later.
    ///
    /// # Errors
    /// The claim, still held, while another has the lock. Within `Ok`: as [`store`](Self::store), without `Busy`.
    pub fn try_store(self, made: Option<&Created>) -> std::result::Result<Result<Stored>, Self> {
        match self.prepare(made) {
            Err(end) => Ok(Ok(end)),
            Ok(mut storing) => match storing.attempt(&mut Patience::of(Duration::ZERO)) {
                Err(Error::Busy { .. }) => Err(storing.claim),
                stored => Ok(storing.conclude(stored)),
            },
        }
    }

    /// For the lock of the key's stripe.
    pub(super) fn patience(&self) -> Patience {
        Patience::of(self.0.lock_wait)
    }

    /// What was created, or that there is nothing, ready to be stored; or what becomes of it instead.
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
        let (expires_ms, beside) = how.times(self.0.defaults, || self.0.opened.settings.time.now_ms());
        let beside = self.beside(beside);
        Ok(Storing { claim: self, value, expires_ms, beside })
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
        let beside = self.beside(Metadata { is_absence: true, ..Metadata::default() });
        Ok(Storing { claim: self, value: &[], expires_ms, beside })
    }

    /// The value is not to be cached: those who wait create for themselves.
    pub fn refuse(mut self) {
        self.end_unstored();
    }

    fn end_unstored(&mut self) {
        self.0.rest_if_refresh();
        if let Right::Claimed(held) = self.take_right() {
            held.end(End::NotStored);
        }
    }

    /// The creation failed: the next who waits tries.
    pub fn fail(self) {
        drop(self);
    }

    fn take_right(&mut self) -> Right {
        std::mem::replace(&mut self.0.right, Right::Used)
    }

    fn beside(&self, beside: Metadata) -> Metadata {
        let cost = if self.0.how.early.is_some() { self.0.started.elapsed() } else { Duration::ZERO };
        Metadata {
            namespace: self.0.began.namespace.namespace(),
            namespace_epoch: self.0.began.namespace.epochs().current(),
            created_ms: self.0.opened.settings.time.now_ms(),
            cost_ms: u64::try_from(cost.as_millis()).unwrap_or(u64::MAX),
            ..beside
        }
    }

    fn put(&mut self, draft: &mut NewRecord<'_>, patience: &mut Patience) -> Result<Stored> {
        let opened = self.0.opened.clone();
        // In a file that another took the place of nobody would find it.
        if opened.is_replaced() {
            return Ok(Stored::Voided);
        }
        match &self.0.right {
            Right::Claimed(held) if held.ticket().is_none() => return Ok(Stored::Voided),
            Right::Uncached(_) | Right::Used => return Ok(Stored::Uncached),
            Right::Claimed(_) | Right::Unprotected(_) => {}
        }
        if let Err(error) = check_size(&opened, draft) {
            self.end_unstored();
            return Err(error);
        }
        // The right is used only with the stripe's lock in hand: who does not get it may try again.
        let mut stripe = patience.lock_stripe(&opened, opened.store.stripe_of(&draft.key))?;
        let entry = stripe.find(&draft.key);
        match self.take_right() {
            Right::Claimed(held) => {
                let Some(ticket) = held.ticket() else { return Ok(Stored::Voided) };
                draft.epoch = stripe.epoch_for(draft.epoch);
                let stored = stripe.store_claimed(ticket, draft, entry.as_ref());
                Ok(stored.map_or(Stored::Voided, |stamp| Stored::Yes(Stamp(stamp))))
            }
            // Nobody kept the others from the key: nothing may have come to it. Every write and every deletion of the key
            // changed its bucket's version, and invalidations the epochs. So did changes of its neighbours; then nobody can
            // tell, and nothing is stored.
            Right::Unprotected(seen) => {
                let is_as_it_was = seen == Some(stripe.version(&draft.key));
                let now = EpochSnapshot::now(&opened, self.0.began.namespace.namespace());
                if !is_as_it_was || now.epochs != self.0.began.epochs || now.namespace != self.0.began.namespace {
                    return Ok(Stored::Voided);
                }
                draft.epoch = stripe.epoch_for(draft.epoch);
                Ok(Stored::Yes(Stamp(stripe.put(draft, entry.as_ref()))))
            }
            Right::Uncached(_) | Right::Used => Ok(Stored::Uncached),
        }
    }
}

/// A value that can be stored, or why it is not to be.
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

/// A value on its way into the cache. Dropped, the creation has failed.
pub(crate) struct Storing<'v> {
    claim: Claim,
    value: &'v [u8],
    expires_ms: u64,
    /// Of every value it says when it was created: somebody may want to know its age.
    beside: Metadata,
}

impl Storing<'_> {
    /// Stores the value. After [`Busy`](Error::Busy) the claim is still held.
    pub(in crate::api) fn attempt(&mut self, patience: &mut Patience) -> Result<Stored> {
        let opened = self.claim.0.opened.clone();
        let key = std::mem::take(&mut self.claim.0.key);
        let current = self.claim.0.began.epochs.current();
        let mut draft = NewRecord::new(opened.store.key(&key), self.value, self.expires_ms, Some(self.beside), current);
        let stored = self.claim.put(&mut draft, patience);
        self.claim.0.key = key;
        stored
    }

    /// What it comes to in the end.
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
