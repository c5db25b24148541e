//! The hit ratios of caches of several sizes: the sampled reads are played into small caches in temporary files. A
//! sample of one key in 2^n fills a cache of 1/2^n of the size in the same way as all keys fill the whole cache.

use std::collections::HashMap;

use kennel::{LockStrategy, Options};

/// The smallest cache that is played to: below that, rings hold too few records to resemble a whole cache.
pub const LEAST: u64 = 32 << 10;

/// The reads of some keys, in their order.
#[derive(Debug, Default)]
pub struct Trace {
    /// The hashes of the keys, each once.
    keys: Vec<u64>,
    numbers: HashMap<u64, u32>,
    /// The keys of the reads, by their index in `keys`.
    reads: Vec<u32>,
}

impl Trace {
    pub fn add(&mut self, hash: u64) {
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(hash).or_insert_with(|| {
            self.keys.push(hash);
            next
        });
        self.reads.push(number);
    }

    pub fn keys(&self) -> &[u64] {
        &self.keys
    }

    pub fn reads(&self) -> usize {
        self.reads.len()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The share of reads that hit in a cache of `capacity` bytes; `records` has the size of each key's record. The
    /// first half of the reads fills the cache, and the second half counts.
    pub fn hit_ratio(&self, capacity: u64, records: &[u64]) -> kennel::Result<f64> {
        let mean = records.iter().sum::<u64>() / (records.len() as u64).max(1);
        let directory = tempfile::tempdir().map_err(|source| kennel::Error::Io {
            what: "create a directory in",
            path: std::env::temp_dir(),
            source,
        })?;
        let overhead = kennel::record_size(size_of::<u64>(), 0);
        let cache = Options::new()
            .capacity(capacity.max(LEAST))
            .mean_item(mean.saturating_sub(kennel::record_size(0, 0)).max(16))
            .stripes(1)
            .seats(1)
            .namespaces(1)
            .locks(LockStrategy::None)
            .create(directory.path().join("advise.cache"))?;
        let value = vec![0; usize::try_from(records.iter().copied().max().unwrap_or(0)).unwrap_or(0)];
        let (mut hits, half) = (0_usize, self.reads.len() / 2);
        for (i, &number) in self.reads.iter().enumerate() {
            let number = number as usize;
            let key = self.keys[number].to_le_bytes();
            if cache.contains(key) {
                hits += usize::from(i >= half);
                continue;
            }
            let len = usize::try_from(records[number].saturating_sub(overhead)).unwrap_or(0).min(value.len());
            match cache.set(key, &value[..len]) {
                // An item that does not fit counts as a miss, even if the whole cache might hold it.
                Ok(_) | Err(kennel::Error::TooLarge { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(hits as f64 / (self.reads.len() - half).max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, each below `bound`, small ones far more often: their logarithms are spread evenly.
    fn skewed(seed: u64, bound: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let part = (state >> 11) as f64 / (1_u64 << 53) as f64;
            ((bound as f64).powf(part) as u64).min(bound - 1)
        })
    }

    /// A hash of a number, whose upper bits select the sample.
    fn hash(number: u64) -> u64 {
        let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn a_sample_of_the_keys_in_a_part_of_the_size_hits_as_often_as_all_in_the_whole() {
        const BITS: u32 = 3;
        let (mut all, mut sample) = (Trace::default(), Trace::default());
        for number in skewed(7, 200_000).take(400_000) {
            all.add(hash(number));
            if hash(number) & ((1 << BITS) - 1) << 12 == 0 {
                sample.add(hash(number));
            }
        }
        assert!(sample.keys().len() > 4000 && sample.reads() * 4 < all.reads());
        let ratio =
            |trace: &Trace, capacity| trace.hit_ratio(capacity, &vec![128; trace.keys().len()]).expect("played");
        let mut before = 0.0;
        for capacity in [2 << 20, 4 << 20, 8 << 20] {
            let (whole, part) = (ratio(&all, capacity), ratio(&sample, capacity >> BITS));
            assert!((whole - part).abs() < 0.03, "{whole} of all, {part} of the sample");
            assert!(whole > before + 0.01, "a larger cache hits more");
            before = whole;
        }
    }

    #[test]
    fn nothing_read_and_records_that_do_not_fit_are_no_failure() {
        assert_eq!(Trace::default().hit_ratio(1 << 20, &[]).expect("played"), 0.0);
        let mut trace = Trace::default();
        (0..10).for_each(|_| trace.add(5));
        assert_eq!(trace.hit_ratio(1 << 20, &[64]).expect("played"), 1.0);
        assert_eq!(trace.hit_ratio(1 << 20, &[1 << 20]).expect("played"), 0.0);
    }
}
