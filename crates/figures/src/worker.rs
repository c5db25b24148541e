//! The workers: one that reads and writes at an even rate, and one that only tracks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use kennel_far::{Expiry, Far, Options};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use serde::{Deserialize, Serialize};

use crate::process::{say, task};

/// The keys, and how their popularity is spread.
pub const KEYS: u64 = 5000;
const SKEW: f64 = 0.99;
const WRITES: f64 = 0.002;
const VALUE_SIZE: usize = 100;
pub const PREFIX: &str = "app:";
/// A worker pauses at most so many times a second.
const MOST_PAUSES: f64 = 250.0;

/// What a worker does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub url: String,
    pub near: PathBuf,
    pub staleness: Duration,
    /// Calls per second; without it the worker only tracks.
    pub rate: Option<f64>,
    /// The time between two reports.
    pub every: Duration,
    pub seed: u64,
}

/// What happened since the last report.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    pub reads: u64,
    /// Reads that the near tier answered.
    pub near: u64,
    /// Reads that a cache of this process alone would have sent to the server: one of any size that is kept exact.
    pub alone: u64,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.near += other.near;
        self.alone += other.alone;
    }

    pub fn far_per_thousand(&self) -> f64 {
        (self.reads - self.near) as f64 * 1e3 / self.reads as f64
    }

    pub fn alone_per_thousand(&self) -> f64 {
        self.alone as f64 * 1e3 / self.reads as f64
    }

    pub fn hit_ratio(&self) -> f64 {
        self.near as f64 / self.reads as f64
    }
}

pub fn key(number: u64) -> String {
    format!("{PREFIX}user:{number:05}:profile")
}

/// A value of its own for each write.
pub fn value(write: u64) -> String {
    format!("{write:020}{}", ".".repeat(VALUE_SIZE - 20))
}

/// A far tier on a near file of enough room.
pub fn open(url: &str, near: &Path, staleness: Duration, keepers: usize) -> Result<Far> {
    let near_options = kennel::Options::new().capacity(16 << 20);
    let options = Options::new(url).prefix(PREFIX).max_staleness(staleness).keepers(keepers).near(near_options);
    Ok(options.open(near)?)
}

pub fn run() -> Result<()> {
    let task: Task = task()?;
    let far = open(&task.url, &task.near, task.staleness, 2)?;
    let Some(rate) = task.rate else {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    };
    let (rng, keys) = (SmallRng::seed_from_u64(task.seed), Zipf::new(KEYS as f64, SKEW)?);
    Load { far, rng, keys, known: HashMap::new(), count: Count::default(), near_before: 0 }.run(rate, task.every)
}

struct Load {
    far: Far,
    rng: SmallRng,
    keys: Zipf<f64>,
    /// The last value of each key that this process saw, by its write.
    known: HashMap<u64, Option<Vec<u8>>>,
    count: Count,
    near_before: u64,
}

impl Load {
    fn run(&mut self, rate: f64, every: Duration) -> Result<()> {
        let burst = (rate / MOST_PAUSES).ceil().max(1.0);
        let pause = Duration::from_secs_f64(burst / rate);
        let (mut next, mut next_report) = (Instant::now(), Instant::now() + every);
        loop {
            for _ in 0..burst as u32 {
                self.call()?;
            }
            if Instant::now() >= next_report {
                self.report()?;
                next_report += every;
            }
            next += pause;
            match next.checked_duration_since(Instant::now()) {
                Some(left) => thread::sleep(left),
                None => next = Instant::now(),
            }
        }
    }

    fn call(&mut self) -> Result<()> {
        let number = self.keys.sample(&mut self.rng) as u64 - 1;
        if self.rng.random_bool(WRITES) {
            self.far.set(key(number), value(self.rng.random()), Expiry::Never)?;
            return Ok(());
        }
        let value = self.far.get(key(number))?;
        let write = value.map(|value| value[..20].to_vec());
        self.count.reads += 1;
        self.count.alone += u64::from(self.known.get(&number) != Some(&write));
        self.known.insert(number, write);
        Ok(())
    }

    fn report(&mut self) -> Result<()> {
        let stats = self.far.stats();
        let near = stats.hits + stats.absent_hits;
        self.count.near = near - std::mem::replace(&mut self.near_before, near);
        say(&std::mem::take(&mut self.count))
    }
}
