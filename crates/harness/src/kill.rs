//! The kill test: it kills processes that share a cache in the middle of their work, and the others must not notice.
//!
//! The suite [`kennel_conformance`] checks only locks, for example that another process gets the lock of a killed one.
//! This test checks the effect on a real cache: every value is whole and belongs to its key, every write of the
//! survivor gets its lock within [`KillTest::wait`], and `verify` finds nothing. Workers are killed with `SIGKILL` at
//! random moments. With the feature `crash-points`, further workers end themselves at each of the engine's stores, so
//! that every store is covered.

use crate::crew::{CrewError, Worker};
use crate::interrupt;
use crate::place;
use crate::strategies::Strategies;
use crate::task::{KillJob, Launcher, Task};
use crate::work::{WorkError, open, wait_for_start};
use kennel::{Cache, LargePages, Options};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Processes that work at the same time.
const PROCESSES: u32 = 4;
/// Milliseconds between two kills.
const BETWEEN_KILLS: std::ops::Range<u64> = 2..20;
/// The number of keys, about twice as many as the file holds.
const KEYS: u64 = 2_000;
/// Longest value.
const LONGEST: usize = 1_024;
/// The number of operations after which a worker gives up, if it has not reached the store at which it is to end.
const ARMED_OPERATIONS: u64 = 2_000;

/// The report of a test that found nothing wrong.
#[derive(Clone, Debug, Serialize)]
pub struct KillReport {
    /// Name of the strategy.
    pub strategy: String,
    /// Workers that were killed from outside.
    pub killed: u64,
    /// Workers that ended themselves at a store; 0 unless built with `crash-points`.
    pub died_at_stores: u64,
    /// Half-done changes of dead workers that another process completed or undid.
    pub repairs: u64,
    /// The longest write of the survivor.
    pub longest_write: Duration,
}

impl fmt::Display for KillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { strategy, killed, died_at_stores, repairs, longest_write } = self;
        write!(f, "lock strategy {strategy}: {killed} workers killed, {died_at_stores} more died at a store of the ")?;
        write!(f, "engine; {repairs} half-done changes were repaired, no value was wrong, verify found nothing, ")?;
        write!(f, "and the longest write took {longest_write:.1?}")
    }
}

/// A fault of the strategy or of the engine.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// There is no such strategy.
    #[error("{0}")]
    Strategy(String),
    /// The survivor's operation failed: most likely with `Busy`, since a dead worker's lock was not released.
    #[error("after {kills} kills: {error}")]
    Cache {
        /// Kills before it.
        kills: u64,
        /// The error of the cache.
        error: kennel::Error,
    },
    /// The survivor read a value that no worker set.
    #[error("after {kills} kills: the value of key {key} is torn or belongs to another key")]
    WrongValue {
        /// Kills before it.
        kills: u64,
        /// Number of the key.
        key: u64,
    },
    /// `verify` found a problem.
    #[error("after {kills} kills: verify found {problem}")]
    Damaged {
        /// Kills before it.
        kills: u64,
        /// The first problem.
        problem: String,
    },
    /// A worker that was not killed ended.
    #[error("after {kills} kills: {error}")]
    Crew {
        /// Kills before it.
        kills: u64,
        /// The error of the worker.
        error: CrewError,
    },
    /// A file could not be created.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The parameters of the test.
#[derive(Clone, Copy, Debug)]
pub struct KillTest {
    /// Number of workers to kill.
    pub kills: u64,
    /// Seed of everything random, except for the moments of the kills.
    pub seed: u64,
    /// How long a write of the survivor may wait for its lock. The engine promises 10 ms with file locks; a busy
    /// machine may need longer, and a lock that is never released takes this whole time.
    pub wait: Duration,
}

impl Default for KillTest {
    fn default() -> Self {
        Self { kills: 100, seed: 1, wait: Duration::from_secs(10) }
    }
}

