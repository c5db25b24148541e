//! A near hit, against the engine's own hit and against a far `GET`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kennel::{Cache, NamespaceOptions};
use kennel_far::{Far, inspect};

use super::setting::{Setting, wait_for_proof};
use crate::report::{Row, median};
use crate::worker::{key, open};

const KEYS: u64 = 1000;
const STALENESS: Duration = Duration::from_secs(1);

pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    setting.write_all()?;
    let path = setting.near("hits");
    let far = open(&setting.server.url(), &path, STALENESS, 1)?;
    wait_for_proof(&far, STALENESS)?;
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    for key in &keys {
        far.get(key)?;
    }
    let tier = inspect(&path, &kennel::Options::new())?.pop().context("the near file has no near tier")?;
    let cache = kennel::Options::new().open(&path)?.namespace(&tier.namespace, &NamespaceOptions::new())?;
    let Times { near, near_copy, engine, engine_copy, remote } = measure(setting, &far, &cache, &keys)?;
    Ok(vec![
        Row::new("near hit against Cache::get_into", near / engine, "x")
            .goals(1.4, 1.15)
            .of(format!("{near:.0} ns, {engine:.0} ns")),
        Row::new("near hit against Cache::get, both with a new Vec", near_copy / engine_copy, "x")
            .of(format!("{near_copy:.0} ns, {engine_copy:.0} ns")),
        Row::new("near hit against a far GET over a Unix socket", near / remote, "x")
            .goals(0.01, 0.003)
            .of(format!("{near:.0} ns, {:.1} us", remote / 1e3)),
    ])
}

/// Nanoseconds of a call, at the median.
struct Times {
    near: f64,
    near_copy: f64,
    engine: f64,
    engine_copy: f64,
    remote: f64,
}

/// Measures the calls in turn.
fn measure(setting: &Setting<'_>, far: &Far, cache: &Cache, keys: &[String]) -> Result<Times> {
    let mut buffer = vec![0; 4096];
    let mut times: [Vec<f64>; 5] = Default::default();
    let (before, mut reads) = (far.stats().hits, 0);
    for _ in 0..setting.rounds * 3 {
        let time = setting.time(0.3);
        let near = timed(time, keys, |key| Ok(far.get_into(key, &mut buffer)?))?;
        let near_copy = timed(time, keys, |key| Ok(far.get(key)?))?;
        reads += near.1 + near_copy.1;
        let engine = timed(time, keys, |key| Ok(cache.get_into(key, &mut buffer)?))?;
        let engine_copy = timed(time, keys, |key| Ok(cache.get(key)))?;
        let remote = timed(time, keys, |key| setting.server.ask(&[b"GET", key.as_bytes()]))?;
        for (times, (ns, _)) in times.iter_mut().zip([near, near_copy, engine, engine_copy, remote]) {
            times.push(ns);
        }
    }
    let hits = far.stats().hits - before;
    anyhow::ensure!(hits * 1000 >= reads * 999, "only {hits} of {reads} reads were near hits");
    let [near, near_copy, engine, engine_copy, remote] = times.map(median);
    Ok(Times { near, near_copy, engine, engine_copy, remote })
}

/// Nanoseconds of a call, and how many were made.
fn timed<T>(time: Duration, keys: &[String], mut call: impl FnMut(&String) -> Result<T>) -> Result<(f64, u64)> {
    let (begin, mut calls) = (Instant::now(), 0);
    while begin.elapsed() < time {
        for key in keys.iter().take(200) {
            black_box(call(key)?);
        }
        calls += keys.len().min(200) as u64;
    }
    Ok((begin.elapsed().as_nanos() as f64 / calls as f64, calls))
}
