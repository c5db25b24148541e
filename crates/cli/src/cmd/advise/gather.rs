//! Collects a sample of the reads of a cache while programs use it.

use std::thread;
use std::time::{Duration, Instant};

use kennel::{Cache, Counters};
use kennel_harness::interrupt;

use super::curve::{LEAST, Trace};

/// How many sampled keys a curve needs to be right to about a percentage point.
pub const ENOUGH: usize = 10_000;
/// The pause between two looks at the taps.
const PAUSE: Duration = Duration::from_micros(200);
/// If more than the share `MOST_LOST` of the reads is lost after the time `TRIAL`, half as many keys are sampled.
const TRIAL: Duration = Duration::from_secs(1);
const MOST_LOST: f64 = 0.02;
/// The most reads that are kept.
const MOST_READS: usize = 20_000_000;
/// The bits of a hash that select the sample lie from this one on: those below select the stripe.
pub const FIRST_BIT: u32 = 12;
const MOST_BITS: u32 = 24;
/// The smallest size in the answer is the file's divided by this.
const SMALLEST_PART: u64 = 2;

/// What was read while the command watched.
pub struct Gathered {
    pub trace: Trace,
    /// One key in 2^bits was sampled.
    pub bits: u32,
    pub lost: u64,
    pub time: Duration,
    before: Counters,
    after: Counters,
}

impl Gathered {
    /// The share of reads that hit, and the share of reads whose keys the cache had evicted a short time before.
    pub fn measured(&self) -> Option<(f64, f64)> {
        let since = |counter: fn(&Counters) -> u64| counter(&self.after).saturating_sub(counter(&self.before)) as f64;
        let (hits, misses) = (since(|c| c.hits), since(|c| c.misses));
        let all = hits + misses;
        (all > 0.0).then(|| (hits / all, since(|c| c.ghost_hits) / all))
    }
}

/// Watches the counters only, without a sample.
pub fn counted(cache: &Cache, time: Duration) -> Gathered {
    let (before, start) = (cache.stats().counters, Instant::now());
    while start.elapsed() < time && !interrupt::is_asked() {
        thread::sleep(interrupt::LOOK_EVERY.min(time));
    }
    let after = cache.stats().counters;
    Gathered { trace: Trace::default(), bits: 0, lost: 0, time: start.elapsed(), before, after }
}

/// Samples reads for some time, or until the process is asked to end.
pub fn sampled(cache: &Cache, time: Duration) -> kennel::Result<Gathered> {
    let stats = cache.stats();
    let most_bits = most_bits(stats.capacity);
    let mut bits = bits_for(stats.items).min(most_bits);
    let mut tap = cache.tap(mask(bits))?;
    let (mut trace, mut lost, mut start) = (Trace::default(), 0, Instant::now());
    let mut before = cache.stats().counters;
    // The taps hold hashes that other observers selected, which do not belong to this sample.
    tap.drain(|_| {});
    while start.elapsed() < time && !interrupt::is_asked() && trace.reads() < MOST_READS {
        thread::sleep(PAUSE);
        lost += tap.drain(|hash| {
            if hash & mask(bits) == 0 {
                trace.add(hash);
            }
        });
        let is_lossy = lost as f64 > (trace.reads() as f64 + lost as f64) * MOST_LOST;
        if is_lossy && start.elapsed() > TRIAL && bits < most_bits {
            bits += 1;
            tap.select(mask(bits))?;
            tap.drain(|_| {});
            trace.clear();
            (lost, start, before) = (0, Instant::now(), cache.stats().counters);
        }
    }
    let after = cache.stats().counters;
    Ok(Gathered { trace, bits, lost, time: start.elapsed(), before, after })
}

/// The bits that select just enough keys, and never all keys: a mask has at least one bit.
fn bits_for(items: u64) -> u32 {
    (items / ENOUGH as u64).max(2).ilog2().clamp(1, MOST_BITS)
}

/// The most bits with which the small cache for the smallest size is still large enough.
fn most_bits(capacity: u64) -> u32 {
    (capacity / SMALLEST_PART / LEAST).max(2).ilog2().clamp(1, MOST_BITS)
}

fn mask(bits: u32) -> u64 {
    ((1 << bits) - 1) << FIRST_BIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cache_that_is_played_to_is_too_small() {
        for (capacity, bits) in [(0, 1), (1 << 20, 4), (64 << 20, 10), (u64::MAX, MOST_BITS)] {
            assert_eq!(most_bits(capacity), bits);
            assert!(bits == 1 || (capacity / SMALLEST_PART) >> bits >= LEAST, "{capacity}");
        }
    }

    #[test]
    fn enough_keys_are_sampled_and_never_all() {
        let cases = [(0, 1), (10_000, 1), (40_000, 2), (79_999, 2), (1_920_000, 7), (u64::MAX, MOST_BITS)];
        for (items, bits) in cases {
            assert_eq!(bits_for(items), bits, "{items}");
            assert_eq!((mask(bits).count_ones(), mask(bits).trailing_zeros()), (bits, FIRST_BIT));
        }
    }
}
