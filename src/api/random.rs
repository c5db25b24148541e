//! Random numbers from the standard library: the keys of its hash maps differ from map to map, and between processes.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number, another one at each call.
pub(super) fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A random number of at least 0 and less than 1.
pub(super) fn part() -> f64 {
    (number() >> 11) as f64 / (1u64 << 53) as f64
}
