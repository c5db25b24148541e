//! Creation as a purpose of the machine that claims keys: what a caller takes from a look, and what it gets.

use super::creation::Claim;
use super::freshness::FreshnessPolicy;
use super::lookup::Lookup;
use super::options::CreateOptions;
use crate::api::acquire::{EpochSnapshot, Found, HeldClaim, Purpose, Target};
use crate::api::count::count;
use crate::api::item::Known;
use crate::api::waiting::Step;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::notes::Rest;
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::claim::Kind;
use crate::store::stripe_guard::StripeGuard;
use crate::store::tally::MemberCount;
use std::time::Duration;

/// The maximum age of a claim without [`claim_max_age`](CreateOptions::claim_max_age).
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);

/// The purpose of a caller that creates the value if there is none that is good enough.
pub(crate) struct ToCreate<'h> {
    how: &'h CreateOptions,
    policy: FreshnessPolicy,
    /// The hit or miss has been counted.
    is_counted: bool,
}

impl<'h> ToCreate<'h> {
    /// # Errors
    /// [`BadOption`](Error::BadOption).
    pub(crate) fn new(how: &'h CreateOptions) -> Result<Self> {
        how.check()?;
        Ok(Self { how, policy: FreshnessPolicy::of(how), is_counted: false })
    }

    /// Whether a caller with a usable value leaves the key alone: another caller creates the new value, or the time to
    /// create it has not come. This takes no lock and makes no system call.
    fn leaves_alone(&self, of: Target<'_>) -> bool {
        let opened = of.cache.in_use();
        let key = opened.store.key(of.key);
        opened.is_in_hand(&key)
            || opened.rests(key.hash, Rest::Busy)
            || (self.how.background && opened.rests(key.hash, Rest::Failed))
    }
}

impl Purpose for ToCreate<'_> {
    type Got = Lookup;
    const KIND: Kind = Kind::Create;

    fn max_age(&self) -> Option<Duration> {
        Some(self.how.claim_max_age.unwrap_or(DEFAULT_MAX_AGE))
    }

    fn look(&self, of: Target<'_>, may_wait: bool) -> Result<Found<Lookup>> {
        Ok(match self.policy.judge(of.cache.known(of.key, may_wait)?, &of.cache.file.time) {
            Found::Usable(lookup) if self.leaves_alone(of) => Found::Enough(lookup),
            found => found,
        })
    }

    fn look_locked(
        &self,
        opened: &AttachedFile,
        guard: &StripeGuard<'_, Mapping>,
        key: &Key<'_>,
    ) -> Result<Found<Lookup>> {
        let time = &opened.settings.time.under_lock();
        let Some(entry) = guard.find(key).filter(|entry| guard.is_seen(entry, true)) else { return Ok(Found::Nothing) };
        let copied = guard.copied(key, &entry, opened.settings.verify_reads, true);
        let copied = copied.map_err(Error::no_memory(entry.value_len))?;
        Ok(self.policy.judge(copied.map(|copied| Known::of(&opened.store, copied, time)), time))
    }

    fn claimed(&self, of: Target<'_>, held: HeldClaim, began: EpochSnapshot, usable: Option<Lookup>) -> Result<Lookup> {
        Claim::held(of, self.how, held, began, usable.and_then(Lookup::into_item)).map(Lookup::Create)
    }

    fn unprotected(&self, of: Target<'_>) -> Result<Option<Lookup>> {
        Claim::unprotected(of, self.how).map(|claim| Some(Lookup::Create(claim)))
    }

    /// Creates without protection, or without the cache, if the step failed and the options allow that. Counts one hit or
    /// one miss, by the first step.
    fn conclude(&mut self, of: Target<'_>, step: Result<Step<Lookup>>) -> Result<Step<Lookup>> {
        let create = |claim| Step::Done(Lookup::Create(claim));
        let step = match step {
            Err(Error::Busy { .. } | Error::TimedOut { .. }) if self.how.unprotected => {
                Claim::unprotected(of, self.how).map(create)
            }
            step => step,
        };
        if !std::mem::replace(&mut self.is_counted, true) {
            let is_hit = match &step {
                Ok(Step::Done(Lookup::Create(claim))) => claim.stale().is_some(),
                Ok(Step::Done(_)) => true,
                Ok(Step::Wait(_)) | Err(_) => false,
            };
            count(&of.cache.in_use(), if is_hit { MemberCount::Hits } else { MemberCount::Misses });
        }
        match step {
            Err(error) if self.how.or_uncached && !error.is_of_caller() => {
                Ok(create(Claim::without_cache(of, self.how, error)))
            }
            step => step,
        }
    }
}
