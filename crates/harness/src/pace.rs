//! A rate to keep, and latencies that count from when an operation was due.
//!
//! A loop that starts each operation when the last one has ended does not measure how a stall delays the operations
//! that would have arrived meanwhile: it just does fewer operations ("coordinated omission", a term of Gil Tene's).
//! With a rate, each operation has a time at which it is due, and its latency counts from this time, even if the loop
//! was not ready to start the operation. This method is exact; no value is filled in afterwards.

/// When each operation of one thread is due, in nanoseconds from a common start.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    /// Nanoseconds between two operations.
    gap: f64,
    /// When the first one is due.
    first: f64,
}

/// The next step of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Wait for this many nanoseconds.
    In(u64),
    /// Start; it was due this many nanoseconds ago.
    Since(u64),
}

impl Pacer {
    /// The pace of thread `number` of `threads`, which together make `rate` operations a second at even distances.
    #[must_use]
    pub fn new(rate: f64, number: u32, threads: u32) -> Self {
        let all = 1e9 / rate;
        Self { gap: all * f64::from(threads), first: all * f64::from(number) }
    }

    /// When an operation is due, counted from 0.
    #[must_use]
    pub fn due(&self, operation: u64) -> u64 {
        (self.first + self.gap * operation as f64) as u64
    }

    /// Whether an operation is due at the time `now`.
    #[must_use]
    pub fn at(&self, operation: u64, now: u64) -> Due {
        let due = self.due(operation);
        if due > now { Due::In(due - now) } else { Due::Since(now - due) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;

    #[test]
    fn the_operations_of_all_threads_come_one_after_the_other() {
        let threads = [Pacer::new(1e6, 0, 2), Pacer::new(1e6, 1, 2)];
        let due: Vec<u64> = (0..3).flat_map(|n| threads.map(|pacer| pacer.due(n))).collect();
        assert_eq!(due, [0, 1000, 2000, 3000, 4000, 5000]);
    }

    #[test]
    fn before_its_time_one_waits_and_after_it_one_is_late() {
        let pacer = Pacer::new(1e6, 0, 1);
        assert_eq!(pacer.at(3, 2_900), Due::In(100));
        assert_eq!(pacer.at(3, 3_000), Due::Since(0));
        assert_eq!(pacer.at(3, 3_400), Due::Since(400));
    }

    /// Operations of 100 ns, one each microsecond; one of them takes a millisecond. Returns the latencies counted from
    /// when each was due, and the latencies counted from when each started.
    fn with_one_stall() -> (Latency, Latency) {
        let (mut from_due, mut from_start) = (Latency::new(), Latency::new());
        let pacer = Pacer::new(1e6, 0, 1);
        let mut now = 0;
        for operation in 0..10_000 {
            if let Due::In(wait) = pacer.at(operation, now) {
                now += wait;
            }
            let start = now;
            now += if operation == 5_000 { 1_000_000 } else { 100 };
            from_due.record(now - pacer.due(operation));
            from_start.record(now - start);
        }
        (from_due, from_start)
    }

    #[test]
    fn a_stall_counts_for_all_who_had_to_wait_for_it() {
        let (from_due, from_start) = with_one_stall();
        // A thousand operations became due during the stall, and their queue took a while to drain: eleven in a hundred
        // were late, half of these by more than half a millisecond.
        let late = |latency: &Latency| 100.0 - latency.percent_within(200);
        assert!((10.0..12.5).contains(&late(&from_due)), "{}", late(&from_due));
        assert!(from_due.quantile(0.95).unwrap() > 400_000, "{:?}", from_due.percentiles());
        // Counted from the start of each, the stall is one in ten thousand.
        assert!(late(&from_start) < 0.02, "{}", late(&from_start));
        assert_eq!(from_start.quantile(0.999), Some(100));
    }
}
