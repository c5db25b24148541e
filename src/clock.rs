//! Wall time. Only the expiries and ages of values may depend on it. Tests replace it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The latest moment that a record can hold, in milliseconds since 1970: the year 2527.
pub(crate) const LAST_TIME: u64 = (1 << 44) - 1;

/// A source of wall time, which decides when items expire: see [`Options::clock`](crate::Options::clock).
///
/// All processes that use a cache file must agree on the time. A program replaces the system's clock in order to read a
/// cheaper one of its own, or in tests, to let items expire without waiting. Kennel holds no lock when it calls `now`,
/// so `now` may use the cache.
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> SystemTime;
}

/// The system's clock, or one that replaces it.
///
/// A replacement is the caller's code and may use the cache, so it must not run under a stripe's lock. It is called
/// before the stripe is locked; code under the lock uses the time that its thread [noted](Self::note) then.
#[derive(Clone, Default)]
pub(crate) struct Time(Option<Arc<dyn Clock>>);

thread_local! {
    /// The time that the caller's clock returned before this thread took its last lock.
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// A clock that always returns the same time.
struct Still(SystemTime);

impl Clock for Still {
    fn now(&self) -> SystemTime {
        self.0
    }
}

impl Time {
    pub(crate) fn of(clock: Arc<dyn Clock>) -> Self {
        Self(Some(clock))
    }

    /// The present time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        milliseconds(self.0.as_ref().map_or_else(SystemTime::now, |clock| clock.now()))
    }

    /// Whether asking for the time runs the caller's code.
    pub(crate) fn is_callers(&self) -> bool {
        self.0.is_some()
    }

    /// If the caller replaced the clock, notes the time for what this thread is about to do under a lock.
    #[inline(always)]
    pub(crate) fn note(&self) {
        if self.is_callers() {
            self.note_answer();
        }
    }

    #[cold]
    #[inline(never)]
    fn note_answer(&self) {
        NOTED.set(self.now_ms());
    }

    /// The clock for what this thread does under the lock that it took last.
    pub(crate) fn under_lock(&self) -> Self {
        match &self.0 {
            None => Self(None),
            Some(_) => Self::of(Arc::new(Still(UNIX_EPOCH + Duration::from_millis(NOTED.get())))),
        }
    }

    /// The time of [`under_lock`](Self::under_lock), in milliseconds since 1970.
    pub(crate) fn under_lock_ms(&self) -> u64 {
        if self.is_callers() { NOTED.get() } else { self.now_ms() }
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Time(replaced)" } else { "Time(system)" })
    }
}

/// Milliseconds since 1970; 0 for an earlier time.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When an item expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expiry {
    /// Never; it can still be evicted.
    #[default]
    Never,
    /// After this duration from now, in whole milliseconds. With a duration of zero the item is expired immediately.
    After(Duration),
    /// At this moment of wall time, in whole milliseconds, at the latest in the year 2527. With a moment in the past
    /// the item is expired immediately.
    At(SystemTime),
}

impl Expiry {
    /// The form that a record stores: milliseconds since 1970, 0 for never.
    pub(crate) fn to_ms(self, now_ms: impl FnOnce() -> u64) -> u64 {
        let ms = match self {
            Expiry::Never => return 0,
            Expiry::After(wait) => now_ms().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            Expiry::At(time) => milliseconds(time),
        };
        // 0 means never, so an earlier moment becomes the first millisecond of 1970, which is in the past as well.
        ms.clamp(1, LAST_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_become_milliseconds() {
        let now = || 1_000;
        assert_eq!(Expiry::Never.to_ms(now), 0);
        assert_eq!(Expiry::After(Duration::ZERO).to_ms(now), 1_000);
        assert_eq!(Expiry::After(Duration::from_secs(2)).to_ms(now), 3_000);
        assert_eq!(Expiry::At(UNIX_EPOCH).to_ms(now), 1);
        assert_eq!(Expiry::After(Duration::MAX).to_ms(now), LAST_TIME);
    }
}
