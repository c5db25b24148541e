//! What a cache holds, estimated from a sample of its buckets.

use std::collections::BTreeMap;
use std::time::SystemTime;

use kennel::{Cache, Entry};
use serde::Serialize;

/// The bounds of the sizes of values, in bytes; a last group has larger values.
pub const SIZES: [u64; 7] = [64, 128, 256, 512, 1024, 2048, 4096];
/// The bounds of the remaining lives, in seconds; the last two groups have items that live longer, and items that never
/// expire.
pub const LIVES: [u64; 4] = [60, 600, 3600, 86_400];
/// The most keys that are kept.
const MOST_KEYS: usize = 256;

/// Estimates of what a whole cache holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sampled {
    /// The number of items that were seen.
    pub seen: u64,
    /// The namespaces, the one with the most bytes first. Items without a namespace are one of them.
    pub namespaces: Vec<NamespaceShare>,
    /// The number of items for each of [`SIZES`], and of larger ones.
    pub sizes: [u64; SIZES.len() + 1],
    /// The number of items for each of [`LIVES`], of longer lives, and without an expiry.
    pub lives: [u64; LIVES.len() + 2],
    /// Some stored keys.
    #[serde(skip)]
    pub keys: Vec<Vec<u8>>,
}

/// What one namespace holds.
#[derive(Clone, Debug, Serialize)]
pub struct NamespaceShare {
    pub name: Option<String>,
    pub items: u64,
    pub bytes: u64,
    /// The median age in milliseconds of the items whose creation is known.
    pub age_ms: Option<u64>,
    /// The median time in milliseconds until the items that expire do so.
    pub left_ms: Option<u64>,
}

#[derive(Default)]
struct Group {
    items: u64,
    bytes: u64,
    ages: Vec<u64>,
    left: Vec<u64>,
}

impl Sampled {
    /// Looks at some buckets of a cache, whose handle must have no namespace.
    pub fn of(cache: &Cache, buckets: u64) -> Self {
        let (now, mut groups) = (SystemTime::now(), BTreeMap::<Option<String>, Group>::new());
        let mut sampled = Self::default();
        let share = cache.sample(buckets, |entry| {
            sampled.add(entry, now);
            groups.entry(entry.namespace.as_deref().map(Into::into)).or_default().add(entry, now);
        });
        let whole = |count: u64| if share > 0.0 { (count as f64 / share).round() as u64 } else { 0 };
        for count in sampled.sizes.iter_mut().chain(&mut sampled.lives) {
            *count = whole(*count);
        }
        sampled.namespaces = groups
            .into_iter()
            .map(|(name, mut group)| NamespaceShare {
                name,
                items: whole(group.items),
                bytes: whole(group.bytes),
                age_ms: median(&mut group.ages),
                left_ms: median(&mut group.left),
            })
            .collect();
        sampled.namespaces.sort_by_key(|namespace| std::cmp::Reverse(namespace.bytes));
        sampled
    }

    fn add(&mut self, entry: &Entry, now: SystemTime) {
        self.seen += 1;
        self.sizes[SIZES.iter().position(|&bound| entry.value_len < bound).unwrap_or(SIZES.len())] += 1;
        let life = entry.expires.map(|expires| millis(now, expires) / 1000);
        let place = life.map_or(LIVES.len() + 1, |life| LIVES.iter().position(|&l| life < l).unwrap_or(LIVES.len()));
        self.lives[place] += 1;
        if self.keys.len() < MOST_KEYS {
            self.keys.push(entry.key.clone());
        }
    }
}

impl Group {
    fn add(&mut self, entry: &Entry, now: SystemTime) {
        self.items += 1;
        self.bytes += entry.record_len;
        self.ages.extend(entry.created.map(|created| millis(created, now)));
        self.left.extend(entry.expires.map(|expires| millis(now, expires)));
    }
}

/// Milliseconds from one moment to another; 0 if the other is earlier.
fn millis(from: SystemTime, to: SystemTime) -> u64 {
    to.duration_since(from).map_or(0, |time| time.as_millis() as u64)
}

fn median(numbers: &mut [u64]) -> Option<u64> {
    let middle = numbers.len() / 2;
    (!numbers.is_empty()).then(|| *numbers.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kennel::{Expiry, NamespaceOptions, Options, SetOptions};
    use std::time::Duration;

    #[test]
    fn a_sample_of_all_buckets_is_exact() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Options::new().capacity(4 << 20).create(dir.path().join("cache")).expect("a cache");
        let pages = cache.namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(100))).expect("added");
        for i in 0..30 {
            pages.set(format!("page {i}"), vec![1; 300]).expect("stored");
        }
        cache.set("plain", vec![1; 5000]).expect("stored");
        let options = SetOptions::new().expiry(Expiry::After(Duration::from_secs(30)));
        cache.set_with("short", "", &options).expect("stored");
        let sampled = Sampled::of(&cache, u64::MAX);
        assert_eq!((sampled.seen, sampled.keys.len()), (32, 32));
        assert_eq!(sampled.sizes, [1, 0, 0, 30, 0, 0, 0, 1]);
        assert_eq!(sampled.lives, [1, 30, 0, 0, 0, 1]);
        let [first, second] = &sampled.namespaces[..] else { panic!("{:?}", sampled.namespaces) };
        assert_eq!(
            (first.name.as_deref(), first.items, second.name.as_deref(), second.items),
            (Some("pages"), 30, None, 2)
        );
        assert!(first.age_ms.is_some_and(|age| age < 60_000) && second.age_ms.is_none());
        assert!(first.left_ms.is_some_and(|left| (40_000..=100_000).contains(&left)), "{:?}", first.left_ms);
    }
}
