//! Random numbers of the standard library: each state of its hash maps differs from all others, also between processes.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that differs from call to call.
pub(super) fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A number from 0 to 1, without 1.
pub(super) fn part() -> f64 {
    (number() >> 11) as f64 / (1u64 << 53) as f64
}