impl KillTest {
    /// Runs the test for a strategy.
    ///
    /// # Errors
    /// [`KillError`]: the first fault that the survivor found.
    pub fn run(
        &self,
        strategies: &Strategies,
        strategy: &str,
        launcher: Launcher<'_>,
    ) -> Result<KillReport, KillError> {
        // The files in memory would outlive a killed process, so a signal must end it in good order.
        interrupt::watch()?;
        let directory = place::directory(None)?;
        let mut survivor = Survivor::new(self, strategies, strategy, directory.path())?;
        survivor.kill_at_random(launcher, self.kills)?;
        let died_at_stores = survivor.kill_at_stores(launcher)?;
        Ok(KillReport {
            strategy: strategy.to_owned(),
            killed: survivor.kills - died_at_stores,
            died_at_stores,
            repairs: survivor.cache.stats().counters.repairs,
            longest_write: survivor.longest_write,
        })
    }
}

/// The process that kills the workers, and uses the cache itself.
struct Survivor {
    cache: Cache,
    job: KillJob,
    rng: SmallRng,
    kills: u64,
    longest_write: Duration,
}

impl Survivor {
    fn new(test: &KillTest, strategies: &Strategies, strategy: &str, directory: &Path) -> Result<Self, KillError> {
        let seed = test.seed;
        let file = directory.join("cache");
        let locks = strategies.named(strategy).map_err(KillError::Strategy)?;
        let options = Options::new().capacity(KEYS * LONGEST as u64 / 4).stripes(4).mean_item(LONGEST as u64 / 2);
        // There are fewer seats than workers in the whole test, so the seats of dead workers must be reused.
        let options = options.seats(4 * PROCESSES).seed(seed).locks(locks).lock_wait(test.wait);
        let cache = options.create(&file).map_err(|error| KillError::Cache { kills: 0, error })?;
        let job = KillJob { strategy: strategy.to_owned(), file, seed, at: None };
        Ok(Self { cache, job, rng: SmallRng::seed_from_u64(seed), kills: 0, longest_write: Duration::ZERO })
    }

    fn kill_at_random(&mut self, launcher: Launcher<'_>, kills: u64) -> Result<(), KillError> {
        let mut crew = (0..PROCESSES).map(|_| self.start(launcher, None)).collect::<Result<Vec<_>, _>>()?;
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(self.rng.random_range(BETWEEN_KILLS)));
            let mut victim = crew.swap_remove(self.rng.random_range(0..crew.len()));
            victim.kill().map_err(|error| self.crew_error(error))?;
            self.kills += 1;
            self.look()?;
            if interrupt::is_asked() {
                return Err(self.crew_error(CrewError::Interrupted));
            }
            crew.push(self.start(launcher, None)?);
        }
        for mut worker in crew {
            worker.kill().map_err(|error| self.crew_error(error))?;
            self.kills += 1;
        }
        self.look()?;
        self.verify()
    }

    /// Starts a worker for each store of the engine, which ends itself at this store. Returns how many workers did.
    #[cfg(feature = "crash-points")]
    fn kill_at_stores(&mut self, launcher: Launcher<'_>) -> Result<u64, KillError> {
        let before = self.kills;
        for step in kennel::crash::Step::ALL {
            for passing in [0, 3, 50] {
                let mut worker = self.start(launcher, Some((step.name().to_owned(), passing)))?;
                let status = worker.wait().map_err(|error| self.crew_error(error))?;
                match status.code() {
                    // The worker did not reach this store.
                    Some(0) => break,
                    Some(1..=255) => {
                        return Err(self.crew_error(CrewError::Ended { number: self.kills as usize, status }));
                    }
                    // The worker was killed: it has no exit code on Unix, and a larger one on Windows.
                    _ => self.kills += 1,
                }
                self.look()?;
                self.verify()?;
            }
        }
        Ok(self.kills - before)
    }

    #[cfg(not(feature = "crash-points"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    fn kill_at_stores(&mut self, _: Launcher<'_>) -> Result<u64, KillError> {
        Ok(0)
    }

    fn start(&mut self, launcher: Launcher<'_>, at: Option<(String, u64)>) -> Result<Worker, KillError> {
        let job = KillJob { seed: self.rng.random(), at, ..self.job.clone() };
        let start = || {
            let mut worker = Worker::start(self.kills as usize, launcher(&Task::Kill(job.clone()).text()))?;
            worker.wait_until_ready()?;
            worker.begin()?;
            Ok(worker)
        };
        start().map_err(|error| KillError::Crew { kills: self.kills, error })
    }

    /// Reads and writes keys of all stripes, like the workers.
    fn look(&mut self) -> Result<(), KillError> {
        let kills = self.kills;
        let mut value = Vec::new();
        for _ in 0..64 {
            let key = self.rng.random_range(0..KEYS);
            if self.cache.get(key.to_le_bytes()).is_some_and(|value| !is_proven(key, &value)) {
                return Err(KillError::WrongValue { kills, key });
            }
            prove(key, self.rng.random(), &mut value);
            let start = Instant::now();
            self.cache.set(key.to_le_bytes(), &value).map_err(|error| KillError::Cache { kills, error })?;
            self.longest_write = self.longest_write.max(start.elapsed());
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), KillError> {
        let verification = self.cache.verify();
        let problem = verification.problems.first().map(ToString::to_string);
        let unchecked = || (!verification.unchecked.is_empty()).then(|| "a stripe that cannot be locked".to_owned());
        let problem = problem.or_else(unchecked);
        problem.map_or(Ok(()), |problem| Err(KillError::Damaged { kills: self.kills, problem }))
    }

    fn crew_error(&self, error: CrewError) -> KillError {
        KillError::Crew { kills: self.kills, error }
    }
}

