//! Waiting for something that another process holds, with a limit.

use crossbeam::utils::Backoff;
use std::time::{Duration, Instant};

/// The first and the longest sleep between two attempts.
const SLEEPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));
/// The longest sleep where many processes may wait.
const CROWD_SLEEP: Duration = Duration::from_millis(50);
/// Where many processes may wait, a sleep takes at most this part of the time waited so far.
const CROWD_PART: u32 = 8;

/// Calls `attempt` until it says yes or `limit` has passed: at once, then spinning and yielding, then with sleeps
/// that grow from 50 µs to 1 ms. There is no way to be woken by a file lock, and a blocking call could hang for
/// as long as a stopped process holds it. Returns whether it had to wait, or `None` at the limit.
pub(crate) fn wait_for<E>(limit: Duration, attempt: impl FnMut() -> Result<bool, E>) -> Result<Option<bool>, E> {
    wait(limit, |_| SLEEPS.1, attempt)
}

/// As [`wait_for`], for what a thousand processes may want at once, such as the opening lock of a file: the sleeps grow
/// with the time waited, up to 50 ms, so that the attempts of those who wait leave the processors to those who work.
pub(crate) fn wait_in_crowd<E>(limit: Duration, attempt: impl FnMut() -> Result<bool, E>) -> Result<Option<bool>, E> {
    wait(limit, |waited| (waited / CROWD_PART).clamp(SLEEPS.1, CROWD_SLEEP), attempt)
}

/// `longest` gives the longest sleep after a time waited.
fn wait<E>(
    limit: Duration,
    longest: impl Fn(Duration) -> Duration,
    mut attempt: impl FnMut() -> Result<bool, E>,
) -> Result<Option<bool>, E> {
    if attempt()? {
        return Ok(Some(false));
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
            return Ok(Some(true));
        }
    }
}

/// Ends what others can make begin again and again: a file can be replaced whenever it is opened.
pub(crate) struct Attempts {
    left: u32,
    start: Instant,
    limit: Duration,
}

impl Attempts {
    /// So many attempts follow each other at once; they are made even if there is no time at all.
    const AT_ONCE: u32 = 16;

    pub(crate) fn within(limit: Duration) -> Self {
        Self { left: Self::AT_ONCE, start: Instant::now(), limit }
    }

    /// Whether one more attempt may be made, after a pause if there were many.
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
        let never = wait_for::<()>(Duration::from_millis(20), || {
            attempts += 1;
            Ok(false)
        });
        assert_eq!(never, Ok(None));
        assert!(attempts > 2, "{attempts}");
        let mut left = 3;
        let third = wait_for::<()>(Duration::from_secs(5), || {
            left -= 1;
            Ok(left == 0)
        });
        assert_eq!(third, Ok(Some(true)));
        assert_eq!(wait_for::<()>(Duration::ZERO, || Ok(true)), Ok(Some(false)));
    }

    #[test]
    fn a_crowd_tries_less_often_the_longer_it_waits() {
        let mut attempts = 0;
        let never = wait_in_crowd::<()>(Duration::from_millis(500), || {
            attempts += 1;
            Ok(false)
        });
        assert_eq!(never, Ok(None));
        // Every millisecond there would be hundreds.
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
