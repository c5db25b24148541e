//! One call at a time, one thread: what a read and a write cost, beside the least that any such cache must do.
//!
//! `cargo bench -p kennel --bench calls`; `-- "64 B, 256 MiB"` for one group. The *limit* is a plain loop over the same
//! amount of mapped memory, the same kind of mapping and the same keys: hash the key, load a random bucket's line, copy
//! the value out of the record it leads to. Nothing is compared, checked or counted. Compare the two within one run.
//!
//! Reads are measured twice. *One after another*: the next key depends on the value before, as in a program that uses
//! what it reads; this is what one call costs. *Independent*: the processor may work on several calls at once, as in a
//! loop over keys known beforehand; it overlaps more of a short loop's calls than of a long one's.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kennel::{Cache, LockStrategy, Options, Values, record_size};
use limit::Limit;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

#[path = "../crates/harness/src/limit.rs"]
mod limit;

const KEY: usize = 16;
/// Items of the smallest group, and keys that a walk over a larger one reads.
const KEYS: usize = 100_000;
const MIB: usize = 1 << 20;

/// A directory in memory where there is one.
fn directory() -> TempDir {
    let shm = PathBuf::from("/dev/shm");
    let made = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// The keys of so many items, in an order that no prefetcher guesses.
fn keys(items: usize) -> Vec<[u8; KEY]> {
    let mut keys: Vec<[u8; KEY]> = (0..items as u64).map(key).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for i in (1..keys.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        keys.swap(i, (random % (i as u64 + 1)) as usize);
    }
    keys
}

fn key(n: u64) -> [u8; KEY] {
    let mut key = *b"item:00000000000";
    key[8..].copy_from_slice(&n.to_le_bytes());
    key
}

fn cache<const VALUE: usize>(directory: &TempDir, items: usize, locks: LockStrategy) -> Cache {
    let cache = Options::new()
        .capacity(items as u64 * record_size(KEY, VALUE) * 5 / 4)
        .mean_item((KEY + VALUE) as u64)
        .seed(1)
        .locks(locks)
        .populate(true)
        .create(directory.path().join("cache"))
        .expect("a cache");
    // In another order than they are read in: else each record would lie behind the one read before.
    for n in 0..items as u64 {
        cache.set(key(n), [1; VALUE]).expect("a set");
    }
    cache
}

/// Walks once over the keys; how far each step goes is what the value before says, which is one key on.
fn one_after_another<const VALUE: usize>(keys: &[[u8; KEY]], mut get: impl FnMut(&[u8; KEY], &mut [u8; VALUE])) {
    let mut into = [1; VALUE];
    let mut next = 0;
    while let Some(key) = keys.get(next) {
        get(key, &mut into);
        next += usize::from(into[0]);
    }
}

fn reads(c: &mut Criterion) {
    let items = |data, value| data / record_size(KEY, value) as usize;
    reads_of::<64>(c, "64 B of 100 000", KEYS);
    reads_of::<64>(c, "64 B, 16 MiB", items(16 * MIB, 64));
    reads_of::<64>(c, "64 B, 256 MiB", items(256 * MIB, 64));
    reads_of::<4096>(c, "4 KiB, 16 MiB", items(16 * MIB, 4096));
}

fn reads_of<const VALUE: usize>(c: &mut Criterion, data: &str, items: usize) {
    let directory = directory();
    let cache = cache::<VALUE>(&directory, items, LockStrategy::File);
    let stored: Vec<[u8; KEY]> = (0..items as u64).map(key).collect();
    let limit = Limit::create(&directory.path().join("limit"), cache.stats().buckets, &stored, VALUE).expect("a limit");
    let mut keys = keys(items);
    keys.retain(|key| cache.contains(key));
    assert!(keys.len() * 100 > items * 97, "only {} of {items} items are held", keys.len());
    keys.truncate(KEYS);
    let get_into = |key: &[u8; KEY], into: &mut [u8; VALUE]| {
        assert!(matches!(cache.get_into(key, into), Ok(Some(len)) if len == VALUE));
    };

    let mut group = c.benchmark_group(format!("read {data}, one after another"));
    group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(20);
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group.bench_function("limit", |b| {
        b.iter(|| one_after_another(&keys, |key, into: &mut [u8; VALUE]| limit.get_into(key, into)))
    });
    group.bench_function("get_into", |b| b.iter(|| one_after_another(&keys, get_into)));
    group.finish();

    let mut group = c.benchmark_group(format!("read {data}, independent"));
    group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(20);
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let mut into = [0; VALUE];
    group.bench_function("limit", |b| {
        b.iter(|| keys.iter().for_each(|key| limit.get_into(black_box(key), black_box(&mut into))));
    });
    group.bench_function("get_into", |b| b.iter(|| keys.iter().for_each(|key| get_into(black_box(key), &mut into))));
    group.bench_function("get", |b| b.iter(|| keys.iter().for_each(|key| drop(black_box(cache.get(black_box(key)))))));
    group.bench_function("get_multi of 16", |b| {
        b.iter(|| keys.chunks(16).for_each(|keys| drop(black_box(cache.get_multi(black_box(keys))))));
    });
    let mut values = Values::new();
    group.bench_function("get_multi_into of 16", |b| {
        b.iter(|| keys.chunks(16).for_each(|keys| cache.get_multi_into(black_box(keys), black_box(&mut values))));
    });
    group.bench_function("miss", |b| {
        b.iter(|| (0..keys.len() as u64).for_each(|n| _ = black_box(cache.get(black_box(key(n + (1 << 40)))))));
    });
    group.finish();
}

/// Under each strategy for several processes: what differs is the lock.
fn writes(c: &mut Criterion) {
    for locks in [LockStrategy::File, LockStrategy::Lease] {
        let directory = directory();
        let cache = cache::<64>(&directory, KEYS, locks.clone());
        let keys = keys(KEYS);
        let mut group = c.benchmark_group(format!("write of 100 000, {locks}"));
        group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
        group.throughput(Throughput::Elements(1));
        for size in [64, 1024] {
            let value = vec![9; size];
            let mut next = keys.iter().cycle();
            group.bench_function(BenchmarkId::new("set", size), |b| {
                b.iter(|| cache.set(next.next().expect("a cycle"), &value).expect("a set"));
            });
        }
        cache.set("counter", "0").expect("a set");
        group.bench_function("incr", |b| b.iter(|| black_box(cache.incr("counter", 1)).expect("a number")));
        group.finish();
    }
}

criterion_group!(benches, reads, writes);
criterion_main!(benches);
