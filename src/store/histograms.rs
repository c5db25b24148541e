//! Histograms of how long slow operations took. A fast operation does not read the clock.

use super::table::Store;
use crate::shm::layout::{HISTOGRAM_COUNTS, HISTOGRAM_LEN, HISTOGRAMS, at};
use crate::shm::{Geometry, Memory, Step};
use std::time::Duration;

/// What is timed. The order is that of the histograms in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    Creation,
    ClaimWait,
    LockWait,
}

impl Timed {
    const ALL: [Self; HISTOGRAMS as usize] = [Self::Creation, Self::ClaimWait, Self::LockWait];
}

/// How long slow operations took, over all processes since the file was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Times {
    /// Creations of values, from the claim of the key to the end of the store. Failed creations are included.
    pub creation: Histogram,
    /// Waits for another caller's creation or lock of a key.
    pub claim_wait: Histogram,
    /// Waits of writes for a lock. Waits that gave up are included.
    pub lock_wait: Histogram,
}

impl Times {
    /// Each histogram with the name of its field.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        [("creation", &self.creation), ("claim_wait", &self.claim_wait), ("lock_wait", &self.lock_wait)].into_iter()
    }
}

/// How long the operations of one kind took: their number in each of 16 groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Histogram {
    /// The number of operations in each group. A group ends at its [bound](Self::bound), and the next one begins there;
    /// the last group has no end.
    pub counts: [u64; HISTOGRAM_COUNTS],
    /// The time of all operations together.
    #[cfg_attr(feature = "serde", serde(rename = "sum_seconds", serialize_with = "as_seconds"))]
    pub sum: Duration,
}

#[cfg(feature = "serde")]
fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Histogram {
    /// The longest time of a group: 4 µs for the first, and for each further one four times as much. `None` for the
    /// last group.
    #[must_use]
    pub fn bound(group: usize) -> Option<Duration> {
        (group + 1 < HISTOGRAM_COUNTS).then(|| Duration::from_micros(4 << (2 * group)))
    }

    /// The number of operations.
    #[must_use]
    pub fn count(&self) -> u64 {
        // A damaged file can contain any numbers, so the sum wraps.
        self.counts.iter().fold(0, |sum, &count| sum.wrapping_add(count))
    }

    /// The mean time; `None` without an operation.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let nanos = u64::try_from(self.sum.as_nanos()).unwrap_or(u64::MAX);
        nanos.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// A time that this part of the operations, from 0 to 1, did not exceed: the bound of a group, so it may be up to
    /// four times too long. `None` without an operation, and if the time is longer than all bounds.
    #[must_use]
    pub fn within(&self, part: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * part).ceil().max(1.0);
        let mut seen = 0.0;
        let group = self.counts.iter().position(|&count| {
            seen += count as f64;
            seen >= wanted
        })?;
        Self::bound(group)
    }

    fn group(time: Duration) -> usize {
        let micros = u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
        (bits.div_ceil(2).max(1) as usize - 1).min(HISTOGRAM_COUNTS - 1)
    }
}

impl Geometry {
    /// Offset of a histogram, if the file has it.
    pub(super) fn histogram(&self, number: u32) -> Option<u64> {
        (number < self.shape.histograms).then(|| self.histograms_at + u64::from(number) * HISTOGRAM_LEN)
    }
}

impl<M: Memory> Store<M> {
    /// Counts how long an operation took. Threads of all processes add to these words.
    pub(crate) fn time(&self, what: Timed, took: Duration) {
        let Some(histogram_at) = self.geometry.histogram(what as u32) else { return };
        let add = |at, by| self.mem.word(histogram_at + at).fetch_add(Step::Counter, by);
        add(at!(Histogram.counts) + Histogram::group(took) as u64 * 8, 1);
        add(at!(Histogram.sum), u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// All histograms; empty ones if the file has none.
    pub(crate) fn times(&self) -> Times {
        let [creation, claim_wait, lock_wait] = Timed::ALL.map(|what| self.histogram(what));
        Times { creation, claim_wait, lock_wait }
    }

    fn histogram(&self, what: Timed) -> Histogram {
        let Some(histogram_at) = self.geometry.histogram(what as u32) else { return Histogram::default() };
        let word = |at| self.mem.word(histogram_at + at).get();
        Histogram {
            counts: std::array::from_fn(|group| word(at!(Histogram.counts) + group as u64 * 8)),
            sum: Duration::from_nanos(word(at!(Histogram.sum))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_group_whose_bound_it_does_not_exceed() {
        let group = |time| Histogram::group(time);
        assert_eq!((group(Duration::ZERO), group(Duration::from_micros(4))), (0, 0));
        for i in 0..HISTOGRAM_COUNTS - 1 {
            let bound = Histogram::bound(i).unwrap();
            assert_eq!((group(bound), group(bound + Duration::from_nanos(1))), (i, i + 1), "{bound:?}");
        }
        assert_eq!((group(Duration::MAX), Histogram::bound(HISTOGRAM_COUNTS - 1)), (HISTOGRAM_COUNTS - 1, None));
    }

    #[test]
    fn parts_are_bounds_of_groups() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.within(0.5), histogram.mean(), histogram.count()), (None, None, 0));
        (histogram.counts[0], histogram.counts[3], histogram.counts[15]) = (90, 9, 1);
        histogram.sum = Duration::from_micros(100);
        assert_eq!((histogram.count(), histogram.mean()), (100, Some(Duration::from_micros(1))));
        let within = |part| histogram.within(part).map(|time| time.as_micros());
        assert_eq!((within(0.0), within(0.9), within(0.99), within(1.0)), (Some(4), Some(4), Some(256), None));
    }

    #[test]
    fn damaged_counts_do_not_overflow() {
        let damaged = Histogram { counts: [u64::MAX; HISTOGRAM_COUNTS], sum: Duration::MAX };
        assert_eq!(damaged.count(), 0u64.wrapping_sub(HISTOGRAM_COUNTS as u64));
        assert!(damaged.mean().is_some() && damaged.within(0.5).is_some());
    }
}
