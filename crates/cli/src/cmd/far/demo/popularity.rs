//! The keys of the demo and how often each is read.

use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

use crate::cmd::outcome::AnyError;

/// The number of different keys.
pub const KEYS: u64 = 5000;
/// The skew of their popularity, with a value that is usual for caches.
const SKEW: f64 = 0.99;

/// Draws keys, popular ones more often.
pub struct Popularity(Zipf<f64>);

impl Popularity {
    pub fn new() -> Result<Self, AnyError> {
        Ok(Self(Zipf::new(KEYS as f64, SKEW)?))
    }

    pub fn draw(&self, rng: &mut SmallRng) -> u64 {
        // The distribution gives whole numbers from 1 to KEYS.
        self.0.sample(rng) as u64 - 1
    }
}

/// The name of a key: a realistic one.
pub fn name(prefix: &str, key: u64) -> String {
    format!("{prefix}user:{key:05}:profile")
}

/// A value that names its write, and has the size of a small record.
pub fn value(write: u64) -> String {
    format!("{write:020} {:.<180}", "a profile")
}

/// The write that a value names.
pub fn write_of(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value.get(..20)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_write() {
        assert_eq!(write_of(value(123).as_bytes()), Some(123));
        assert_eq!(write_of(value(u64::MAX).as_bytes()), Some(u64::MAX));
        assert_eq!(write_of(b"short"), None);
    }
}
