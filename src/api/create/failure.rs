//! What happens after a creator failed: the key rests, or the caller uses a stale value.

use crate::api::acquire::{HeldClaim, Target};
use crate::api::cache::Cache;
use crate::api::item::Item;
use crate::api::random;
use crate::api::stripe_lock::Patience;
use crate::store::claim::End;
use crate::store::rest::Rest;
use crate::sync::clock::monotonic_ms;
use std::time::Duration;

/// The shortest rest, before chance shortens it.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest rest. A claim in the file can hold rests of up to 109 minutes.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a caller does about failures of creators.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OnFailure {
    pub stale_if_error: bool,
    pub share: bool,
    rest: Option<Rests>,
}

/// How long a key rests after a failure, and after many in a row.
#[derive(Clone, Copy, Debug)]
struct Rests {
    first: Duration,
    most: Duration,
}

impl OnFailure {
    pub(super) fn rest(self, first: Duration, most: Duration) -> Self {
        let first = first.clamp(SHORTEST, LONGEST);
        Self { rest: Some(Rests { first, most: most.clamp(first, LONGEST) }), ..self }
    }

    pub(super) fn resilient(self) -> Self {
        let rests = self.rest.is_some();
        let shared = Self { stale_if_error: true, share: true, ..self };
        if rests { shared } else { shared.rest(Duration::from_secs(1), Duration::from_secs(30)) }
    }

    /// How long the key rests after this many failures in a row. The length doubles with each failure, and chance
    /// shortens it by up to a quarter.
    fn rest_after(self, failures: u8) -> Option<Duration> {
        let Rests { first, most } = self.rest?;
        let doubled = 2_u32.checked_pow(u32::from(failures.saturating_sub(1)));
        let length = doubled.and_then(|times| first.checked_mul(times)).map_or(most, |length| length.min(most));
        Some(length.mul_f64(1.0 - random::part() / 4.0))
    }
}

/// The stale value of a creation, for a caller that uses the value if the creator fails.
pub(super) struct Fallback {
    cache: Cache,
    may_wait: bool,
    item: Item,
}

impl Fallback {
    /// The stale value when a creation begins, if the caller wants to use it after a failure.
    pub(super) fn of(of: Target<'_>, how: OnFailure, item: Option<&Item>) -> Option<Self> {
        let item = item.filter(|_| how.stale_if_error)?.clone();
        Some(Self { cache: of.cache.clone(), may_wait: of.may_wait, item })
    }

    /// The same value, if the key still has it: it has not expired, and was not deleted, invalidated or replaced.
    pub(super) fn still_there(&self, key: &[u8]) -> Option<Item> {
        let known = self.cache.known(key, self.may_wait).ok()??;
        (!known.extension.is_absence() && known.item.id() == self.item.id()).then_some(known.item)
    }
}

impl HeldClaim {
    /// Ends the claim of a creation that failed. If the stripe's lock is not free at once, the key does not rest.
    pub(super) fn end_failed(&mut self, how: OnFailure) {
        let failures = self.failures_before().saturating_add(1);
        if let (Some(length), Some(&claim_id)) = (how.rest_after(failures), self.claim_id()) {
            let opened = self.opened();
            let locked = Patience::none().lock_region(opened, claim_id.stripe, Duration::ZERO);
            let entered = locked.and_then(|(joined, lock)| opened.enter_to_claim(joined, claim_id.stripe, lock));
            let rest = Rest::new(failures, monotonic_ms(), length.as_millis() as u64);
            if entered.is_ok_and(|mut guard| guard.rest(&claim_id, rest)) {
                return;
            }
        }
        self.end(End::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_doubles_up_to_its_limit_and_is_a_quarter_shorter_at_most() {
        let how = OnFailure::default().rest(Duration::from_secs(1), Duration::from_secs(30));
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (40, 30), (255, 30)] {
            let longest = Duration::from_secs(longest);
            for _ in 0..20 {
                let length = how.rest_after(failures).unwrap();
                assert!(length <= longest && length >= longest * 3 / 4, "{failures} failures: {length:?}");
            }
        }
        assert_eq!(OnFailure::default().rest_after(1), None);
        let least = OnFailure::default().rest(Duration::ZERO, Duration::ZERO).rest_after(9).unwrap();
        assert!(least <= SHORTEST && !least.is_zero(), "{least:?}");
        let most = OnFailure::default().rest(Duration::MAX, Duration::ZERO).rest_after(1).unwrap();
        assert!(most <= LONGEST && most >= LONGEST * 3 / 4, "{most:?}");
    }
}
