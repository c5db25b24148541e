//! The report of a worker to its parent, one line of JSON.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The number of significant digits of latencies.
const DIGITS: u8 = 3;

/// The counts since the previous sample of the same worker.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub reads: u64,
    pub hits: u64,
    pub writes: u64,
    /// Hits with a value that was not written for that key.
    pub wrong: u64,
    /// An example of a wrong value.
    pub wrong_example: Option<String>,
    pub read_latency: Latencies,
    pub write_latency: Latencies,
}

/// The non-empty buckets of a histogram: a latency in nanoseconds and its count.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies(Vec<(u64, u64)>);

impl Latencies {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let filled = histogram.iter_recorded();
        Self(filled.map(|at| (at.value_iterated_to(), at.count_at_value())).collect())
    }

    pub fn add_to(&self, histogram: &mut Histogram<u64>) {
        for &(nanos, count) in &self.0 {
            histogram.saturating_record_n(nanos, count);
        }
    }
}

/// An empty histogram for latencies in nanoseconds, up to ten seconds.
pub fn histogram() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    Histogram::new_with_bounds(1, 10_000_000_000, DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_survive_the_line() {
        let mut sent = histogram().unwrap();
        for nanos in [1, 400, 400, 12_345, 9_999_999_999, 60_000_000_000] {
            sent.saturating_record(nanos);
        }
        let sample = Sample { reads: 6, read_latency: Latencies::of(&sent), ..Sample::default() };
        let line = serde_json::to_string(&sample).unwrap();
        let back: Sample = serde_json::from_str(&line).unwrap();
        assert_eq!(back, sample);
        let mut received = histogram().unwrap();
        back.read_latency.add_to(&mut received);
        assert_eq!(received, sent);
    }
}
