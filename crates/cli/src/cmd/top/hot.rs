//! The keys that are read most, from samples of reads.
//!
//! A tap samples the reads of keys in whose hash the bits of a mask are zero. Here the mask has one bit of eight,
//! another one at each look, so that nearly every key is sampled at some of the looks. A key without any of the eight
//! bits is sampled at every look, and a key with all of them at none.

use std::collections::HashMap;

use kennel::{Cache, Options, Tap};

use crate::cmd::advise::FIRST_BIT;
use crate::cmd::metrics::Target;

/// How many bits take turns, from the first one on.
const BITS: u32 = 8;
/// The part of a sample's weight that is left after a look, and the weight at which it is forgotten: a key is shown for
/// some dozens of looks.
const LEFT: f64 = 0.93;
const FORGOTTEN: f64 = 0.05;
/// The most keys that are remembered.
const MOST: usize = 100_000;

/// An observer of reads.
pub struct HotKeys {
    cache: Cache,
    tap: Tap,
    turn: u32,
    weights: HashMap<u64, f64>,
}

/// A key, and its share of all reads.
#[derive(Clone, Debug, PartialEq)]
pub struct HotKey {
    pub key: Vec<u8>,
    pub share: f64,
}

impl HotKeys {
    pub fn open(target: &Target, options: &Options) -> kennel::Result<Self> {
        let cache = options.open(&target.path)?;
        let mut tap = cache.tap(mask(0))?;
        tap.drain(|_| {});
        Ok(Self { cache, tap, turn: 0, weights: HashMap::new() })
    }

    /// Takes what was sampled since the last look.
    pub fn look(&mut self) -> kennel::Result<()> {
        let Self { tap, weights, turn, .. } = self;
        weights.retain(|_, weight| {
            *weight *= LEFT;
            *weight > FORGOTTEN
        });
        tap.drain(|hash| {
            if weights.len() < MOST || weights.contains_key(&hash) {
                *weights.entry(hash).or_default() += weight(hash);
            }
        });
        *turn += 1;
        tap.select(mask(*turn))
    }

    /// The keys that were read most, the first one most of all. A key that is gone meanwhile is left out.
    pub fn hottest(&self, most: usize) -> Vec<HotKey> {
        let all: f64 = self.weights.values().sum();
        let mut hashes: Vec<_> = self.weights.iter().collect();
        hashes.sort_by(|one, other| other.1.total_cmp(one.1).then(one.0.cmp(other.0)));
        let named = |(&hash, &weight): (&u64, &f64)| {
            Some(HotKey { key: self.cache.tapped_key(hash)?.key, share: weight / all })
        };
        hashes.into_iter().filter_map(named).take(most).collect()
    }
}

fn mask(turn: u32) -> u64 {
    1 << (FIRST_BIT + turn % BITS)
}

/// The weight of a sample: the more looks sample a key, the less each sample counts.
fn weight(hash: u64) -> f64 {
    let lacking = BITS - (hash >> FIRST_BIT & ((1 << BITS) - 1)).count_ones();
    f64::from(BITS) / f64::from(lacking.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_weighs_as_much_as_the_looks_that_could_not_see_it() {
        assert_eq!((weight(0), weight(0xf << FIRST_BIT), weight(0x7f << FIRST_BIT)), (1.0, 2.0, 8.0));
        assert_eq!(weight(u64::MAX), 8.0, "noted while another observer had the tap");
        assert_eq!((mask(0), mask(7), mask(8)), (1 << 12, 1 << 19, 1 << 12));
    }

    #[test]
    fn the_key_that_is_read_most_comes_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cache");
        let cache = Options::new().capacity(4 << 20).samples(true).seed(5).create(&path).expect("a cache");
        (0..50).for_each(|i| cache.set(format!("key {i}"), "value").expect("stored"));
        let mut hot = HotKeys::open(&Target::of(&path), &Options::new()).expect("a tap");
        for look in 0..160 {
            // More reads than the tap has room for would hide the rest.
            (0..4).for_each(|_| assert!(cache.contains("key 7")));
            (0..2).for_each(|_| assert!(cache.contains("key 3")));
            assert!(cache.contains(format!("key {}", look % 50)) && !cache.contains("none"));
            hot.look().expect("looked");
        }
        let hottest = hot.hottest(2);
        let names: Vec<_> = hottest.iter().map(|hot| String::from_utf8_lossy(&hot.key).into_owned()).collect();
        assert_eq!(names, ["key 7", "key 3"], "{hottest:?}");
        assert!((0.35..0.65).contains(&hottest[0].share) && (0.15..0.35).contains(&hottest[1].share), "{hottest:?}");
        drop(hot);
        assert_eq!(cache.watch_tap().expect("a tap").mask(), 0, "nothing is sampled any more");
    }
}
