//! The run: first without faults, then trackers are killed, then all workers are replaced one after the other.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use kennel_far::history::{Event, Kind, Log, NO_HOST, now};
use kennel_far::resp::Value;
use kennel_far::{Seat, inspect};
use kennel_harness::human::{percent, plural, rate};
use kennel_harness::interrupt;

use super::popularity::{KEYS, name, value};
use super::tally::is_log;
use super::worker::Task;
use crate::cmd::far::server::{Server, TlsArgs};
use crate::cmd::far::workers::Worker;
use crate::cmd::outcome::AnyError;
use crate::output::print_line;

pub const HOSTS: u64 = 2;
const WORKERS_OF_HOST: u64 = 4;
pub const WORKERS: u64 = HOSTS * WORKERS_OF_HOST;

/// The parts of the time at which the kills begin, the replacement of all workers begins, and the replacement ends.
const KILLS_FROM: f64 = 0.25;
const REPLACED_FROM: f64 = 0.7;
const REPLACED_UNTIL: f64 = 0.9;
/// How many trackers are killed.
const KILLS: u32 = 9;

const LOOK_EVERY: Duration = Duration::from_millis(25);
/// After this time, the last command of a killed worker has been executed.
const SETTLE: Duration = Duration::from_millis(30);
/// How many of the first writes are sent together.
const BATCH: u64 = 500;

pub struct Plan {
    pub url: String,
    pub tls: TlsArgs,
    pub prefix: String,
    pub time: Duration,
    pub staleness: Duration,
    pub seed: u64,
}

/// What was seen from outside.
#[derive(Default)]
pub struct Outcome {
    pub elapsed: Duration,
    pub far_reads: u64,
    pub killed: u64,
    /// The oldest proof, and how many of the looks at a near file found one that was too old.
    pub oldest_proof: Duration,
    pub looks: u64,
    pub unproved: u64,
    /// The time in which all workers were replaced, and a second more; and the far reads in that time.
    pub replaced: Range<u64>,
    pub far_reads_then: u64,
    pub interrupted: bool,
}

struct Slot {
    host: u64,
    handle: Worker,
}

pub struct Director<'a> {
    plan: Plan,
    server: &'a Server,
    folder: &'a Path,
    slots: Vec<Slot>,
    lives: u64,
    outcome: Outcome,
    far_reads_before: u64,
    /// The far reads at the moments of looks.
    seen: Vec<(u64, u64)>,
}

impl<'a> Director<'a> {
    pub fn new(plan: Plan, server: &'a Server, folder: &'a Path) -> Self {
        let outcome = Outcome::default();
        Self { plan, server, folder, slots: Vec::new(), lives: 0, outcome, far_reads_before: 0, seen: Vec::new() }
    }

    pub fn run(mut self) -> Result<Outcome, AnyError> {
        self.write_all()?;
        self.far_reads_before = self.far_reads()?;
        for number in 0..WORKERS {
            let slot = self.start(number)?;
            self.slots.push(slot);
        }
        let start = Instant::now();
        self.direct(start)?;
        self.look()?;
        self.slots.clear();
        self.outcome.elapsed = start.elapsed();
        self.outcome.far_reads = self.seen.last().map_or(0, |(_, reads)| *reads);
        self.outcome.far_reads_then = self.far_reads_in(&self.outcome.replaced);
        self.outcome.interrupted = interrupt::is_asked();
        Ok(self.outcome)
    }

    /// Gives all keys their first values.
    fn write_all(&self) -> Result<(), AnyError> {
        let mut log = Log::open(&self.folder.join("log-first"))?;
        for first in (0..KEYS).step_by(BATCH as usize) {
            let keys: Vec<u64> = (first..(first + BATCH).min(KEYS)).collect();
            let began = now();
            let mut parts = vec!["MSET".to_owned()];
            for key in &keys {
                parts.extend([name(&self.plan.prefix, *key), value(began + key)]);
            }
            self.server.ask(&parts.iter().map(String::as_str).collect::<Vec<_>>())?;
            for key in keys {
                let kind = Kind::Acknowledged;
                log.add(Event { kind, host: NO_HOST, key, value: began + key, began, ended: now(), ttl: 0 })?;
            }
        }
        Ok(())
    }

    fn near(&self, host: u64) -> PathBuf {
        self.folder.join(format!("host-{host}.kennel"))
    }

    fn start(&mut self, number: u64) -> Result<Slot, AnyError> {
        let host = number / WORKERS_OF_HOST;
        self.lives += 1;
        let log = self.folder.join(format!("log-{}", self.lives));
        // The worker ends when its log is gone, so the log must be there before the worker.
        fs::File::create(&log)?;
        let task = Task {
            url: self.plan.url.clone(),
            tls: self.plan.tls.clone(),
            prefix: self.plan.prefix.clone(),
            staleness: self.plan.staleness,
            near: self.near(host),
            log,
            host,
            worker: number,
            workers: WORKERS,
            seed: self.plan.seed.wrapping_add(self.lives),
        };
        Ok(Slot { host, handle: Worker::start("far-demo-worker", &task)? })
    }

    fn replace(&mut self, number: u64) -> Result<(), AnyError> {
        self.slots[number as usize].handle.kill();
        thread::sleep(SETTLE);
        self.slots[number as usize] = self.start(number)?;
        Ok(())
    }

