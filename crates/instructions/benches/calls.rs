//! Instruction counts of the most important calls. `cargo xtask instructions` runs this.
//!
//! Each function makes its call [`TIMES`] times on a cache that was prepared before; only these calls are counted.
//! Counts hardly vary from run to run, unlike times on a machine that does other things, too. They leave out memory: a
//! call with fewer instructions that touches one more cache line is slower.
#![allow(missing_docs, reason = "macros make items without")]

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use kennel::{Cache, CreateOptions, Options, SetOptions};
use std::hint::black_box;
use tempfile::TempDir;

const TIMES: u64 = 100;
const KEYS: u64 = 1_000;
const VALUE: [u8; 64] = [7; 64];

struct Stage {
    cache: Cache,
    _directory: TempDir,
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"item:000........";
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

/// Uses the locks of one process: instruction counts do not include the cost of system calls.
fn stage() -> Stage {
    stage_with(kennel::LockStrategy::Process, &SetOptions::new())
}

fn stage_under_lease() -> Stage {
    stage_with(kennel::LockStrategy::Lease, &SetOptions::new())
}

fn stage_with_flags() -> Stage {
    stage_with(kennel::LockStrategy::Process, &SetOptions::new().flags(7))
}

fn stage_with_tags() -> Stage {
    stage_with(kennel::LockStrategy::Process, &SetOptions::new().tags(&["user:42", "layout"]))
}

fn stage_with(locks: kennel::LockStrategy, how: &SetOptions) -> Stage {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new().capacity(1 << 20).mean_item(80).seed(1).locks(locks);
    let cache = options.create(directory.path().join("cache")).expect("a cache");
    (0..KEYS).for_each(|number| _ = cache.set_with(key(number), VALUE, how).expect("a set"));
    // Get the one-time work of first reads done: this thread's counters, and the access marks of all items.
    for _ in 0..4 {
        (0..KEYS).for_each(|number| assert!(cache.contains(key(number))));
    }
    Stage { cache, _directory: directory }
}

#[library_benchmark(setup = stage)]
#[bench::hundred()]
fn get_into_hit(stage: Stage) -> Stage {
    let mut into = VALUE;
    for number in 0..TIMES {
        assert!(stage.cache.get_into(black_box(key(number)), black_box(&mut into)).is_ok_and(|found| found.is_some()));
    }
    stage
}

#[library_benchmark(setup = stage)]
#[bench::hundred()]
fn get_into_miss(stage: Stage) -> Stage {
    let mut into = VALUE;
    for number in KEYS..KEYS + TIMES {
        assert!(stage.cache.get_into(black_box(key(number)), black_box(&mut into)).is_ok_and(|found| found.is_none()));
    }
    stage
}

#[library_benchmark(setup = stage_with_flags)]
#[bench::hundred()]
fn get_into_with_flags(stage: Stage) -> Stage {
    let mut into = VALUE;
    for number in 0..TIMES {
        assert!(stage.cache.get_into(black_box(key(number)), black_box(&mut into)).is_ok_and(|found| found.is_some()));
    }
    stage
}

#[library_benchmark(setup = stage_with_tags)]
#[bench::hundred()]
fn get_into_tagged(stage: Stage) -> Stage {
    let mut into = VALUE;
    for number in 0..TIMES {
        assert!(stage.cache.get_into(black_box(key(number)), black_box(&mut into)).is_ok_and(|found| found.is_some()));
    }
    stage
}

#[library_benchmark(setup = stage)]
#[bench::hundred()]
fn set_overwrite(stage: Stage) -> Stage {
    for number in 0..TIMES {
        assert!(stage.cache.set(black_box(key(number)), black_box(VALUE)).is_ok());
    }
    stage
}

// One lock word: no system call.
#[library_benchmark(setup = stage_under_lease)]
#[bench::hundred()]
fn set_overwrite_lease(stage: Stage) -> Stage {
    for number in 0..TIMES {
        assert!(stage.cache.set(black_box(key(number)), black_box(VALUE)).is_ok());
    }
    stage
}

#[library_benchmark(setup = stage)]
#[bench::hundred()]
fn set_new(stage: Stage) -> Stage {
    for number in KEYS..KEYS + TIMES {
        assert!(stage.cache.set(black_box(key(number)), black_box(VALUE)).is_ok());
    }
    stage
}

#[library_benchmark(setup = stage)]
#[bench::hundred()]
fn get_or_create_hit(stage: Stage) -> Stage {
    let how = CreateOptions::new();
    for number in 0..TIMES {
        let never = || -> Vec<u8> { panic!("the key has a value") };
        assert!(stage.cache.get_or_create(black_box(key(number)), black_box(&how), never).is_ok());
    }
    stage
}

#[library_benchmark(setup = stage)]
#[bench::hundred()]
fn get_or_create_new(stage: Stage) -> Stage {
    let how = CreateOptions::new();
    for number in KEYS..KEYS + TIMES {
        assert!(stage.cache.get_or_create(black_box(key(number)), black_box(&how), || black_box(&VALUE)).is_ok());
    }
    stage
}

fn stage_with_keys() -> (Stage, Vec<[u8; 16]>) {
    (stage(), (0..16).map(key).collect())
}

// Six batches of 16.
#[library_benchmark(setup = stage_with_keys)]
#[bench::hundred()]
fn get_multi_of_16((stage, keys): (Stage, Vec<[u8; 16]>)) -> Stage {
    for _ in 0..TIMES / 16 {
        assert!(black_box(stage.cache.get_multi(black_box(&keys))).iter().all(Option::is_some));
    }
    stage
}

#[library_benchmark(setup = stage_with_keys)]
#[bench::hundred()]
fn set_multi_of_16((stage, keys): (Stage, Vec<[u8; 16]>)) -> Stage {
    let items: Vec<_> = keys.iter().map(|key| (key, VALUE)).collect();
    for _ in 0..TIMES / 16 {
        let how = SetOptions::new();
        assert!(black_box(stage.cache.set_multi(black_box(&items), &how)).iter().all(Result::is_ok));
    }
    stage
}

/// A namespace with a value, as a near tier uses it: two words of the namespace vouch for the value.
fn stage_with_words() -> (Stage, Cache) {
    let stage = stage();
    let near = stage.cache.namespace("near", &kennel::NamespaceOptions::new()).expect("a namespace");
    (0..2).for_each(|index| _ = near.raise_namespace_word(index, 7).expect("a word"));
    near.set(key(0), VALUE).expect("a set");
    let mut into = VALUE;
    for _ in 0..4 {
        assert!(
            near.namespace_word(0).is_some() && near.get_into(key(0), &mut into).is_ok_and(|found| found.is_some())
        );
    }
    (stage, near)
}

// What a near hit costs in the engine; the look at the clock comes on top.
#[library_benchmark(setup = stage_with_words)]
#[bench::hundred()]
fn near_hit((stage, near): (Stage, Cache)) -> (Stage, Cache) {
    let mut into = VALUE;
    for _ in 0..TIMES {
        let vouch = |words: [u64; 2]| (words == [7, 7]).then_some(black_box(1));
        let found = near.get_into_vouched(black_box(key(0)), black_box(&mut into), vouch);
        assert!(found.is_ok_and(|found| found.is_some()));
    }
    (stage, near)
}

// Hits through a namespace.
#[library_benchmark(setup = stage_with_words)]
#[bench::hundred()]
fn get_into_namespace((stage, near): (Stage, Cache)) -> (Stage, Cache) {
    let mut into = VALUE;
    for _ in 0..TIMES {
        let found = near.get_into(black_box(key(0)), black_box(&mut into));
        assert!(found.is_ok_and(|found| found.is_some()));
    }
    (stage, near)
}

// Looks at a value that has not changed.
#[library_benchmark(setup = stage)]
#[bench::hundred()]
fn unchanged(stage: Stage) -> Stage {
    let known = stage.cache.get_item(key(0)).expect("an item").id();
    for _ in 0..TIMES {
        let found = stage.cache.get_if_changed(black_box(key(0)), known);
        assert!(matches!(found, Ok(Some(kennel::Changed::Same { is_stale: false }))));
    }
    stage
}

library_benchmark_group!(
    name = calls,
    benchmarks = [
        get_into_hit,
        get_into_miss,
        get_into_with_flags,
        get_into_tagged,
        near_hit,
        get_into_namespace,
        unchanged,
        set_overwrite,
        set_overwrite_lease,
        set_new,
        get_multi_of_16,
        set_multi_of_16,
        get_or_create_hit,
        get_or_create_new
    ]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = calls
);
