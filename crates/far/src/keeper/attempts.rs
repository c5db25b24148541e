//! The pauses of a keeper between its attempts.

use super::shared::{Shared, jittered};
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After this many failures in a row a keeper gives its seat back.
const MOST_FAILURES: u32 = 10;

/// Attempts to track, and the pauses between them.
pub(super) struct Attempts {
    failures: u32,
    pause: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { failures: 0, pause: FIRST_PAUSE }
    }
}

impl Attempts {
    /// Waits before the next attempt; `false` after many failures in a row.
    pub(super) fn again(&mut self, shared: &Shared, has_proved: bool) -> bool {
        if has_proved {
            *self = Self::default();
        }
        self.failures += 1;
        shared.pause(jittered(self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.failures < MOST_FAILURES
    }
}
