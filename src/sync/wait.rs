//! Waiting for something that another process holds, with a limit.

use crossbeam::utils::Backoff;
use std::time::{Duration, Instant};

/// The first and the longest sleep between two attempts.
const SLEEPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// Calls `attempt` until it says yes or `limit` has passed: at once, then spinning and yielding, then with sleeps
/// that grow from 50 µs to 1 ms. There is no way to be woken by a file lock, and a blocking call could hang for
/// as long as a stopped process holds it. Returns whether it had to wait, or `None` at the limit.
pub(crate) fn wait_for<E>(limit: Duration, mut attempt: impl FnMut() -> Result<bool, E>) -> Result<Option<bool>, E> {
    if attempt()? {
        return Ok(Some(false));
    }
    let start = Instant::now();
    let backoff = Backoff::new();
    let mut sleep = SLEEPS.0;
    loop {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        if backoff.is_completed() {
            std::thread::sleep(sleep.min(left));
            sleep = (sleep * 2).min(SLEEPS.1);
        } else {
            backoff.snooze();
        }
        if attempt()? {
            return Ok(Some(true));
        }
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
}
