//! The keys that all subjects use.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

/// A key of 16 bytes. It is text, since memcached accepts nothing else.
pub type Key = [u8; 16];

/// Seed of everything random.
pub const SEED: u64 = 1;

/// The key with a number.
pub fn key(number: u64) -> Key {
    let mut key = *b"item:00000000000";
    let mut rest = number;
    for digit in key[5..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// All keys below a number, in the order in which they are stored.
pub fn in_order(items: u64) -> Vec<Key> {
    (0..items).map(key).collect()
}

/// The same keys in an order that no prefetcher guesses: in the order of storing, their records would lie in a row.
pub fn shuffled(items: u64) -> Vec<Key> {
    let mut keys = in_order(items);
    keys.shuffle(&mut SmallRng::seed_from_u64(SEED));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_text_and_differ() {
        assert_eq!(key(0), *b"item:00000000000");
        assert_eq!(key(12_345), *b"item:00000012345");
        let mut all = shuffled(1000);
        assert_ne!(all, (0..1000).map(key).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..1000).map(key).collect::<Vec<_>>());
    }
}
