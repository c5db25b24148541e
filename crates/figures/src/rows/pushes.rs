//! How soon another host knows of a write, and what trackers cost the server.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kennel::NamespaceOptions;
use kennel_far::resp::{Decoder, encode};
use kennel_far::{Expiry, inspect};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::setting::{Setting, wait_for_proof};
use crate::process::{Process, processor_time};
use crate::report::{Row, median, quantile};
use crate::worker::{PREFIX, key, open, value};

const STALENESS: Duration = Duration::from_secs(1);

/// The time from a writer's reply to the end of the entry in another host's near file.
pub fn end_on_another_host(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let path = setting.near("there");
    let here = open(&setting.server.url(), &setting.near("here"), STALENESS, 1)?;
    let there = open(&setting.server.url(), &path, STALENESS, 0)?;
    let _tracker = Process::start(&setting.task(&path, STALENESS, None, 0))?;
    wait_for_proof(&here, STALENESS)?;
    wait_for_proof(&there, STALENESS)?;
    let tier = inspect(&path, &kennel::Options::new())?.pop().context("the near file has no near tier")?;
    let cache = kennel::Options::new().open_read_only(&path)?.namespace(&tier.namespace, &NamespaceOptions::new())?;
    let (mut times, mut rng) = (Vec::new(), SmallRng::seed_from_u64(1));
    let samples = if setting.is_quick { 100 } else { 400 * setting.rounds };
    for i in 0..samples {
        let key = key(u64::from(i % 100));
        here.set(&key, value(u64::from(i)), Expiry::Never)?;
        fill(&there, &cache, &key)?;
        thread::sleep(Duration::from_micros(rng.random_range(500..3000)));
        here.set(&key, value(u64::from(i) + 1_000_000), Expiry::Never)?;
        let replied = Instant::now();
        while cache.contains(&key) {
            ensure!(replied.elapsed() < Duration::from_secs(10), "a write was not pushed");
            std::hint::spin_loop();
        }
        times.push(replied.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    let at = |part| quantile(&times, part) / 1e6;
    Ok(vec![
        Row::new("from a writer's reply to the entry's end elsewhere, p50", at(0.5), "ms")
            .goals(1.0, 0.2)
            .of(format!("{samples} writes")),
        Row::new("the same, p99", at(0.99), "ms").goals(20.0, 5.0),
        Row::new("the same, p99.9", at(0.999), "ms"),
    ])
}

/// Reads a key until the near file has it: the push of a write may void the first fill.
fn fill(far: &kennel_far::Far, cache: &kennel::Cache, key: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !cache.contains(key) {
        far.get(key)?;
        ensure!(Instant::now() < deadline, "a value is not stored near");
    }
    Ok(())
}

/// Connections that write, and commands that each sends together.
const WRITERS: u64 = 4;
const PIPELINE: usize = 32;
const WRITTEN_KEYS: u64 = 100_000;

/// `SET`s per second with the trackers of two hosts against none, and with connections that do nothing but read what is
/// pushed: what those cost is the server's own work.
pub fn sets(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let (mut with, mut idle, mut without) = (Rates::default(), Rates::default(), Rates::default());
    for round in 0..setting.rounds {
        without.measure(setting, round, &[])?;
        {
            let readers = (0..2).map(|_| Reader::start(&setting.server.socket)).collect::<Result<Vec<_>>>()?;
            idle.measure(setting, round, &[])?;
            drop(readers);
        }
        let nears = ["sets-0", "sets-1"].map(|name| setting.near(name));
        let trackers = nears
            .iter()
            .map(|near| Process::start(&setting.task(near, STALENESS, None, 0)))
            .collect::<Result<Vec<_>>>()?;
        for near in &nears {
            wait_for_proof(&open(&setting.server.url(), near, STALENESS, 0)?, STALENESS)?;
        }
        with.measure(setting, round, &trackers)?;
    }
    let (with, idle, without) = (with.median(), idle.median(), without.median());
    let rate = |rates: &Rate| rates.per_second;
    let times = format!(
        "{:.0} and {:.0} per second; processor time for each: server {:.2} and {:.2} us, each tracker {:.2} us",
        with.per_second, without.per_second, with.server, without.server, with.tracker
    );
    Ok(vec![
        Row::new("SETs per second with two trackers against none", rate(&with) / rate(&without), "x")
            .goals(0.9, 0.97)
            .more_is_better()
            .of(times),
        Row::new("the same with two connections that only read pushes", rate(&idle) / rate(&without), "x")
            .more_is_better()
            .of(format!("{:.0} per second; server {:.2} us", idle.per_second, idle.server)),
    ])
}

/// What was measured in each round.
#[derive(Default)]
struct Rates {
    per_second: Vec<f64>,
    server: Vec<f64>,
    tracker: Vec<f64>,
}

/// `SET`s per second, and microseconds of a processor that the server and one tracker need for each.
struct Rate {
    per_second: f64,
    server: f64,
    tracker: f64,
}

impl Rates {
    fn measure(&mut self, setting: &Setting<'_>, round: u32, trackers: &[Process]) -> Result<()> {
        let pids: Vec<u32> = trackers.iter().map(Process::pid).collect();
        let all = || pids.iter().map(|pid| processor_time(*pid)).sum::<Duration>();
        let (server, tracker) = (processor_time(setting.server.pid()), all());
        let time = setting.time(1.5);
        let (count, per_second) = sets_per_second(&setting.server.socket, time, u64::from(round))?;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        self.per_second.push(per_second);
        self.server.push(each(processor_time(setting.server.pid()).saturating_sub(server)));
        self.tracker.push(each(all().saturating_sub(tracker)) / pids.len().max(1) as f64);
        Ok(())
    }

    fn median(self) -> Rate {
        Rate { per_second: median(self.per_second), server: median(self.server), tracker: median(self.tracker) }
    }
}

/// A connection that is told of all changes, and does nothing about them.
struct Reader {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(socket: &Path) -> Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        let mut out = Vec::new();
        encode(&["HELLO", "3"], &mut out);
        encode(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", PREFIX], &mut out);
        stream.write_all(&out)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut bytes = vec![0; 1 << 18];
            while !of_thread.load(Ordering::Relaxed) && !matches!(stream.read(&mut bytes), Ok(0)) {
                thread::sleep(Duration::from_millis(1));
            }
        });
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// How many were written, and how many in each second.
fn sets_per_second(socket: &Path, time: Duration, seed: u64) -> Result<(u64, f64)> {
    let begin = Instant::now();
    let total = thread::scope(|scope| {
        let writers = (0..WRITERS).map(|i| scope.spawn(move || write_for(socket, time, seed * WRITERS + i)));
        let writers: Vec<_> = writers.collect();
        let counts = writers.into_iter().map(|writer| writer.join().unwrap_or_else(|_| Ok(0)));
        counts.sum::<Result<u64>>()
    })?;
    ensure!(total > 0, "nothing was written");
    Ok((total, total as f64 / begin.elapsed().as_secs_f64()))
}

fn write_for(socket: &Path, time: Duration, seed: u64) -> Result<u64> {
    let mut stream = UnixStream::connect(socket)?;
    let (mut rng, mut decoder, mut bytes) = (SmallRng::seed_from_u64(seed), Decoder::new(1 << 20), [0; 1 << 14]);
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let mut out = Vec::new();
        for _ in 0..PIPELINE {
            let number: u64 = rng.random();
            encode(&["SET", &key(number % WRITTEN_KEYS), &value(number)], &mut out);
        }
        stream.write_all(&out)?;
        let mut replies = 0;
        while replies < PIPELINE {
            match decoder.next_value()? {
                Some(_) => replies += 1,
                None => {
                    let len = stream.read(&mut bytes)?;
                    ensure!(len > 0, "the server closed a connection");
                    decoder.feed(&bytes[..len]);
                }
            }
        }
        count += PIPELINE as u64;
    }
    Ok(count)
}
