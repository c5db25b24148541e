//! The right to create a key, and what becomes of what its owner created.

use super::finding::Demands;
use super::{CreateOptions, Lookup};
use crate::api::claim::{Began, Held};
use crate::api::read::{Item, Known, count};
use crate::api::write::{Scope, Stamp, Writer, check_size, lock_stripe};
use crate::error::Result;
use crate::store::claim::End;
use crate::store::record::{Beside, Draft};
use crate::store::region::Defaults;
use crate::store::tally::MemberCount;
use crate::upkeep::Opened;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What became of a created value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Yes(Stamp),
    /// The key was written or deleted, or an invalidation came, while the value was created; nothing is stored. So it
    /// is, too, when the claim had passed its greatest age and another took over.
    Voided,
    /// It is not to be cached: the predicate of [`should_cache`](CreateOptions::should_cache) says so, or it is an
    /// absence that has no expiry.
    Refused,
}

/// The right to create the value of a key, and the duty to say what became of it. Dropped, it says that the creation
/// failed, and the next who waits tries. It may be moved to another thread.
#[must_use]
pub struct Claim(Box<Creation>);

/// A creation that has begun.
struct Creation {
    key: Vec<u8>,
    opened: Arc<Opened>,
    /// `None`: created without protection.
    held: Option<Held>,
    /// Without protection: the stamp that the key had at the start.
    seen: Option<Stamp>,
    began: Began,
    started: Instant,
    stale: Option<Item>,
    defaults: Defaults,
    how: CreateOptions,
}

impl Claim {
    /// The key as it is stored: a region's is mangled.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0.key
    }

    /// The value that is to be replaced, if it is stale and not gone.
    #[must_use]
    pub fn stale(&self) -> Option<&Item> {
        self.0.stale.as_ref()
    }

    /// The same value, for a caller that does not wait for the new one.
    pub(crate) fn take_stale(&mut self) -> Vec<u8> {
        self.0.stale.take().map(|item| item.value).unwrap_or_default()
    }

    /// Whether all others wait for this creation. They do not if all claims were held, or if this caller did not want
    /// to wait any longer; nor once the claim has ended, or the cache file was destroyed or replaced.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.0.held.as_ref().is_some_and(Held::is_held)
    }

    /// Stores the value and lets those go on who wait for it.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge): those who wait create for themselves. [`Busy`](crate::Error::Busy) and what
    /// else a write may meet: nothing is stored, and the next who waits tries.
    pub fn store(self, value: impl AsRef<[u8]>) -> Result<Stored> {
        let value = value.as_ref();
        if self.0.how.should_cache.as_ref().is_some_and(|wanted| !wanted(value)) {
            self.refuse();
            return Ok(Stored::Refused);
        }
        let (expires_ms, beside) = self.0.how.set.times(self.0.defaults, || self.0.opened.settings.time.now_ms());
        self.put(value, expires_ms, beside)
    }

    /// Stores that there is no value, if an absence has an expiry: see
    /// [`absence_expiry`](CreateOptions::absence_expiry).
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub fn store_absence(self) -> Result<Stored> {
        let Some(expiry) = self.0.how.absence(self.0.defaults) else {
            self.refuse();
            return Ok(Stored::Refused);
        };
        let expires_ms = expiry.to_ms(|| self.0.opened.settings.time.now_ms());
        self.put(&[], expires_ms, Beside { is_absence: true, ..Beside::default() })
    }

    /// The value is not to be cached: those who wait create for themselves.
    pub fn refuse(mut self) {
        if let Some(held) = self.0.held.take() {
            held.end(End::NotStored);
        }
    }

    /// The creation failed: the next who waits tries.
    pub fn fail(self) {
        drop(self);
    }

    fn put(mut self, value: &[u8], expires_ms: u64, beside: Beside) -> Result<Stored> {
        let opened = self.0.opened.clone();
        let key = std::mem::take(&mut self.0.key);
        let beside = self.beside(beside).if_any();
        let mut draft = Draft::new(opened.store.key(&key), value, expires_ms, beside, self.0.began.epochs.current());
        if let Err(error) = check_size(&opened, &draft) {
            self.refuse();
            return Err(error);
        }
        let stored = self.put_draft(&mut draft)?;
        if stored == Stored::Voided {
            count(&opened, MemberCount::Voided);
        }
        Ok(stored)
    }

    fn beside(&self, beside: Beside) -> Beside {
        let cost = if self.0.how.early.is_some() { self.0.started.elapsed() } else { Duration::ZERO };
        Beside {
            region: self.0.began.region.region(),
            region_epoch: self.0.began.region.epochs().current(),
            created_ms: self.0.opened.settings.time.now_ms(),
            cost_ms: u64::try_from(cost.as_millis()).unwrap_or(u64::MAX),
            ..beside
        }
    }

    fn put_draft(&mut self, draft: &mut Draft<'_>) -> Result<Stored> {
        let opened = self.0.opened.clone();
        // In a file that another took the place of nobody would find it.
        if opened.is_replaced() {
            return Ok(Stored::Voided);
        }
        let Some(held) = self.0.held.take() else { return self.put_unprotected(&opened, draft) };
        let Some(ticket) = held.ticket() else { return Ok(Stored::Voided) };
        let mut stripe = lock_stripe(&opened, ticket.stripe)?;
        draft.epoch = stripe.epoch_for(draft.epoch);
        let entry = stripe.find(&draft.key);
        Ok(stripe
            .store_claimed(ticket, draft, entry.as_ref())
            .map_or(Stored::Voided, |stamp| Stored::Yes(Stamp(stamp))))
    }

    /// Nobody kept the others from the key: it must be as it was at the start.
    fn put_unprotected(&self, opened: &Opened, draft: &mut Draft<'_>) -> Result<Stored> {
        let mut stripe = lock_stripe(opened, opened.store.stripe_of(&draft.key))?;
        let entry = stripe.find(&draft.key);
        let known = entry.filter(|entry| stripe.is_known(entry)).map(|entry| Stamp(entry.head.stamp));
        let now = Began::now(opened, self.0.began.region.region());
        if known != self.0.seen || now.epochs != self.0.began.epochs || now.region != self.0.began.region {
            return Ok(Stored::Voided);
        }
        draft.epoch = stripe.epoch_for(draft.epoch);
        Ok(Stored::Yes(Stamp(stripe.put(draft, entry.as_ref()))))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("is_protected", &self.is_protected()).finish_non_exhaustive()
    }
}

