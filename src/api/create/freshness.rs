//! Whether a value that was found is good enough for the caller who asks.

use super::lookup::Lookup;
use super::options::{CreateOptions, Form};
use crate::api::acquire::Found;
use crate::api::item::Known;
use crate::clock::Time;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// By which a caller decides whether a value is good enough.
#[derive(Clone, Copy)]
pub(super) struct FreshnessPolicy {
    /// How early the caller refreshes a value, as a multiple of the creation's cost. It is drawn once, because the caller
    /// looks at the key more than once.
    early_refresh: f64,
    max_age: Option<Duration>,
    max_fresh_age: Option<Duration>,
    needs_value: bool,
    form: Option<Form>,
}

impl FreshnessPolicy {
    pub(super) fn of(how: &CreateOptions) -> Self {
        let CreateOptions { max_age, max_fresh_age, needs_value, form, .. } = *how;
        Self { early_refresh: draw(how), max_age, max_fresh_age, needs_value, form }
    }

    /// Whether a value is too old for this caller to use at all.
    pub(super) fn is_too_old(&self, known: &Known, time: &Time) -> bool {
        self.max_age.is_some_and(|age| is_older(known, age, time))
    }

    /// Whether a value ends so soon that the caller creates it anew now.
    fn is_early(&self, known: &Known, time: &Time) -> bool {
        let ends_ms = match known.extension.soft_expires_ms() {
            0 => known.expires_ms,
            soft_ms => soft_ms,
        };
        let ahead_ms = known.extension.cost_ms() as f64 * self.early_refresh;
        ahead_ms > 0.0 && ends_ms != 0 && time.now_ms() as f64 + ahead_ms >= ends_ms as f64
    }

    /// What this caller does with what is known of a key.
    pub(super) fn judge(&self, known: Option<Known>, time: &Time) -> Found<Lookup> {
        let Some(known) = known.filter(|known| !self.is_too_old(known, time)) else { return Found::Nothing };
        if known.extension.is_absence() {
            return if self.needs_value { Found::Nothing } else { Found::Enough(Lookup::Absent) };
        }
        if self.form.is_some_and(|form| !form.fits(&known.item)) {
            return Found::Nothing;
        }
        if known.item.is_stale || self.max_fresh_age.is_some_and(|age| is_older(&known, age, time)) {
            return Found::Usable(Lookup::Stale(known.item));
        }
        let is_early = self.is_early(&known, time);
        let hit = Lookup::Hit(known.item);
        if is_early { Found::Usable(hit) } else { Found::Enough(hit) }
    }
}

fn draw(how: &CreateOptions) -> f64 {
    let Some(beta) = how.early_refresh else { return 0.0 };
    // Each of these states differs from all others, by the standard library's own random numbers.
    let random = (RandomState::new().build_hasher().finish() >> 11) as f64 / (1u64 << 53) as f64;
    -(1.0 - random).ln() * beta
}

/// Whether a value is of at least this age, or of an unknown age.
fn is_older(known: &Known, age: Duration, time: &Time) -> bool {
    let created_ms = known.extension.metadata().created_ms;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    created_ms == 0 || time.now_ms().saturating_sub(created_ms) >= age_ms
}