/// The work of a worker: every kind of change to a cache, until it is killed or reaches the store at which it ends.
pub(crate) fn work(job: &KillJob, strategies: &Strategies) -> Result<(), WorkError> {
    let cache = open(&job.strategy, LargePages::Auto, &job.file, strategies)?;
    wait_for_start()?;
    let mut rng = SmallRng::seed_from_u64(job.seed);
    let mut value = Vec::new();
    match &job.at {
        None => loop {
            operate(&cache, &mut rng, &mut value)?;
        },
        Some((step, passing)) => {
            arm(step, *passing);
            (0..ARMED_OPERATIONS).try_for_each(|_| operate(&cache, &mut rng, &mut value))
        }
    }
}

#[cfg(feature = "crash-points")]
fn arm(step: &str, passing: u64) {
    use kennel::crash::{Plan, Step, arm};
    let step = Step::ALL.iter().copied().find(|known| known.name() == step);
    arm(step, passing, Plan::Kill);
}

/// Without the feature, no task asks for this.
#[cfg(not(feature = "crash-points"))]
fn arm(_: &str, _: u64) {}

fn operate(cache: &Cache, rng: &mut SmallRng, value: &mut Vec<u8>) -> Result<(), WorkError> {
    let number = rng.random_range(0..KEYS);
    let key = number.to_le_bytes();
    match rng.random_range(0..10) {
        0..4 => {
            if let Some(found) = cache.get(key)
                && !is_proven(number, &found)
            {
                return Err(WorkError::WrongValue { key: number, expected: length(&found), found: found.len() });
            }
        }
        4..9 => {
            prove(number, rng.random(), value);
            cache.set(key, value)?;
        }
        _ => {
            cache.delete(key)?;
        }
    }
    Ok(())
}

/// Makes a value that identifies its key and shows whether it is whole: key and nonce, repeated; the length follows
/// from the nonce.
fn prove(key: u64, nonce: u64, value: &mut Vec<u8>) {
    value.clear();
    for _ in 0..words(nonce) {
        value.extend(key.to_le_bytes());
        value.extend(nonce.to_le_bytes());
    }
}

/// The number of words of a value: at least two, because a single word could belong to another nonce.
fn words(nonce: u64) -> usize {
    2 + (nonce % (LONGEST as u64 / 16 - 1)) as usize
}

fn is_proven(key: u64, value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<16>();
    let Some(first) = words.first().filter(|_| rest.is_empty()) else { return false };
    first.starts_with(&key.to_le_bytes()) && words.iter().all(|word| word == first) && value.len() == length(value)
}

/// The length that a value should have according to its nonce; 0 if it has none.
fn length(value: &[u8]) -> usize {
    let nonce = value.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    nonce.map_or(0, |nonce| 16 * words(nonce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_proves_its_key_and_that_it_is_whole() {
        let mut value = Vec::new();
        for nonce in 0..200 {
            prove(7, nonce, &mut value);
            assert!(is_proven(7, &value) && !is_proven(8, &value));
            assert!(value.len() <= LONGEST);
            for at in 0..value.len() {
                let mut changed = value.clone();
                changed[at] ^= 1;
                assert!(!is_proven(7, &changed), "byte {at} of nonce {nonce}");
                assert!(!is_proven(7, &value[..at]), "cut to {at}, nonce {nonce}");
            }
        }
    }
}
