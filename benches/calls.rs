//! One call at a time, one thread: what a read and a write cost, beside the least that any such cache must do.
//!
//! `cargo bench -p kennel --bench calls`. The *limit* is a plain loop over the same amount of mapped memory and the
//! same keys: hash the key, load one word of a random bucket's line, copy the value out of the record it leads to.
//! Nothing is compared, checked or counted. Compare the two within one run.
//!
//! Reads are measured twice. *One after another*: the next key depends on the value before, as in a program that uses
//! what it reads; this is what one call costs. *Independent*: the processor may work on several calls at once, as in a
//! loop over keys known beforehand; it overlaps more of a short loop's calls than of a long one's.
#![allow(unsafe_code, reason = "the limit reads a mapping with plain loads; nobody else has it open")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kennel::{Cache, LockStrategy, Options, record_size};
use memmap2::MmapMut;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const ITEMS: usize = 100_000;
const KEY: usize = 16;
const VALUE: usize = 64;

/// A directory in memory where there is one.
fn directory() -> TempDir {
    let shm = PathBuf::from("/dev/shm");
    let made = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// All keys, in an order that no prefetcher guesses.
fn keys() -> Vec<[u8; KEY]> {
    let mut keys: Vec<[u8; KEY]> = (0..ITEMS as u64).map(key).collect();
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

fn cache(directory: &TempDir, locks: LockStrategy) -> Cache {
    let capacity = ITEMS as u64 * record_size(KEY, VALUE) * 5 / 4;
    let cache = Options::new()
        .capacity(capacity)
        .mean_item((KEY + VALUE) as u64)
        .seed(1)
        .locks(locks)
        .populate(true)
        .create(directory.path().join("cache"))
        .expect("a cache");
    // In another order than they are read in: else each record would lie behind the one read before.
    for n in 0..ITEMS as u64 {
        cache.set(key(n), [1; VALUE]).expect("a set");
    }
    cache
}

/// The least a cache must do, over as much memory as the cache has.
struct Limit {
    map: MmapMut,
    buckets: u64,
    records_at: usize,
}

impl Limit {
    fn new(directory: &TempDir, cache: &Cache) -> Self {
        let buckets = cache.stats().buckets;
        let records_at = buckets as usize * 64;
        let len = records_at + ITEMS * record_size(KEY, VALUE) as usize;
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(directory.path().join("limit"))
            .expect("a file");
        file.set_len(len as u64).expect("its length");
        // SAFETY: the file lies in a private directory and nobody else opens it.
        let map = unsafe { MmapMut::map_mut(&file) }.expect("a mapping");
        let mut limit = Self { map, buckets, records_at };
        for (n, word) in limit.map[..records_at].chunks_exact_mut(8).enumerate() {
            // A permutation of sorts: each word leads to some record, all records are led to.
            let record = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % ITEMS as u64;
            word.copy_from_slice(&record.to_le_bytes());
        }
        limit.map[records_at..].fill(1);
        limit
    }

    #[inline]
    fn get(&self, key: &[u8], into: &mut [u8; VALUE]) {
        let hash = xxh3_64_with_seed(key, 1);
        let bucket = ((u128::from(hash) * u128::from(self.buckets)) >> 64) as usize;
        let word = bucket * 64 + (hash as usize & 7) * 8;
        let record = u64::from_le_bytes(self.map[word..word + 8].try_into().expect("eight bytes"));
        let value = self.records_at + record as usize * record_size(KEY, VALUE) as usize + 48;
        into.copy_from_slice(&self.map[value..value + VALUE]);
    }
}

/// Walks once over the keys; how far each step goes is what the value before says, which is one key on.
fn one_after_another(keys: &[[u8; KEY]], mut get: impl FnMut(&[u8; KEY], &mut [u8; VALUE])) {
    let mut into = [1; VALUE];
    let mut next = 0;
    while let Some(key) = keys.get(next) {
        get(key, &mut into);
        next += usize::from(into[0]);
    }
}

fn reads(c: &mut Criterion) {
    let directory = directory();
    let cache = cache(&directory, LockStrategy::File);
    let limit = Limit::new(&directory, &cache);
    let mut keys = keys();
    keys.retain(|key| cache.contains(key));
    assert!(keys.len() * 100 > ITEMS * 98, "only {} of {ITEMS} items are held", keys.len());
    let get_into = |key: &[u8; KEY], into: &mut [u8; VALUE]| {
        assert_eq!(cache.get_into(key, into).ok(), Some(Some(VALUE)));
    };

    let mut group = c.benchmark_group("read 64 B of 100 000, one after another");
    group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(30);
    group.measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    group.bench_function("limit", |b| b.iter(|| one_after_another(&keys, |key, into| limit.get(key, into))));
    group.bench_function("get_into", |b| b.iter(|| one_after_another(&keys, get_into)));
    group.finish();

    let mut group = c.benchmark_group("read 64 B of 100 000, independent");
    group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(30);
    group.measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    let mut into = [0; VALUE];
    group.bench_function("limit", |b| {
        b.iter(|| keys.iter().for_each(|key| limit.get(black_box(key), black_box(&mut into))));
    });
    group.bench_function("get_into", |b| b.iter(|| keys.iter().for_each(|key| get_into(black_box(key), &mut into))));
    group.bench_function("get", |b| b.iter(|| keys.iter().for_each(|key| drop(black_box(cache.get(black_box(key)))))));
    group.bench_function("get_multi of 16", |b| {
        b.iter(|| keys.chunks(16).for_each(|keys| drop(black_box(cache.get_multi(black_box(keys))))));
    });
    group.bench_function("miss", |b| {
        b.iter(|| (0..ITEMS as u64).for_each(|n| _ = black_box(cache.get(black_box(key(n + (1 << 40)))))));
    });
    group.finish();
}

/// Under each strategy for several processes: what differs is the lock.
fn writes(c: &mut Criterion) {
    for locks in [LockStrategy::File, LockStrategy::Lease] {
        let directory = directory();
        let cache = cache(&directory, locks.clone());
        let keys = keys();
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
