//! Latencies: a histogram, its filled buckets to send it, and its percentiles to report it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Significant digits that are kept.
const DIGITS: u8 = 3;
/// A longer time counts as this one.
const LONGEST: Duration = Duration::from_secs(60);

/// The quantiles in reports; beyond the last lies one operation in ten thousand.
pub const QUANTILES: [(f64, &str); 6] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99"), (1.0, "max")];

/// A histogram of times, with three significant digits, from 1 ns to 60 s.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        let bounds = (1, LONGEST.as_nanos() as u64);
        match Histogram::new_with_bounds(bounds.0, bounds.1, DIGITS) {
            Ok(histogram) => Self(histogram),
            Err(error) => unreachable!("the bounds are constant and in order: {error}"),
        }
    }

    /// Counts one time in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Number of times counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The nanoseconds within which this share of all times lies; `None` if nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share))
    }

    /// The share of all times of at most this many nanoseconds, in percent.
    #[must_use]
    pub fn percent_within(&self, nanos: u64) -> f64 {
        self.0.percentile_below(nanos)
    }

    /// The [`QUANTILES`]; `None` if nothing was counted.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let at = |share| self.quantile(share);
        Some(Percentiles {
            count: self.count(),
            mean_ns: self.0.mean(),
            p50_ns: at(0.5)?,
            p90_ns: at(0.9)?,
            p99_ns: at(0.99)?,
            p99_9_ns: at(0.999)?,
            p99_99_ns: at(0.9999)?,
            max_ns: self.0.max(),
        })
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Latency) {
        // Both have the same bounds, so no value is out of range.
        let _ = self.0.add(&other.0);
    }

    /// The filled buckets, for sending to another process.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        let filled = self.0.iter_recorded();
        Buckets(filled.map(|at| (at.value_iterated_to(), at.count_at_value())).collect())
    }

    /// Adds filled buckets.
    pub fn add_buckets(&mut self, buckets: &Buckets) {
        for &(nanos, count) in &buckets.0 {
            self.0.saturating_record_n(nanos, count);
        }
    }
}

/// The filled buckets of a histogram: nanoseconds, and how many took that long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Buckets(Vec<(u64, u64)>);

/// The part of a [`Latency`] that reports show, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names explain the fields")]
pub struct Percentiles {
    /// Number of timed operations.
    pub count: u64,
    pub mean_ns: f64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p99_9_ns: u64,
    pub p99_99_ns: u64,
    pub max_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::new();
        times.into_iter().for_each(|nanos| latency.record(nanos));
        latency
    }

    /// Compares to three digits.
    fn assert_close(found: u64, expected: u64) {
        assert!(found.abs_diff(expected) * 500 <= expected, "expected about {expected}, found {found}");
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let all = of(1..=100_000).percentiles().unwrap();
        assert_eq!(all.count, 100_000);
        assert_close(all.p50_ns, 50_000);
        assert_close(all.p90_ns, 90_000);
        assert_close(all.p99_ns, 99_000);
        assert_close(all.p99_9_ns, 99_900);
        assert_close(all.p99_99_ns, 99_990);
        assert_close(all.max_ns, 100_000);
        assert_close(all.mean_ns as u64, 50_000);
    }

    #[test]
    fn one_in_ten_thousand_shows_only_beyond_the_last_percentile_but_one() {
        let mut times = vec![100; 9_998];
        times.extend([1_000_000; 2]);
        let all = of(times).percentiles().unwrap();
        assert_eq!((all.p50_ns, all.p99_9_ns), (100, 100));
        assert_close(all.p99_99_ns, 1_000_000);
    }

    #[test]
    fn without_times_there_are_no_percentiles() {
        assert_eq!(Latency::new().percentiles(), None);
        assert_eq!(Latency::new().quantile(0.5), None);
    }

    #[test]
    fn buckets_lose_nothing_on_the_way() {
        let sent = of([1, 400, 400, 12_345, 9_999_999_999, u64::MAX]);
        let text = serde_json::to_string(&sent.buckets()).unwrap();
        let mut received = Latency::new();
        received.add_buckets(&serde_json::from_str(&text).unwrap());
        assert_eq!(received, sent);
    }

    #[test]
    fn two_together_are_as_one() {
        let mut both = of([1, 2, 3]);
        both.add(&of([40, 50]));
        assert_eq!(both, of([1, 2, 3, 40, 50]));
    }
}
