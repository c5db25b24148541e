//! Wall time, for expiry only. Nothing else may depend on it; tests replace it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The latest moment that a record can hold, in milliseconds since 1970: the year 2527.
pub(crate) const LAST_TIME: u64 = (1 << 44) - 1;

/// A source of wall time, which decides when items expire: see [`Options::clock`](crate::Options::clock).
///
/// All processes that use a cache file must agree on the time. A program replaces the system's clock to read a cheaper
/// one of its own, or, in its tests, to let items expire without waiting. `now` is called without a lock held, and may use
/// the cache.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The system's clock, or one that replaces it.
///
/// A clock that replaces it is the caller's code, and may use the cache. So it is asked before a stripe is locked, and never
/// under the lock: what is done there goes by the answer that the thread [noted](Self::note).
#[derive(Clone, Default)]
pub(crate) struct Time(Option<Arc<dyn Clock>>);

thread_local! {
    /// What the caller's clock said before this thread took its last lock.
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// The answer of a clock.
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

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        milliseconds(self.0.as_ref().map_or_else(SystemTime::now, |clock| clock.now()))
    }

    /// Whether to ask for the time runs the caller's code.
    pub(crate) fn is_callers(&self) -> bool {
        self.0.is_some()
    }

    /// Asks a clock of the caller's, for what this thread is about to do under a lock.
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

    /// The time for what this thread does under the lock that it took last.
    pub(crate) fn under_lock(&self) -> Self {
        match &self.0 {
            None => Self(None),
            Some(_) => Self::of(Arc::new(Still(UNIX_EPOCH + Duration::from_millis(NOTED.get())))),
        }
    }

    /// That time in milliseconds.
    pub(crate) fn under_lock_ms(&self) -> u64 {
        if self.is_callers() { NOTED.get() } else { self.now_ms() }
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Time(replaced)" } else { "Time(system)" })
    }
}

/// Milliseconds since 1970; 0 for what lies before.
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
    /// So long from now, to the millisecond. A duration of zero is expired at once.
    After(Duration),
    /// At a moment of wall time, to the millisecond, up to the year 2527; a moment in the past is expired at once.
    At(SystemTime),
}

impl Expiry {
    /// As a record stores it: milliseconds since 1970, 0 for never.
    pub(crate) fn to_ms(self, now_ms: impl FnOnce() -> u64) -> u64 {
        let ms = match self {
            Expiry::Never => return 0,
            Expiry::After(wait) => now_ms().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            Expiry::At(time) => milliseconds(time),
        };
        // 0 means never; the first millisecond of 1970 is as long past as the second.
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
