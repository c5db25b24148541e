//! How a creation claims a key: which values are good enough for the caller, and what the caller gets.

use super::creation::{Claim, Lookup};
use super::options::{CreateOptions, is_older};
use crate::api::acquire::{EpochSnapshot, Found, HeldClaim, Purpose, Target};
use crate::api::count::{count, count_read};
use crate::api::item::{Item, Known};
use crate::api::random;
use crate::api::waiting::Step;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::notes::Rest;
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::claim::Kind;
use crate::store::counters::MemberCount;
use crate::store::stripe_guard::StripeGuard;
use std::borrow::Borrow;
use std::time::Duration;

/// The maximum age of a claim without [`claim_max_age`](CreateOptions::claim_max_age).
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);

/// The purpose of a caller that creates the value unless the cache has one that is good enough.
pub(crate) struct ToCreate<H> {
    how: H,
    /// How early the caller refreshes a value, as a multiple of the creation's cost. It is drawn at random once,
    /// because the caller looks at the key more than once.
    early_refresh: f64,
    /// Whether the hit or miss has been counted.
    is_counted: bool,
}

/// A value that is stale, or will soon be.
pub(crate) struct OldValue {
    item: Item,
    is_stale: bool,
}

impl From<OldValue> for Lookup {
    fn from(OldValue { item, is_stale }: OldValue) -> Self {
        if is_stale { Lookup::Stale(item) } else { Lookup::Hit(item) }
    }
}

impl<H: Borrow<CreateOptions>> ToCreate<H> {
    /// # Errors
    /// [`BadOption`](Error::BadOption) and [`TooManyTags`](Error::TooManyTags).
    pub(crate) fn new(how: H) -> Result<Self> {
        how.borrow().check()?;
        Ok(Self { early_refresh: draw(how.borrow()), how, is_counted: false })
    }

    fn how(&self) -> &CreateOptions {
        self.how.borrow()
    }

    /// What this caller does with the entry of a key.
    fn judge(&self, known: Option<Known>, time: &Time) -> Found<Self> {
        let Some(known) = known.filter(|known| !self.how().is_too_old(known, time)) else { return Found::Nothing };
        if known.extension.is_absence() {
            return if self.how().needs_value { Found::Nothing } else { Found::Enough(Lookup::Absent) };
        }
        if self.how().form.is_some_and(|form| !form.fits(&known.item)) {
            return Found::Nothing;
        }
        let is_stale = known.item.is_stale || self.how().max_fresh_age.is_some_and(|age| is_older(&known, age, time));
        if is_stale || self.is_early(&known, time) {
            return Found::Usable(OldValue { item: known.item, is_stale });
        }
        Found::Enough(Lookup::Hit(known.item))
    }

    /// Whether a value ends so soon that the caller already creates it anew.
    fn is_early(&self, known: &Known, time: &Time) -> bool {
        let ends_ms = match known.extension.soft_expires_ms() {
            0 => known.expires_ms,
            soft_ms => soft_ms,
        };
        let ahead_ms = known.extension.cost_ms() as f64 * self.early_refresh;
        ahead_ms > 0.0 && ends_ms != 0 && time.now_ms() as f64 + ahead_ms >= ends_ms as f64
    }

    fn leaves_alone(&self, of: Target<'_>) -> bool {
        let opened = of.cache.in_use();
        leaves_alone(&opened, &opened.store.key(of.key), self.how().background)
    }
}

/// Whether a caller with a usable value does not claim the key: another caller is creating the new value, or the key
/// rests. This takes no lock and makes no system call.
#[inline(never)]
pub(super) fn leaves_alone(opened: &AttachedFile, key: &Key<'_>, in_background: bool) -> bool {
    opened.is_in_hand(key)
        || opened.rests(key.hash, Rest::Busy)
        || (in_background && opened.rests(key.hash, Rest::Failed))
        || rests_for_all(opened, key)
}

/// Whether no caller may create the value of a key now, because creations failed.
fn rests_for_all(opened: &AttachedFile, key: &Key<'_>) -> bool {
    let rests = opened.rest_left(key).is_some();
    if rests {
        count(opened, MemberCount::Rested);
    }
    rests
}

impl<H: Borrow<CreateOptions>> Purpose for ToCreate<H> {
    type Got = Lookup;
    type Usable = OldValue;
    const KIND: Kind = Kind::Create;

    fn max_age(&self) -> Option<Duration> {
        Some(self.how().claim_max_age.unwrap_or(DEFAULT_MAX_AGE))
    }

    fn shares_failure(&self) -> bool {
        self.how().on_failure.share
    }

    fn look(&self, of: Target<'_>) -> Result<Found<Self>> {
        Ok(match self.judge(of.cache.known(of.key, of.may_wait)?, &of.cache.file.time) {
            Found::Usable(old) if self.leaves_alone(of) => Found::Enough(old.into()),
            found => found,
        })
    }

    fn look_locked(
        &self,
        opened: &AttachedFile,
        guard: &StripeGuard<'_, Mapping>,
        key: &Key<'_>,
    ) -> Result<Found<Self>> {
        let time = &opened.settings.time.under_lock();
        let Some(entry) = guard.find(key).filter(|entry| guard.is_seen(entry, true)) else { return Ok(Found::Nothing) };
        let copied = guard.copied(key, &entry, opened.settings.verify_reads, true);
        let copied = copied.map_err(Error::no_memory(entry.value_len))?;
        Ok(self.judge(copied.map(|copied| Known::of(&opened.store, copied, time)), time))
    }

    fn claimed(
        &self,
        of: Target<'_>,
        held: HeldClaim,
        began: EpochSnapshot,
        usable: Option<OldValue>,
    ) -> Result<Lookup> {
        Claim::held(of, self.how(), held, began, usable.map(|old| old.item)).map(Lookup::Create)
    }

    fn unprotected(&self, of: Target<'_>) -> Result<Option<Lookup>> {
        Claim::unprotected(of, self.how()).map(|claim| Some(Lookup::Create(claim)))
    }

    /// If the step failed and the options allow it, creates the value without a claim, or without the cache. Counts one
    /// hit or miss per call, at its first step.
    fn conclude(&mut self, of: Target<'_>, step: Result<Step<Lookup>>) -> Result<Step<Lookup>> {
        let create = |claim| Step::Done(Lookup::Create(claim));
        let step = match step {
            Err(Error::Busy { .. } | Error::TimedOut { .. }) if self.how().unprotected => {
                Claim::unprotected(of, self.how()).map(create)
            }
            step => step,
        };
        if !std::mem::replace(&mut self.is_counted, true) {
            let is_hit = match &step {
                Ok(Step::Done(Lookup::Create(claim))) => claim.stale().is_some(),
                Ok(Step::Done(_)) => true,
                Ok(Step::Wait(_)) | Err(_) => false,
            };
            count_read(&of.cache.in_use(), of.cache.in_namespace(), is_hit);
        }
        match step {
            Err(error) if self.how().or_uncached && error.is_of_cache() => {
                Ok(create(Claim::without_cache(of, self.how(), error)))
            }
            step => step,
        }
    }
}

fn draw(how: &CreateOptions) -> f64 {
    let Some(beta) = how.early_refresh else { return 0.0 };
    -(1.0 - random::part()).ln() * beta
}
