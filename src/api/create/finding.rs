//! One caller's way to a value, or to the right to create it.

use super::freshness::{Freshness, FreshnessPolicy};
use super::lookup::Lookup;
use super::options::CreateOptions;
use crate::api::cache::Cache;
use crate::api::claim::{Pause, Seeker, Step, Task, Wait};
use crate::api::count::count;
use crate::api::item::Known;
use crate::api::stripe_lock::Patience;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::file::AttachedFile;
use crate::file::notes::Rest;
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::claim::Kind;
use crate::store::stripe_guard::StripeGuard;
use crate::store::tally::MemberCount;
use std::time::{Duration, Instant};

/// How long a claim lasts when nothing is said.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);

/// What is known of a key, the stripe's lock held.
fn known_in(
    opened: &AttachedFile,
    stripe: &StripeGuard<'_, Mapping>,
    key: &Key<'_>,
    time: &Time,
) -> Result<Option<Known>> {
    let Some(entry) = stripe.find(key).filter(|entry| stripe.is_seen(entry, true)) else { return Ok(None) };
    let copied = stripe.copied(key, &entry, opened.settings.verify_reads, true);
    let copied = copied.map_err(Error::no_memory(entry.value_len))?;
    Ok(copied.map(|copied| Known::of(&opened.store, copied, time)))
}

/// What is left of the times for waiting that several waits share.
pub(crate) struct Remaining {
    wait: Wait,
    since: Instant,
    /// For the locks of stripes, once one was asked for.
    pub(super) patience: Option<Patience>,
}

impl Remaining {
    pub(crate) fn of(wait: Wait) -> Self {
        Self { wait, since: Instant::now(), patience: None }
    }

    pub(crate) fn now(&self) -> Wait {
        match self.wait {
            Wait::For(limit) => Wait::For(limit.saturating_sub(self.since.elapsed())),
            other => other,
        }
    }
}

/// One caller's way to a value, or to the right to create it.
pub(crate) struct Finding {
    policy: FreshnessPolicy,
    pub seeker: Seeker,
    /// It is counted whether the caller found a value.
    is_counted: bool,
}

/// What a step of it came to.
pub(crate) enum Next {
    Done(Lookup),
    Wait(Pause),
}

impl Finding {
    pub(crate) fn new(task: Task, how: &CreateOptions, wait: Wait) -> Result<Self> {
        how.check()?;
        let seeker =
            Seeker::new(Kind::Create, task).max_age(Some(how.claim_max_age.unwrap_or(DEFAULT_MAX_AGE))).wait(wait);
        Ok(Self { policy: FreshnessPolicy::of(how), seeker, is_counted: false })
    }

    /// One step: a value, the right to create it, or what to wait for.
    pub(crate) fn step(&mut self, cache: &Cache, key: &[u8], how: &CreateOptions) -> Result<Next> {
        let next = cache.known(key).and_then(|known| {
            let freshness = self.judge(cache, known);
            // It counts as one hit or one miss, by the first look.
            self.count(cache, freshness.is_some());
            self.attempt(cache, key, how, freshness)
        });
        self.conclude(cache, key, how, next)
    }

    /// The same for a caller that does not wait: [`Busy`](Error::Busy) if somebody has the stripe's lock. The handle
    /// must be one that does not wait for locks.
    #[cfg(feature = "tokio")]
    pub(crate) fn try_step(&mut self, cache: &Cache, key: &[u8], how: &CreateOptions) -> Result<Next> {
        let freshness = self.judge(cache, cache.known_at_once(key));
        let next = self.attempt(cache, key, how, freshness)?;
        // Only now: that nothing is known at once may be because a change is under way.
        let is_miss = match &next {
            Next::Done(Lookup::Create(claim)) => claim.stale().is_none(),
            Next::Done(_) => false,
            Next::Wait(_) => true,
        };
        self.count(cache, !is_miss);
        Ok(next)
    }

