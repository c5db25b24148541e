//! What the fuzz targets share: reading an input, a place for files, and the limits whose breach is a finding.

pub mod limits;
pub mod place;
pub mod turns;

use kennel::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads an input from its beginning. Behind its end there are zeros.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Two bytes, little-endian.
    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

/// A clock that stands still until it is set.
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(ms)))
    }

    pub fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        moment(self.ms())
    }
}

/// So many milliseconds after the start of 1970.
pub fn moment(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// A key by its number: of many lengths, the empty one among them.
pub fn key_of(number: u8) -> Vec<u8> {
    vec![number; usize::from(number).pow(2).div_ceil(12)]
}

/// A value by its length and its first byte.
pub fn value_of(len: usize, first: u8) -> Vec<u8> {
    (0..len).map(|i| first.wrapping_add(i as u8)).collect()
}
