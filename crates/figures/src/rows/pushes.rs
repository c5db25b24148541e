//! How soon another host knows of a write, and what trackers cost the server.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kennel::NamespaceOptions;
use kennel_far::resp::{Decoder, encode};
use kennel_far::{Expiry, inspect};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::groups::{Setting, wait_for_proof};
use crate::process::Process;
use crate::report::{Row, median, quantile};
use crate::worker::{key, open, value};

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

/// `SET`s per second with the trackers of two hosts against none.
pub fn sets(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let time = setting.time(1.5);
    for round in 0..setting.rounds {
        without.push(sets_per_second(&setting.server.socket, time, u64::from(round))?);
        let nears = ["sets-0", "sets-1"].map(|name| setting.near(name));
        let _trackers = nears
            .iter()
            .map(|near| Process::start(&setting.task(near, STALENESS, None, 0)))
            .collect::<Result<Vec<_>>>()?;
        for near in &nears {
            wait_for_proof(&open(&setting.server.url(), near, STALENESS, 0)?, STALENESS)?;
        }
        with.push(sets_per_second(&setting.server.socket, time, u64::from(round))?);
    }
    let (with, without) = (median(with), median(without));
    let row = Row::new("SETs per second with two trackers against none", with / without, "x");
    Ok(vec![row.goals(0.9, 0.97).more_is_better().of(format!("{with:.0} and {without:.0} per second"))])
}

fn sets_per_second(socket: &Path, time: Duration, seed: u64) -> Result<f64> {
    let begin = Instant::now();
    let total = thread::scope(|scope| {
        let writers = (0..WRITERS).map(|i| scope.spawn(move || write_for(socket, time, seed * WRITERS + i)));
        let writers: Vec<_> = writers.collect();
        let counts = writers.into_iter().map(|writer| writer.join().unwrap_or_else(|_| Ok(0)));
        counts.sum::<Result<u64>>()
    })?;
    ensure!(total > 0, "nothing was written");
    Ok(total as f64 / begin.elapsed().as_secs_f64())
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