impl Scope<'_> {
    /// The right to create a key that nobody waits for.
    pub(super) fn unprotected(self, key: &[u8], how: &CreateOptions) -> Result<Claim> {
        let writer = Writer::new(self, key)?;
        let opened = &*writer.opened;
        count(opened, MemberCount::Unprotected);
        let began = Began::now(opened, writer.region);
        let known = self.cache.known(key);
        let demands = Demands::of(how);
        let is_usable = |known: &Known| !known.extension.is_absence() && !demands.is_too_old(known, opened);
        Ok(Claim(Box::new(Creation {
            key: key.to_vec(),
            opened: opened.clone(),
            held: None,
            seen: known.as_ref().map(|known| known.item.stamp),
            began,
            started: Instant::now(),
            stale: known.filter(is_usable).map(|known| known.item),
            defaults: writer.defaults,
            how: how.clone(),
        })))
    }
}

/// The right to create a key whose claim is held.
pub(super) fn claimed(
    scope: Scope<'_>,
    key: &[u8],
    how: &CreateOptions,
    held: Held,
    began: Began,
    usable: Option<Lookup>,
) -> Result<Claim> {
    let defaults = match scope.region {
        Some(named) => named.in_file(held.opened())?.1,
        None => Defaults::default(),
    };
    let stale = match usable {
        Some(Lookup::Hit(item) | Lookup::Stale(item)) => Some(item),
        _ => None,
    };
    Ok(Claim(Box::new(Creation {
        key: key.to_vec(),
        opened: held.opened().clone(),
        held: Some(held),
        seen: None,
        began,
        started: Instant::now(),
        stale,
        defaults,
        how: how.clone(),
    })))
}