    /// A look without a lock has been taken, as most find a value.
    fn attempt(
        &mut self,
        cache: &Cache,
        key: &[u8],
        how: &CreateOptions,
        freshness: Option<Freshness>,
    ) -> Result<Next> {
        let usable = match freshness {
            Some(Freshness::Use(lookup)) => return Ok(Next::Done(lookup)),
            Some(Freshness::Renew(lookup)) if is_left_alone(cache, key, how) => return Ok(Next::Done(lookup)),
            Some(Freshness::Renew(lookup)) => Some(lookup),
            None => None,
        };
        self.seeker.hurry(usable.is_some());
        match (self.step_locked(cache, key, how), usable) {
            // Whoever has something to use needs no lock, and no right to write.
            (Err(error), Some(usable)) => {
                let opened = cache.in_use();
                if let Error::Busy { .. } = error {
                    opened.rest(opened.store.key(key).hash, Rest::Busy);
                }
                Ok(Next::Done(usable))
            }
            (next, _) => next,
        }
    }

    /// What a step comes to in the end. Where it failed a caller may create without protection, or without the cache.
    pub(crate) fn conclude(
        &mut self,
        cache: &Cache,
        key: &[u8],
        how: &CreateOptions,
        next: Result<Next>,
    ) -> Result<Next> {
        let create = |claim| Next::Done(Lookup::Create(claim));
        let next = match next {
            Err(Error::Busy { .. } | Error::TimedOut { .. }) if how.unprotected => {
                cache.unprotected(key, how).map(create)
            }
            next => next,
        };
        if next.is_err() {
            self.count(cache, false);
        }
        match next {
            Err(error) if how.or_uncached && !error.is_of_caller() => Ok(create(cache.uncached(key, how, error))),
            next => next,
        }
    }

    /// What the caller makes of what is known.
    fn judge(&self, cache: &Cache, known: Option<Known>) -> Option<Freshness> {
        self.policy.judge(known?, &cache.file.time)
    }

    fn count(&mut self, cache: &Cache, is_hit: bool) {
        if !std::mem::replace(&mut self.is_counted, true) {
            count(&cache.in_use(), if is_hit { MemberCount::Hits } else { MemberCount::Misses });
        }
    }

    fn step_locked(&mut self, cache: &Cache, key: &[u8], how: &CreateOptions) -> Result<Next> {
        let (mut usable, policy) = (None, self.policy);
        let step = self.seeker.step(cache, key, |opened, stripe, key| {
            let time = &opened.settings.time.under_lock();
            let known = known_in(opened, stripe, key, time).transpose()?;
            match known.map(|known| policy.judge(known, time)) {
                Ok(Some(Freshness::Use(lookup))) => Some(Ok(lookup)),
                Ok(Some(Freshness::Renew(lookup))) => {
                    usable = Some(lookup);
                    None
                }
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            }
        });
        Ok(match (step, usable) {
            (Ok(Step::Found(found)), _) => Next::Done(found?),
            (Ok(Step::Mine(held, began)), stale) => {
                Next::Done(Lookup::Create(cache.claimed(key, how, held, began, stale.and_then(Lookup::into_item))?))
            }
            // Whoever has something to use does not wait, nor create without protection.
            (Ok(_) | Err(Error::OwnClaim), Some(usable)) => Next::Done(usable),
            (Ok(Step::Taken(Some(pause))), None) => {
                self.seeker.waits(&pause);
                Next::Wait(pause)
            }
            (Ok(Step::Taken(None)), None) => return Err(self.seeker.timed_out()),
            (Ok(Step::NotStored | Step::Full(_)), None) => Next::Done(Lookup::Create(cache.unprotected(key, how)?)),
            (Err(error), _) => return Err(error),
        })
    }
}

/// Whether a caller with a stale value has nothing to do but to use it: somebody creates the new one, or it is not the
/// time to. It takes no lock and makes no system call.
fn is_left_alone(cache: &Cache, key: &[u8], how: &CreateOptions) -> bool {
    let opened = cache.in_use();
    let key = opened.store.key(key);
    opened.is_in_hand(&key)
        || opened.rests(key.hash, Rest::Busy)
        || (how.background && opened.rests(key.hash, Rest::Failed))
}
