//! One caller's way to a value, or to the right to create it.

use super::claim::claimed;
use super::{CreateOptions, Lookup};
use crate::api::claim::{Pause, Seeker, Step, Task, Wait};
use crate::api::read::Known;
use crate::api::write::Scope;
use crate::error::{Error, Result};
use crate::hash::Key;
use crate::shm::mapping::Mapping;
use crate::store::claim::Kind;
use crate::store::exclusive::Exclusive;
use crate::upkeep::Opened;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// How long a claim lasts when nothing is said.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);

/// What is known of a key means this to one who could create it.
enum Standing {
    Use(Lookup),
    /// It can be used if somebody else creates it anew.
    Renew(Lookup),
}

/// What a caller thinks of values that it finds.
#[derive(Clone, Copy)]
pub(super) struct Demands {
    /// By how many times the cost of a creation it is early: drawn once, since it looks at the key more than once.
    early: f64,
    usable_for: Option<Duration>,
    fresh_for: Option<Duration>,
}

impl Demands {
    pub(super) fn of(how: &CreateOptions) -> Self {
        Self { early: draw(how), usable_for: how.usable_for, fresh_for: how.fresh_for }
    }

    /// Whether what is known is too old for this caller to be used at all.
    pub(super) fn is_too_old(&self, known: &Known, opened: &Opened) -> bool {
        self.usable_for.is_some_and(|age| is_older(known, age, opened))
    }

    /// Whether a value ends so soon that it is worth to create it anew now.
    fn is_early(&self, known: &Known, opened: &Opened) -> bool {
        let ends_ms = match known.extension.soft_expires_ms() {
            0 => known.expires_ms,
            soft_ms => soft_ms,
        };
        let ahead_ms = known.extension.cost_ms() as f64 * self.early;
        ahead_ms > 0.0 && ends_ms != 0 && opened.settings.time.now_ms() as f64 + ahead_ms >= ends_ms as f64
    }

    /// What this caller does with what is known; `None`: as if there were nothing.
    fn judge(&self, known: Known, opened: &Opened) -> Option<Standing> {
        if self.is_too_old(&known, opened) {
            return None;
        }
        if known.extension.is_absence() {
            return Some(Standing::Use(Lookup::Absent));
        }
        if known.item.is_stale || self.fresh_for.is_some_and(|age| is_older(&known, age, opened)) {
            return Some(Standing::Renew(Lookup::Stale(known.item)));
        }
        let is_early = self.is_early(&known, opened);
        let hit = Lookup::Hit(known.item);
        Some(if is_early { Standing::Renew(hit) } else { Standing::Use(hit) })
    }
}

fn draw(how: &CreateOptions) -> f64 {
    let Some(beta) = how.early else { return 0.0 };
    // Each of these states differs from all others, by the standard library's own random numbers.
    let random = (RandomState::new().build_hasher().finish() >> 11) as f64 / (1u64 << 53) as f64;
    -(1.0 - random).ln() * beta
}

/// Whether a value was created at least so long ago; `false` if that is not known.
fn is_older(known: &Known, age: Duration, opened: &Opened) -> bool {
    let created_ms = known.extension.beside().created_ms;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    created_ms != 0 && opened.settings.time.now_ms().saturating_sub(created_ms) >= age_ms
}

/// What is known of a key, the stripe's lock held.
fn known_in(opened: &Opened, stripe: &Exclusive<'_, Mapping>, key: &Key<'_>) -> Option<Known> {
    let entry = stripe.find(key).filter(|entry| stripe.is_known(entry))?;
    let value = stripe.value_of(&entry);
    if opened.settings.verify_reads && !stripe.passes(key, &value, &entry) {
        return None; // As a read with checksums would miss it.
    }
    Some(Known::of(&opened.store, entry.at, entry.head, value, &opened.settings.time))
}

/// What is left of a time for waiting that several waits share.
pub(crate) struct Remaining {
    wait: Wait,
    since: Instant,
}

impl Remaining {
    pub(crate) fn of(wait: Wait) -> Self {
        Self { wait, since: Instant::now() }
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
    demands: Demands,
    pub seeker: Seeker,
}

/// What a step of it came to.
pub(crate) enum Next {
    Done(Lookup),
    Wait(Pause),
}

impl Finding {
    pub(crate) fn new(task: Task, how: &CreateOptions, wait: Wait) -> Self {
        let max_age = how.max_age.unwrap_or(DEFAULT_MAX_AGE);
        Self { demands: Demands::of(how), seeker: Seeker::new(Kind::Create, task).max_age(Some(max_age)).wait(wait) }
    }

    /// A look without a lock first, as most find a value.
    pub(crate) fn step(&mut self, scope: Scope<'_>, key: &[u8], how: &CreateOptions) -> Result<Next> {
        let usable = match self.look(scope, key) {
            Some(Standing::Use(lookup)) => return Ok(Next::Done(lookup)),
            Some(Standing::Renew(lookup)) => Some(lookup),
            None => None,
        };
        self.seeker.hurry(usable.is_some());
        match (self.step_locked(scope, key, how), usable) {
            // Whoever has something to use needs no lock, and no right to write.
            (Err(_), Some(usable)) => Ok(Next::Done(usable)),
            (Err(Error::Busy { .. } | Error::TimedOut { .. }), None) if how.unprotected => {
                Ok(Next::Done(Lookup::Create(scope.unprotected(key, how)?)))
            }
            (other, _) => other,
        }
    }

    fn look(&self, scope: Scope<'_>, key: &[u8]) -> Option<Standing> {
        self.demands.judge(scope.cache.known(key)?, &scope.cache.opened())
    }

    /// What can be used as it is, and is found without waiting for anybody.
    #[cfg(feature = "tokio")]
    pub(crate) fn fresh(&self, scope: Scope<'_>, key: &[u8]) -> Option<Lookup> {
        match self.demands.judge(scope.cache.known_at_once(key)?, &scope.cache.opened())? {
            Standing::Use(lookup) => Some(lookup),
            Standing::Renew(_) => None,
        }
    }

    fn step_locked(&mut self, scope: Scope<'_>, key: &[u8], how: &CreateOptions) -> Result<Next> {
        let (mut usable, demands) = (None, self.demands);
        let step = self.seeker.step(scope, key, |opened, stripe, key| {
            match known_in(opened, stripe, key).and_then(|known| demands.judge(known, opened)) {
                Some(Standing::Use(lookup)) => Some(lookup),
                Some(Standing::Renew(lookup)) => {
                    usable = Some(lookup);
                    None
                }
                None => None,
            }
        });
        Ok(match (step, usable) {
            (Ok(Step::Found(lookup)), _) => Next::Done(lookup),
            (Ok(Step::Mine(held, began)), stale) => {
                Next::Done(Lookup::Create(claimed(scope, key, how, held, began, stale)?))
            }
            // Whoever has something to use does not wait, nor create without protection.
            (Ok(_) | Err(Error::OwnClaim), Some(usable)) => Next::Done(usable),
            (Ok(Step::Taken(Some(pause))), None) => Next::Wait(pause),
            (Ok(Step::Taken(None)), None) => return Err(self.seeker.timed_out()),
            (Ok(Step::NotStored | Step::Full(_)), None) => Next::Done(Lookup::Create(scope.unprotected(key, how)?)),
            (Err(error), _) => return Err(error),
        })
    }
}
