//! The cost of one call, a read or a write, beside a lower bound for any such cache.
//!
//! `cargo bench -p kennel --bench calls`; `-- "64 B, 256 MiB"` for the groups of one size. The *limit* is a plain loop
//! over the same amount of mapped memory, the same kind of mapping and the same keys: hash the key, load the line of a
//! random bucket, copy the value out of the record that the bucket leads to. Nothing is compared, checked or counted.
//! Compare the two within one run.
//!
//! Reads are measured *one after another*: the next key is made with the bytes of the value before, as in a program that
//! uses what it reads; this is the cost of one call. In groups called *independent* the processor may work on several calls at the
//! same time, as in a loop over keys known beforehand; it overlaps more calls of a short loop than of a long one.
//!
//! Keys are drawn evenly, each once, or by Zipf's law with exponent 0.99, and never in the order in which they were
//! stored: otherwise each record would lie behind the one read before.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use kennel::{Cache, Changed, LockStrategy, Options, Values, record_size};
use limit::Limit;
use std::fmt;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

#[path = "../crates/harness/src/limit.rs"]
mod limit;

type Key = [u8; 16];

/// The most keys of one walk.
const STEPS: usize = 100_000;
const MIB: usize = 1 << 20;
const SIZES: [usize; 3] = [MIB / 4, 16 * MIB, 256 * MIB];

/// How keys are drawn.
#[derive(Clone, Copy)]
enum Draw {
    Uniform,
    Zipf,
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Draw::Uniform => "uniform",
            Draw::Zipf => "Zipf 0.99",
        })
    }
}

/// Bytes, formatted for people.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= MIB => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes >= 1024 => write!(f, "{} KiB", bytes / 1024),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// A directory in memory, if there is a file system for that.
fn directory() -> TempDir {
    let shm = PathBuf::from("/dev/shm");
    let made = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

fn key(n: u64) -> Key {
    let mut key = *b"item:00000000000";
    key[8..].copy_from_slice(&n.to_le_bytes());
    key
}

/// Xorshift (Marsaglia, 2003), with the same seed in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The keys of this many items, in the order of the requests.
fn walk(items: usize, draw: Draw) -> Vec<Key> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut keys: Vec<Key> = (0..items as u64).map(key).collect();
    for i in (1..keys.len()).rev() {
        keys.swap(i, (random.next() % (i as u64 + 1)) as usize);
    }
    match draw {
        Draw::Uniform => keys.truncate(STEPS),
        Draw::Zipf => {
            let weights = (1..=items).scan(0.0, |sum, rank| {
                *sum += (rank as f64).powf(-0.99);
                Some(*sum)
            });
            let weights: Vec<f64> = weights.collect();
            let all = weights.last().copied().unwrap_or(0.0);
            let mut rank = || {
                let at = (random.next() >> 11) as f64 / (1u64 << 53) as f64 * all;
                weights.partition_point(|&sum| sum <= at)
            };
            keys = (0..STEPS).map(|_| keys[rank()]).collect();
        }
    }
    keys
}

/// A cache that holds this many items, with space to spare.
fn cache<const VALUE: usize>(directory: &TempDir, items: usize, locks: LockStrategy) -> Cache {
    let cache = Options::new()
        .capacity(items as u64 * record_size(size_of::<Key>(), VALUE) * 5 / 4)
        .mean_item((size_of::<Key>() + VALUE) as u64)
        .seed(1)
        .locks(locks)
        .prefault(true)
        .create(directory.path().join("cache"))
        .expect("a cache");
    for n in 0..items as u64 {
        cache.set(key(n), [1; VALUE]).expect("a set");
    }
    cache
}

/// Keeps the keys that the cache holds, which must be nearly all: reads of evicted ones would be misses.
fn held(cache: &Cache, mut keys: Vec<Key>) -> Vec<Key> {
    let asked = keys.len();
    keys.retain(|key| cache.contains(key));
    assert!(keys.len() * 20 > asked * 19, "only {} of {asked} keys are held", keys.len());
    keys
}

