//! The clock by which claims grow old. All processes of the host must read it alike, or a claim whose owner lives looks
//! older to one of them than it is.

use super::fork::PerProcess;
use crate::platform;

/// By how many milliseconds this process's monotonic clock is ahead of the host's. A child can be forked into another
/// time namespace, so each process asks for itself.
static AHEAD_MS: PerProcess<i64> = PerProcess::new();

/// Milliseconds of the host's monotonic clock.
pub(crate) fn monotonic_ms() -> u64 {
    let ahead_ms = AHEAD_MS.get().unwrap_or_else(|| AHEAD_MS.install(platform::clock_ahead_ms()));
    platform::own_clock_ms().wrapping_add_signed(-ahead_ms)
}
