//! The clock that measures the age of claims. All processes of the host must read the same time, or a living owner's
//! claim looks older to one of them than it is.

use super::fork::PerProcess;
use crate::platform;

/// How many milliseconds this process's monotonic clock is ahead of the host's. Each process determines its own value,
/// since a child can be forked into another time namespace.
static AHEAD_MS: PerProcess<i64> = PerProcess::new();

/// The host's monotonic clock, in milliseconds.
pub(crate) fn monotonic_ms() -> u64 {
    let ahead_ms = AHEAD_MS.get().unwrap_or_else(|| AHEAD_MS.install(platform::clock_ahead_ms()));
    platform::own_clock_ms().wrapping_add_signed(-ahead_ms)
}
