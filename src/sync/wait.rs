//! Waits, with a limit, for something that another process holds.

use crossbeam::utils::Backoff;
use std::io;
use std::time::{Duration, Instant};

/// The shortest and the longest sleep between two attempts.
const SLEEPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));
/// The longest sleep where many processes may wait.
const CROWD_SLEEP: Duration = Duration::from_millis(50);
/// Where many processes may wait, a sleep lasts at most the time waited so far divided by this.
const CROWD_PART: u32 = 8;

/// How long a lock was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waited {
    /// Microseconds; 0 if there was no wait. A wait of an hour or more counts as one of an hour and some minutes.
    micros: u32,
}

impl Waited {
    pub(crate) const NONE: Self = Self { micros: 0 };

    /// A wait that began at `start`.
    pub(crate) fn since(start: Instant) -> Self {
        Self { micros: u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX).max(1) }
    }

    /// `None` if there was no wait.
    #[inline(always)]
    pub(crate) fn time(self) -> Option<Duration> {
        (self.micros != 0).then(|| Duration::from_micros(self.micros.into()))
    }
}

/// Calls `attempt` until it returns `true` or `limit` has passed: first immediately, then while spinning and yielding,
/// then between sleeps that grow from 50 µs to 1 ms. It polls because a file lock cannot wake a waiter with a limit,
/// and a blocking call would hang for as long as a stopped process holds the lock. Returns how long it waited, or
/// `None` at the limit.
pub(crate) fn wait_for(limit: Duration, attempt: impl FnMut() -> io::Result<bool>) -> io::Result<Option<Waited>> {
    wait(limit, |_| SLEEPS.1, attempt)
}

/// [`wait_for`] for a lock that a thousand processes may want at the same time, such as the opening lock of a file. The
/// sleeps grow with the time waited, up to 50 ms, so that the waiters' attempts leave the processors to the others.
pub(crate) fn wait_in_crowd(limit: Duration, attempt: impl FnMut() -> io::Result<bool>) -> io::Result<Option<Waited>> {
    wait(limit, |waited| (waited / CROWD_PART).clamp(SLEEPS.1, CROWD_SLEEP), attempt)
}

/// Waits as [`wait_for`] describes; `longest` maps the time waited so far to the longest sleep.
fn wait(
    limit: Duration,
    longest: impl Fn(Duration) -> Duration,
    mut attempt: impl FnMut() -> io::Result<bool>,
) -> io::Result<Option<Waited>> {
    if attempt()? {
        return Ok(Some(Waited::NONE));
    }
    let start = Instant::now();
    let backoff = Backoff::new();
    let mut sleep = SLEEPS.0;
    loop {
        let waited = start.elapsed();
        let left = limit.saturating_sub(waited);
        if left.is_zero() {
            return Ok(None);
        }
        if backoff.is_completed() {
            std::thread::sleep(sleep.min(left));
            sleep = (sleep * 2).min(longest(waited));
        } else {
            backoff.snooze();
        }
        if attempt()? {
            return Ok(Some(Waited::since(start)));
        }
    }
}

/// Limits the retries of an operation that other processes can make start over each time: a file may be replaced
/// whenever it is being opened.
pub(crate) struct Attempts {
    left: u32,
    start: Instant,
    limit: Duration,
}

impl Attempts {
    /// Number of attempts without a pause between them. They are made even if the limit is zero.
    const AT_ONCE: u32 = 16;

    pub(crate) fn within(limit: Duration) -> Self {
        Self { left: Self::AT_ONCE, start: Instant::now(), limit }
    }

    /// Whether one more attempt may be made. After many attempts, this pauses first.
    pub(crate) fn again(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return true;
        }
        std::thread::sleep(SLEEPS.1);
        self.start.elapsed() < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_limit_and_not_before_the_last_attempt() {
        let mut attempts = 0;
        let never = wait_for(Duration::from_millis(20), || {
            attempts += 1;
            Ok(false)
        });
        assert_eq!(never.unwrap(), None);
        assert!(attempts > 2, "{attempts}");
        let mut left = 3;
        let third = wait_for(Duration::from_secs(5), || {
            left -= 1;
            Ok(left == 0)
        });
        assert!(third.unwrap().is_some_and(|waited| waited.time().is_some()));
        assert_eq!(wait_for(Duration::ZERO, || Ok(true)).unwrap(), Some(Waited::NONE));
    }

    #[test]
    fn a_crowd_tries_less_often_the_longer_it_waits() {
        let mut attempts = 0;
        let never = wait_in_crowd(Duration::from_millis(500), || {
            attempts += 1;
            Ok(false)
        });
        assert_eq!(never.unwrap(), None);
        // With an attempt every millisecond there would be hundreds.
        assert!((2..120).contains(&attempts), "{attempts}");
    }

    #[test]
    fn attempts_end_and_some_are_made_without_any_time() {
        let mut attempts = Attempts::within(Duration::ZERO);
        assert_eq!((0..1000).take_while(|_| attempts.again()).count(), Attempts::AT_ONCE as usize);
        let mut attempts = Attempts::within(Duration::from_millis(50));
        let begun = Instant::now();
        while attempts.again() {}
        assert!(begun.elapsed() >= Duration::from_millis(50));
    }
}
