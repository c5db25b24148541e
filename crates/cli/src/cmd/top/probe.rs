//! The time that a `get` takes, measured by the screen itself: the engine has no clocks on its read path.

use std::time::Instant;

use kennel::Cache;

/// Percentiles of the times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub median: u64,
    pub p99: u64,
    pub longest: u64,
}

impl Probe {
    /// Times a `get` of each key. `None` without keys.
    pub fn of(cache: &Cache, keys: &[Vec<u8>]) -> Option<Self> {
        let mut value = Vec::new();
        let mut times: Vec<u64> = keys
            .iter()
            .map(|key| {
                let start = Instant::now();
                let _ = std::hint::black_box(cache.get_into(key, &mut value));
                start.elapsed().as_nanos() as u64
            })
            .collect();
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).or(times.last()).copied();
        Some(Self { median: at(50)?, p99: at(99)?, longest: at(100)? })
    }
}
