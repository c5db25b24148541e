//! A near hit, against the engine's own hit and against a far `GET`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kennel::NamespaceOptions;
use kennel_far::inspect;

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
    let mut buffer = vec![0; 4096];
    let (mut near, mut near_copy) = (Vec::new(), Vec::new());
    let (mut engine, mut engine_copy, mut remote) = (Vec::new(), Vec::new(), Vec::new());
    let before = far.stats().hits;
    let mut reads = 0;
    for _ in 0..setting.rounds * 3 {
        let time = setting.time(0.3);
        let (ns, calls) = timed(time, &keys, |key| {
            black_box(far.get_into(key, &mut buffer)?);
            Ok(())
        })?;
        near.push(ns);
        reads += calls;
        let (ns, calls) = timed(time, &keys, |key| {
            black_box(far.get(key)?);
            Ok(())
        })?;
        near_copy.push(ns);
        reads += calls;
        engine.push(
            timed(time, &keys, |key| {
                black_box(cache.get_into(key, &mut buffer)?);
                Ok(())
            })?
            .0,
        );
        engine_copy.push(
            timed(time, &keys, |key| {
                black_box(cache.get(key));
                Ok(())
            })?
            .0,
        );
        remote.push(
            timed(time, &keys, |key| {
                black_box(setting.server.ask(&[b"GET", key.as_bytes()])?);
                Ok(())
            })?
            .0,
        );
    }
    let hits = far.stats().hits - before;
    anyhow::ensure!(hits * 1000 >= reads * 999, "only {hits} of {reads} reads were near hits");
    let (near, near_copy) = (median(near), median(near_copy));
    let (engine, engine_copy, remote) = (median(engine), median(engine_copy), median(remote));
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

/// Nanoseconds of a call, and how many were made.
fn timed(time: Duration, keys: &[String], mut call: impl FnMut(&String) -> Result<()>) -> Result<(f64, u64)> {
    let (begin, mut calls) = (Instant::now(), 0);
    while begin.elapsed() < time {
        keys.iter().take(200).try_for_each(&mut call)?;
        calls += keys.len().min(200) as u64;
    }
    Ok((begin.elapsed().as_nanos() as f64 / calls as f64, calls))
}
