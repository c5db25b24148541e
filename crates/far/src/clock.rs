//! The host's time: a clock that all processes of the host share, and that runs on while the host is suspended.
//!
//! In a time namespace of its own, a process sees a `CLOCK_BOOTTIME` that is ahead of the host's by an offset, which
//! `/proc` shows. Without `/proc`, the offset is taken to be 0. Systems without `CLOCK_BOOTTIME` use `CLOCK_MONOTONIC`,
//! which stops while the host is suspended: a value may then be used longer by the duration of the suspend.

use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long the measured difference between wall time and the host's time is used. It changes only when the wall clock
/// is set.
const WALL_HOLDS_US: u64 = 10_000;
/// A measurement that takes longer was interrupted.
const SWIFT_US: u64 = 20;
const MOST_MEASUREMENTS: usize = 3;

/// How far wall time is ahead of the host's time, and the host time of this measurement, in microseconds.
static WALL_AHEAD: AtomicU64 = AtomicU64::new(0);
static WALL_MEASURED: AtomicU64 = AtomicU64::new(0);

/// The host's time in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    clock: ClockId,
    ahead: i64,
}

impl HostClock {
    pub(crate) fn new() -> Self {
        Self::of(boottime())
    }

    /// Uses the clock that runs on while the host is suspended or, without one, `CLOCK_MONOTONIC`.
    fn of(boottime: Option<ClockId>) -> Self {
        match boottime {
            Some(clock) => Self { clock, ahead: ahead("boottime") },
            None => Self { clock: ClockId::Monotonic, ahead: ahead("monotonic") },
        }
    }

    #[inline]
    pub(crate) fn now(self) -> u64 {
        let time = clock_gettime(self.clock);
        (time.tv_sec * 1_000_000 + time.tv_nsec / 1_000 - self.ahead).max(0) as u64
    }

    /// Wall time in milliseconds since 1970 at the host time `now`, which must be about the present: so a caller reads
    /// one clock for both times. The result may be ahead of the wall clock by the duration of a measurement. It is
    /// never behind, unless the wall clock was set in the last ten milliseconds.
    #[inline]
    pub(crate) fn wall_ms(self, now: u64) -> u64 {
        // `now` is before the measurement if another thread measured, or if a fork changed the time namespace.
        if now.abs_diff(WALL_MEASURED.load(Ordering::Acquire)) > WALL_HOLDS_US {
            self.measure_wall();
        }
        now.wrapping_add(WALL_AHEAD.load(Ordering::Relaxed)) / 1_000
    }

    #[cold]
    #[inline(never)]
    fn measure_wall(self) {
        let measure = || {
            let before = self.now();
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
            let measured = self.now();
            // The wall clock was read some time after `before`, so the difference is too large rather than too small:
            // values end too early rather than too late. The 2 makes up for the truncation of both clocks to
            // microseconds.
            (measured.saturating_sub(before), wall.wrapping_sub(before).wrapping_add(2), measured)
        };
        let mut best = measure();
        for _ in 1..MOST_MEASUREMENTS {
            if best.0 <= SWIFT_US {
                break;
            }
            best = best.min(measure());
        }
        let (_, ahead, measured) = best;
        WALL_AHEAD.store(ahead, Ordering::Relaxed);
        WALL_MEASURED.store(measured, Ordering::Release);
    }
}

/// `CLOCK_BOOTTIME`, if the kernel has it.
#[cfg(target_os = "linux")]
fn boottime() -> Option<ClockId> {
    let time = rustix::time::clock_gettime_dynamic(rustix::time::DynamicClockId::Boottime);
    time.is_ok().then_some(ClockId::Boottime)
}

#[cfg(not(target_os = "linux"))]
fn boottime() -> Option<ClockId> {
    None
}

/// How many microseconds this process's clock is ahead of the host's.
fn ahead(clock: &str) -> i64 {
    let namespace = |name| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    // The file shows the offsets for the process's children, which are its own unless it has called `unshare`.
    if namespace("time") != namespace("time_for_children") {
        return 0;
    }
    let text = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    text.lines().find_map(|line| offset(line, clock)).unwrap_or(0)
}

/// The microseconds in a line such as `boottime  3600  500000000`.
fn offset(line: &str, clock: &str) -> Option<i64> {
    let mut fields = line.split_ascii_whitespace();
    if fields.next() != Some(clock) {
        return None;
    }
    let (seconds, nanoseconds): (i64, i64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(seconds * 1_000_000 + nanoseconds / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_taken_off() {
        assert_eq!(offset("boottime      3600   500000000", "boottime"), Some(3_600_500_000));
        assert_eq!(offset("boottime  -1 0", "boottime"), Some(-1_000_000));
        assert_eq!(offset("monotonic 3600 0", "boottime"), None);
        let clock = ClockId::Monotonic;
        let (here, ahead) = (HostClock { clock, ahead: 0 }, HostClock { clock, ahead: 1_000_000 });
        let (a, b) = (ahead.now(), here.now());
        assert!((900_000..60_000_000).contains(&(b - a)), "{a} {b}");
    }

    #[test]
    fn wall_time_is_told_by_the_host_s_time_and_is_not_late() {
        let clock = HostClock::new();
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let mut early = u64::MAX;
        for _ in 0..200 {
            let (before, told, after) = (wall(), clock.wall_ms(clock.now()), wall());
            assert!(told >= before, "{told} is told, and it was {before} before");
            early = early.min(told.saturating_sub(after));
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        assert!(early <= 1, "early by {early} ms at least");
    }

    #[test]
    fn a_system_without_a_clock_that_counts_suspends_has_a_time_all_the_same() {
        let (with, without) = (HostClock::new(), HostClock::of(None));
        let (a, b) = (with.now(), without.now());
        // A suspend puts `b` behind `a`. Only the duration of the test puts it ahead.
        assert!(b > 0 && b <= a + 10_000_000, "{a} {b}");
        assert!(without.now() >= b);
    }
}