/// Walks once over the keys. The bytes that a read gave are part of the next key: they are ones, so a word of them
/// changes nothing, but the processor cannot know that before it has them. A step that the value tells would let it find
/// the next key by a guess.
fn one_after_another<const VALUE: usize>(keys: &[Key], mut get: impl FnMut(&Key, &mut [u8; VALUE])) {
    let mut into = [1; VALUE];
    for key in keys {
        let mut key = *key;
        key.iter_mut().zip(&into).for_each(|(byte, read)| *byte ^= read ^ 1);
        get(&key, &mut into);
    }
}

fn group(c: &mut Criterion, name: String, keys: usize) -> BenchmarkGroup<'_, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(keys as u64)).sample_size(10);
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    group
}

fn reads(c: &mut Criterion) {
    for data in SIZES {
        for draw in [Draw::Uniform, Draw::Zipf] {
            reads_of::<64>(c, data, draw);
            reads_of::<512>(c, data, draw);
            reads_of::<4096>(c, data, draw);
            if data > MIB {
                // Four values in a cache of four times their size would not be a realistic cache.
                reads_of::<65_536>(c, data, draw);
            }
        }
    }
}

fn reads_of<const VALUE: usize>(c: &mut Criterion, data: usize, draw: Draw) {
    let directory = directory();
    let items = data / record_size(size_of::<Key>(), VALUE) as usize;
    let cache = cache::<VALUE>(&directory, items, LockStrategy::File);
    let stored: Vec<Key> = (0..items as u64).map(key).collect();
    let limit = Limit::create(&directory.path().join("limit"), cache.stats().buckets, &stored, VALUE);
    let limit = limit.expect("a limit");
    let keys = held(&cache, walk(items, draw));
    let from_limit = |key: &Key, into: &mut [u8; VALUE]| limit.get_into(key, into);
    let get_into = |key: &Key, into: &mut [u8; VALUE]| {
        assert!(matches!(cache.get_into(key, into), Ok(Some(len)) if len == VALUE));
    };
    let mut into = [0; VALUE];
    let mut values = Values::new();

    let mut group = group(c, format!("read {}, {}, {draw}", Bytes(VALUE), Bytes(data)), keys.len());
    group.bench_function("limit", |b| b.iter(|| one_after_another(&keys, from_limit)));
    group.bench_function("get_into", |b| b.iter(|| one_after_another(&keys, get_into)));
    group.bench_function("limit, independent", |b| {
        b.iter(|| keys.iter().for_each(|key| from_limit(black_box(key), black_box(&mut into))));
    });
    group.bench_function("get_into, independent", |b| {
        b.iter(|| keys.iter().for_each(|key| get_into(black_box(key), black_box(&mut into))));
    });
    group.bench_function("get, independent", |b| {
        b.iter(|| keys.iter().for_each(|key| drop(black_box(cache.get(black_box(key))))));
    });
    group.bench_function("get_multi of 16", |b| {
        b.iter(|| keys.chunks(16).for_each(|keys| drop(black_box(cache.get_multi(black_box(keys))))));
    });
    group.bench_function("get_multi_into of 16", |b| {
        b.iter(|| keys.chunks(16).for_each(|keys| cache.get_multi_into(black_box(keys), black_box(&mut values))));
    });
    group.bench_function("miss", |b| {
        b.iter(|| (0..keys.len() as u64).for_each(|n| _ = black_box(cache.get(black_box(key(n + (1 << 40)))))));
    });
    group.finish();
}

/// Writes under each strategy for several processes, which differ in the lock.
fn writes(c: &mut Criterion) {
    for locks in [LockStrategy::File, LockStrategy::Lease] {
        for (data, draw) in SIZES.into_iter().flat_map(|data| [(data, Draw::Uniform), (data, Draw::Zipf)]) {
            writes_of::<64>(c, data, &locks, draw);
            writes_of::<512>(c, data, &locks, draw);
            writes_of::<4096>(c, data, &locks, draw);
            if data > MIB {
                writes_of::<65_536>(c, data, &locks, draw);
            }
        }
    }
}

