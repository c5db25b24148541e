//! A worker of the demo: it reads and writes at an even rate, and logs what it saw.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use kennel_far::history::{Event, Kind, Log, now};
use kennel_far::{Expiry, Far};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use super::popularity::{KEYS, Popularity, name, value, write_of};
use crate::cmd::far::server::TlsArgs;
use crate::cmd::far::workers::task;
use crate::cmd::outcome::{AnyError, CliResult};

/// Calls between two pauses, and the time from one pause to the next: 2 500 calls a second.
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_millis(4);
/// The share of calls that write.
const WRITES: f64 = 0.002;
/// For this long, the server may still execute a write that has failed.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What a worker does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub url: String,
    pub tls: TlsArgs,
    pub prefix: String,
    pub staleness: Duration,
    pub near: PathBuf,
    pub log: PathBuf,
    pub host: u64,
    /// The number of this worker among the workers of all hosts, and how many they are: it writes the keys of which
    /// `worker` is the remainder.
    pub worker: u64,
    pub workers: u64,
    pub seed: u64,
}

pub fn run_worker() -> CliResult {
    let task: Task = task()?;
    let options = task.tls.options(&task.url).prefix(task.prefix.as_str()).max_staleness(task.staleness);
    let far = options.near(kennel::Options::new().capacity(8 << 20)).open(&task.near)?;
    let (log, rng) = (Log::open(&task.log)?, SmallRng::seed_from_u64(task.seed));
    let mut worker = Worker { task, far, log, rng, popularity: Popularity::new()? };
    let mut next = Instant::now();
    loop {
        for _ in 0..BURST {
            worker.call()?;
        }
        next += EVERY;
        match next.checked_duration_since(Instant::now()) {
            Some(pause) => thread::sleep(pause),
            // Calls that a busy machine missed are not made up for.
            None => next = Instant::now(),
        }
        if worker.log_is_gone() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

struct Worker {
    task: Task,
    far: Far,
    log: Log,
    rng: SmallRng,
    popularity: Popularity,
}

impl Worker {
    fn call(&mut self) -> Result<(), AnyError> {
        let key = self.popularity.draw(&mut self.rng);
        if self.rng.random_bool(WRITES) { self.write(key) } else { self.read(key) }
    }

    fn read(&mut self, key: u64) -> Result<(), AnyError> {
        let name = name(&self.task.prefix, key);
        let began = now();
        let Ok(found) = self.far.get(&name) else { return Ok(()) };
        let write = |value: Vec<u8>| write_of(&value).ok_or(format!("{name} has a value that is not of the demo"));
        let value = found.map_or(Ok(0), write)?;
        let event = Event { kind: Kind::Read, host: self.task.host, key, value, began, ended: now(), ttl: 0 };
        Ok(self.log.add(event)?)
    }

    /// Writes the nearest key that is this worker's.
    fn write(&mut self, key: u64) -> Result<(), AnyError> {
        let key = (key - key % self.task.workers + self.task.worker) % KEYS;
        if key % self.task.workers != self.task.worker {
            return Ok(());
        }
        let began = now();
        let event = Event { kind: Kind::Begin, host: self.task.host, key, value: began, began, ended: 0, ttl: 0 };
        self.log.add(event)?;
        match self.far.set(name(&self.task.prefix, key), value(began), Expiry::Never) {
            Ok(()) => self.log.add(Event { kind: Kind::Acknowledged, ended: now(), ..event })?,
            Err(_) => thread::sleep(AFTER_FAILURE),
        }
        Ok(())
    }

    /// Whether the demo has ended and removed its files, and could not end this process.
    fn log_is_gone(&self) -> bool {
        !self.task.log.exists()
    }
}
