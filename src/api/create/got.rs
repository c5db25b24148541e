//! `get_or_create_item`: a value with its metadata, and how the caller got it.

use super::created::Created;
use super::creation::{Claim, Lookup, Stored};
use super::options::CreateOptions;
use super::output::CreatorOutput;
use super::purpose::ToCreate;
use crate::api::acquire::{Acquire, Caller, Progress};
use crate::api::cache::Cache;
use crate::api::item::{Item, Stamp};
use crate::api::waiting::run;
use crate::error::Result;
use crate::store::record::Metadata;

/// How a caller got a value: see [`Cache::get_or_create_item`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The cache had it.
    Hit,
    /// The cache had it, but it is stale. Another caller is creating a new value, or the key rests after failures.
    Stale,
    /// This caller waited for another caller, which created it.
    Waited,
    /// This caller created it, and it is stored.
    Created,
    /// This caller created it, and it is not stored: the key was written, deleted or invalidated meanwhile, the value
    /// was refused or is too large, or the cache failed.
    NotStored,
    /// This caller's creator failed, and this is the stale value that the cache had: see
    /// [`CreateOptions::stale_if_error`](crate::CreateOptions::stale_if_error).
    Failed,
}

/// A value with its metadata, and how the caller got it: see [`Cache::get_or_create_item`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Got {
    /// The value with its flags, stamp and times. A value that is not stored has the flags and times with which it
    /// would have been stored, and `Stamp(0)`, which no stored item has.
    pub item: Item,
    /// How the caller got the value.
    pub source: Source,
}

impl Got {
    pub(in crate::api) fn hit(item: Item, has_waited: bool) -> Self {
        Self { item, source: if has_waited { Source::Waited } else { Source::Hit } }
    }

    /// The value that a creator made, and whether it is stored.
    pub(in crate::api) fn created((item, stored): (Item, Result<Stored>)) -> Self {
        Self { item, source: if matches!(stored, Ok(Stored::Yes(_))) { Source::Created } else { Source::NotStored } }
    }

    /// A value that was created without a claim, and is not stored.
    pub(in crate::api) fn unclaimed(made: Created) -> Self {
        let item = Item::made(made.into_value(), 0, Metadata::default(), Stamp(0), 0);
        Self { item, source: Source::NotStored }
    }

    /// The stale value that is used because the creator failed.
    pub(in crate::api) fn failed(claim: Claim) -> Option<Self> {
        claim.fail().map(|item| Self { item, source: Source::Failed })
    }
}

impl Cache {
    /// [`get_or_create`](Cache::get_or_create) that returns the value with its metadata, and how this caller got it.
    /// With these a program can tell a client how long it may keep the value, or count the created values.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Expiry, Source};
    /// use std::time::Duration;
    /// let how = CreateOptions::new().expiry(Expiry::After(Duration::from_secs(60)));
    /// let page = cache.get_or_create_item("page", &how, || "<html>")?;
    /// assert_eq!((page.source, &page.item.value[..]), (Source::Created, &b"<html>"[..]));
    /// let again = cache.get_or_create_item("page", &how, || "<html>")?;
    /// assert_eq!((again.source, again.item.id()), (Source::Hit, page.item.id()));
    /// assert_eq!(again.item.expires, page.item.expires);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`get_or_create`](Cache::get_or_create).
    pub fn get_or_create_item<R: CreatorOutput<Created>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> R,
    ) -> Result<Got, R::Error> {
        let (lookup, has_waited) = self.looked_up(key.as_ref(), how, CreateOptions::for_value)?;
        match lookup {
            Lookup::Hit(item) => Ok(Got::hit(item, has_waited)),
            Lookup::Stale(item) => Ok(Got { item, source: Source::Stale }),
            Lookup::Create(claim) => created(claim, create),
            // A claim with `needs_value` never returns a remembered absence.
            Lookup::Absent => create().into_result().map(Got::unclaimed),
        }
    }

    /// [`claim`](Cache::claim) that also says whether this call waited for another caller's creation. With
    /// [`Claim::store_as_item`] it is the building block of [`get_or_create_item`](Cache::get_or_create_item), for callers
    /// that cannot pass a closure.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
    /// use kennel::{CreateOptions, Lookup};
    /// cache.set("key", "value")?;
    /// let (found, has_waited) = cache.claim_for_item("key", &CreateOptions::new())?;
    /// assert!(matches!(found, Lookup::Hit(_)) && !has_waited);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`claim`](Cache::claim).
    pub fn claim_for_item(&self, key: impl AsRef<[u8]>, how: &CreateOptions) -> Result<(Lookup, bool)> {
        self.looked_up(key.as_ref(), how, CreateOptions::clone)
    }

    /// Looks up a key: first on the fast path with `how`, then by a claim with the options that `for_claim` makes of
    /// them.
    fn looked_up(
        &self,
        key: &[u8],
        how: &CreateOptions,
        for_claim: impl FnOnce(&CreateOptions) -> CreateOptions,
    ) -> Result<(Lookup, bool)> {
        self.with_stored_key(key, |key| match self.lookup_at_hand(key, how) {
            Some(lookup) => Ok((lookup, false)),
            None => self.claim_stored_for_item(key, &for_claim(how), &mut self.caller(how)),
        })
    }

    /// Looks up a stored key, and claims it if its value is to be created. Also says whether this call waited for
    /// another caller's creation.
    pub(super) fn claim_stored_for_item(
        &self,
        key: &[u8],
        how: &CreateOptions,
        caller: &mut Caller,
    ) -> Result<(Lookup, bool)> {
        let mut progress = Progress::towards(ToCreate::new(how)?);
        let mut acquire = Acquire::new(self, key, &mut progress, caller);
        let lookup = run(|| acquire.step())?;
        Ok((lookup, progress.has_waited()))
    }
}

fn created<R: CreatorOutput<Created>>(claim: Claim, create: impl FnOnce() -> R) -> Result<Got, R::Error> {
    match create().into_result() {
        Ok(made) => Ok(Got::created(claim.store_as_item(made))),
        Err(error) => Got::failed(claim).ok_or(error),
    }
}
