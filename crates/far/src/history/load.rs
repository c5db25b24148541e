//! A process that reads and writes at random, and logs what it did.

use super::dice::Dice;
use super::log::{Event, Kind, Log};
use crate::far::Far;
use kennel::Expiry;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::thread;
use std::time::Duration;

/// How many keys a worker writes; all workers read them.
const KEYS_OF_WORKER: u64 = 4;
/// How long some values live, in microseconds.
const SHORT_LIFE_US: u64 = 150_000;
/// For this long, the server may still execute a write that has failed, so nothing else is written before.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Microseconds that all processes of a host count from the same moment.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// The key with a number.
#[must_use]
pub fn key_name(prefix: &str, number: u64) -> String {
    format!("{prefix}{number}")
}

/// What all workers of a run have in common.
#[derive(Clone, Debug)]
pub struct Load {
    /// What all keys begin with.
    pub prefix: String,
    /// The number of hosts.
    pub hosts: u64,
    /// Workers of each host.
    pub workers: u64,
}

impl Load {
    /// The number of keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.hosts * self.workers * KEYS_OF_WORKER
    }
}

/// A worker of a run. Each key has one worker that writes it.
#[derive(Debug)]
pub struct Worker {
    load: Load,
    far: Far,
    log: Log,
    host: u64,
    first_key: u64,
    dice: Dice,
}

impl Worker {
    /// The worker with a number on a host.
    #[must_use]
    pub fn new(load: Load, far: Far, log: Log, (host, worker): (u64, u64), dice: Dice) -> Self {
        let first_key = (host * load.workers + worker) * KEYS_OF_WORKER;
        Self { load, far, log, host, first_key, dice }
    }

    /// Does one thing.
    ///
    /// # Errors
    /// Those of the log, and a value that no worker has written.
    pub fn step(&mut self) -> io::Result<()> {
        match self.dice.up_to(1000) {
            0..40 => self.write(),
            40..60 => self.read_many(),
            60..80 => self.read(true),
            80..90 => {
                thread::sleep(self.dice.millis(1, 4));
                Ok(())
            }
            _ => self.read(false),
        }
    }

    fn name(&self, key: u64) -> String {
        key_name(&self.load.prefix, key)
    }

    fn any_key(&mut self) -> u64 {
        self.dice.up_to(self.load.keys())
    }

    fn read(&mut self, is_fresh: bool) -> io::Result<()> {
        let key = self.any_key();
        let name = self.name(key);
        let began = now();
        let found = if is_fresh { self.far.get_fresh(name) } else { self.far.get(name) };
        found.map_or(Ok(()), |value| self.log_read(key, value, began))
    }

    fn read_many(&mut self) -> io::Result<()> {
        let keys: Vec<u64> = (0..5).map(|_| self.any_key()).collect();
        let names: Vec<String> = keys.iter().map(|key| self.name(*key)).collect();
        let began = now();
        let Ok(values) = self.far.get_multi(&names) else { return Ok(()) };
        keys.into_iter().zip(values).try_for_each(|(key, value)| self.log_read(key, value, began))
    }

    fn log_read(&mut self, key: u64, value: Option<Vec<u8>>, began: u64) -> io::Result<()> {
        let number = |value: Vec<u8>| String::from_utf8(value).ok()?.parse().ok();
        let value = value
            .map_or(Some(0), number)
            .ok_or_else(|| io::Error::other(format!("the key {} has a value that no worker wrote", self.name(key))))?;
        self.log.add(Event { kind: Kind::Read, host: self.host, key, value, began, ended: now(), ttl: 0 })
    }

    /// Writes a value that names its write, with or without a time to live, or deletes.
    fn write(&mut self) -> io::Result<()> {
        // Some keys change often. Others keep a value for long, so that a missed change shows.
        let key = self.first_key
            + match self.dice.up_to(100) {
                0..80 => 0,
                80..95 => 1,
                95..99 => 2,
                _ => 3,
            };
        let began = now();
        let (value, ttl) = match self.dice.up_to(10) {
            0 => (0, 0),
            1 => (began, SHORT_LIFE_US),
            _ => (began, 0),
        };
        let event = Event { kind: Kind::Begin, host: self.host, key, value, began, ended: 0, ttl };
        self.log.add(event)?;
        let expiry = if ttl == 0 { Expiry::Never } else { Expiry::After(Duration::from_micros(ttl)) };
        let is_done = match value {
            0 => self.far.delete(self.name(key)).is_ok(),
            value => self.far.set(self.name(key), value.to_string(), expiry).is_ok(),
        };
        if is_done {
            return self.log.add(Event { kind: Kind::Acknowledged, ended: now(), ..event });
        }
        thread::sleep(AFTER_FAILURE);
        Ok(())
    }
}