    fn direct(&mut self, start: Instant) -> Result<(), AnyError> {
        let at = |part: f64| start + self.plan.time.mul_f64(part);
        let between_kills = self.plan.time.mul_f64(REPLACED_FROM - KILLS_FROM) / KILLS;
        let between_replaced = self.plan.time.mul_f64(REPLACED_UNTIL - REPLACED_FROM) / WORKERS as u32;
        let (end, mut next_kill, mut next_replaced) = (at(1.0), at(KILLS_FROM), at(REPLACED_FROM));
        let kills_end = next_replaced;
        let (mut replaced, mut next_show) = (0, start + Duration::from_secs(1));
        let mut shown = (start, 0, 0);
        while Instant::now() < end && !interrupt::is_asked() {
            self.look()?;
            let time = Instant::now();
            if time >= next_kill && time < kills_end {
                self.kill_tracker()?;
                next_kill += between_kills;
            }
            if time >= next_replaced && replaced < WORKERS {
                if replaced == 0 {
                    self.outcome.replaced.start = now();
                }
                self.replace(next_in_turn(replaced))?;
                self.outcome.replaced.end = now() + 1_000_000;
                replaced += 1;
                next_replaced += between_replaced;
            }
            if time >= next_show {
                shown = self.show(start, shown, replaced)?;
                next_show += Duration::from_secs(1);
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Kills a process that has a seat, on one host and on the other in turn, and starts another in its place.
    fn kill_tracker(&mut self) -> Result<(), AnyError> {
        let host = self.outcome.killed % HOSTS;
        let seats = self.seats(host);
        let tracks = |slot: &&Slot| slot.host == host && seats.iter().any(|seat| seat.pid == Some(slot.handle.pid()));
        let found = self.slots.iter().find(tracks).map(|slot| slot.handle.pid());
        // Between two holders a seat is free for a moment.
        let Some(victim) = self.slots.iter().position(|slot| Some(slot.handle.pid()) == found) else { return Ok(()) };
        self.outcome.killed += 1;
        self.replace(victim as u64)
    }

    fn seats(&self, host: u64) -> Vec<Seat> {
        let tier = inspect(self.near(host), &kennel::Options::new()).ok().and_then(|mut tiers| tiers.pop());
        tier.map(|tier| tier.seats).unwrap_or_default()
    }

    /// Looks at the proofs, and at how many values were fetched.
    fn look(&mut self) -> Result<(), AnyError> {
        for slot in &mut self.slots {
            slot.handle.is_alive()?;
        }
        for host in 0..HOSTS {
            let Ok(tiers) = inspect(self.near(host), &kennel::Options::new()) else { continue };
            // Before its first proof a near cache has nothing to lose.
            let Some(age) = tiers.first().and_then(|tier| tier.proof_age) else { continue };
            self.outcome.looks += 1;
            self.outcome.unproved += u64::from(age > self.plan.staleness);
            self.outcome.oldest_proof = self.outcome.oldest_proof.max(age);
        }
        let reads = self.far_reads()? - self.far_reads_before;
        self.seen.push((now(), reads));
        Ok(())
    }

    /// How many values the server was asked for: each fetch also asks for the time to live, which no other command here
    /// does.
    fn far_reads(&self) -> Result<u64, AnyError> {
        let reply = self.server.ask(&["INFO", "commandstats"])?;
        let Value::Bytes(text) = reply else { return Err("expected text in the answer to INFO, found none".into()) };
        let text = String::from_utf8_lossy(&text).into_owned();
        let calls = text.lines().find_map(|line| line.strip_prefix("cmdstat_pttl:calls=")?.split(',').next());
        Ok(calls.map_or(Ok(0), str::parse)?)
    }

    fn far_reads_in(&self, time: &Range<u64>) -> u64 {
        let until = |moment| self.seen.iter().take_while(|(at, _)| *at <= moment).last().map_or(0, |(_, reads)| *reads);
        until(time.end) - until(time.start)
    }

    /// Prints a line for each second. Returns the moment, the events and the far reads so far.
    fn show(
        &self,
        start: Instant,
        (before, events_before, far_before): (Instant, u64, u64),
        replaced: u64,
    ) -> Result<(Instant, u64, u64), AnyError> {
        let (time, events) = (Instant::now(), self.events()?);
        let far = self.seen.last().map_or(0, |(_, reads)| *reads);
        let (reads, far_now) = (events - events_before, far - far_before);
        let mut line = format!(
            "{:>4} s  {}, of which {} far; {} killed",
            (time - start).as_secs(),
            rate(reads, time - before).replace("/s", " reads/s"),
            percent(far_now.min(reads), reads),
            plural(self.outcome.killed, "tracker"),
        );
        if replaced > 0 {
            line += &format!("; {} replaced", plural(replaced, "worker"));
        }
        print_line(line)?;
        Ok((time, events, far))
    }

    /// How many events the workers have logged.
    fn events(&self) -> Result<u64, AnyError> {
        let mut bytes = 0;
        for entry in fs::read_dir(self.folder)? {
            let entry = entry?;
            if is_log(&entry.path()) {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes / 64)
    }
}

/// The workers in the order in which they are replaced: on one host and on the other in turn.
fn next_in_turn(replaced: u64) -> u64 {
    replaced % HOSTS * WORKERS_OF_HOST + replaced / HOSTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_replaced_once() {
        let mut order: Vec<u64> = (0..WORKERS).map(next_in_turn).collect();
        assert_eq!(order[..3], [0, 4, 1]);
        order.sort_unstable();
        assert_eq!(order, (0..WORKERS).collect::<Vec<_>>());
    }
}
