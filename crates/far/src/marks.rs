//! The keys that this process leaves out of the near tier for a while.

use std::sync::atomic::{AtomicU64, Ordering};

/// Keys whose values cannot be stored. For a second, they are fetched without a claim.
pub(crate) struct Marks([AtomicU64; MARKS]);

const MARKS: usize = 1024;
const MARKED_FOR_US: u64 = 1_000_000;

impl Default for Marks {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; MARKS])
    }
}

impl Marks {
    fn of(&self, key: &[u8]) -> (&AtomicU64, u64) {
        let hash = xxhash_rust::xxh3::xxh3_64(key);
        (&self.0[hash as usize % MARKS], hash & !0xffff_ffff)
    }

    /// Marks a key. A mark holds the upper half of the key's hash, and the host time in units of 65 ms.
    pub(crate) fn mark(&self, key: &[u8], now: u64) {
        let (mark, hash) = self.of(key);
        mark.store(hash | (now >> 16) & 0xffff_ffff, Ordering::Relaxed);
    }

    pub(crate) fn has(&self, key: &[u8], now: u64) -> bool {
        let (mark, hash) = self.of(key);
        let found = mark.load(Ordering::Relaxed);
        found != 0
            && found & !0xffff_ffff == hash
            && (now >> 16 & 0xffff_ffff).wrapping_sub(found & 0xffff_ffff) <= MARKED_FOR_US >> 16
    }
}

/// How often values of keys were out of date before they were stored. Each word has 32 bits of the key's hash, 16 of
/// the second, and 16 of the count. Keys that share a word overwrite each other's count.
pub(crate) struct Changes([AtomicU64; MARKS]);

impl Default for Changes {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; MARKS])
    }
}

impl Changes {
    /// Counts one such value at a host time, and returns the key's count in this second.
    pub(crate) fn count(&self, key: &[u8], now: u64) -> u32 {
        let hash = xxhash_rust::xxh3::xxh3_64(key);
        let second = (now / 1_000_000) & 0xffff;
        let of_now = hash & !0xffff_ffff | second << 16;
        let word = &self.0[hash as usize % MARKS];
        let next =
            |found: u64| if found & !0xffff == of_now && found & 0xffff < 0xffff { found + 1 } else { of_now | 1 };
        let counted = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |found| Some(next(found)));
        (next(counted.unwrap_or(0)) & 0xffff) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_lasts_a_second_and_is_of_one_key() {
        let marks = Marks::default();
        marks.mark(b"key", 5_000_000);
        assert!(marks.has(b"key", 5_000_000) && marks.has(b"key", 5_900_000));
        assert!(!marks.has(b"key", 6_200_000) && !marks.has(b"another", 5_000_000) && !marks.has(b"key", 4_000_000));
    }

    #[test]
    fn changes_are_counted_within_a_second() {
        let changes = Changes::default();
        let counts: Vec<u32> = (0..3).map(|_| changes.count(b"key", 5_400_000)).collect();
        assert_eq!((counts, changes.count(b"another", 5_400_000)), (vec![1, 2, 3], 1));
        assert_eq!((changes.count(b"key", 5_999_999), changes.count(b"key", 6_000_000)), (4, 1));
    }
}