fn writes_of<const VALUE: usize>(c: &mut Criterion, data: usize, locks: &LockStrategy, draw: Draw) {
    const READS_TO_A_WRITE: usize = 19;
    let directory = directory();
    let items = data / record_size(size_of::<Key>(), VALUE) as usize;
    let cache = cache::<VALUE>(&directory, items, locks.clone());
    let keys = held(&cache, walk(items, draw));
    let value = [1; VALUE];
    let set = |key: &Key| cache.set(key, black_box(&value)).expect("a set");
    let mut into = [0; VALUE];

    let mut group = group(c, format!("write {}, {}, {draw}, {locks}", Bytes(VALUE), Bytes(data)), keys.len());
    group.bench_function("set", |b| b.iter(|| keys.iter().for_each(set)));
    group.bench_function("19 get_into and a set", |b| {
        b.iter(|| {
            keys.iter().enumerate().for_each(|(i, key)| match i % (READS_TO_A_WRITE + 1) {
                READS_TO_A_WRITE => set(key),
                _ => _ = black_box(cache.get_into(key, black_box(&mut into))),
            });
        });
    });
    if VALUE == 64 {
        keys.iter().for_each(|key| cache.set(key, "0").expect("a set"));
        group.bench_function("incr", |b| {
            b.iter(|| keys.iter().for_each(|key| _ = black_box(cache.incr(key, 1)).expect("a number")));
        });
    }
    group.finish();
}

/// A reader, while a writer on its own thread overwrites the same keys without a pause.
fn beside_a_writer(c: &mut Criterion) {
    let directory = directory();
    let items = MIB / 4 / record_size(size_of::<Key>(), 64) as usize;
    let cache = cache::<64>(&directory, items, LockStrategy::Lease);
    let keys = held(&cache, walk(items, Draw::Uniform));
    let get_into = |key: &Key, into: &mut [u8; 64]| {
        // A read misses in the end if the system has stopped the writer in the middle of a write.
        if !matches!(cache.get_into(key, into), Ok(Some(64))) {
            into.fill(1);
        }
    };
    let mut group = group(c, "read 64 B, 256 KiB, beside a writer".to_owned(), keys.len());
    group.bench_function("nobody writes", |b| b.iter(|| one_after_another(&keys, get_into)));
    for hot in [8, keys.len()] {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    keys[..hot].iter().for_each(|key| cache.set(key, [1; 64]).expect("a set"));
                }
            });
            let name = format!("{hot} keys are overwritten");
            group.bench_function(name, |b| b.iter(|| one_after_another(&keys, get_into)));
            over.store(true, Ordering::Relaxed);
        });
    }
    group.finish();
}

/// Looks at a value that the caller holds, beside a read of it.
fn near(c: &mut Criterion) {
    near_of::<64>(c);
    near_of::<1024>(c);
    near_of::<{ 16 << 10 }>(c);
}

fn near_of<const VALUE: usize>(c: &mut Criterion) {
    let directory = directory();
    let cache = cache::<VALUE>(&directory, 256, LockStrategy::File);
    let ids = held(&cache, walk(256, Draw::Uniform));
    let ids: Vec<_> = ids.iter().filter_map(|key| Some((*key, cache.get_item(key)?.id()))).collect();
    let mut group = group(c, format!("look at {}", Bytes(VALUE)), ids.len());
    group.bench_function("get", |b| b.iter(|| ids.iter().for_each(|(key, _)| drop(black_box(cache.get(key))))));
    group.bench_function("get_if_changed", |b| {
        b.iter(|| {
            ids.iter()
                .for_each(|(key, id)| assert!(matches!(cache.get_if_changed(key, *id), Ok(Some(Changed::Same { .. })))))
        });
    });
    group.bench_function("is_fresh", |b| b.iter(|| ids.iter().for_each(|(key, id)| assert!(cache.is_fresh(key, *id)))));
    group.finish();
}

criterion_group!(benches, reads, writes, beside_a_writer, near);
criterion_main!(benches);
