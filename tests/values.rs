//! Self-proving values, written and read by several threads at the same time: no hit is torn, mixed, foreign, or older
//! than the writes that were complete when the read began.

mod common;

use common::stop::Stop;
use common::{Place, Random, assert_sound, proof, proven};
use kennel::{Cache, Expiry, LockStrategy, Options, SetOptions, Swap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Few keys, in one or two buckets: every write is next to every read.
const KEYS: u32 = 5;
const WRITERS: u64 = 3;
const READERS: u64 = 2;
const WRITES: u32 = if cfg!(kennel_tsan) { 500 } else { 3000 };
/// Lengths around the limit for overwriting in place (512 with header and key), around the length from which copies use
/// vectors (256), and far beyond a page.
const SIZES: [usize; 20] =
    [8, 8, 16, 64, 192, 248, 256, 264, 312, 320, 328, 464, 472, 480, 488, 512, 520, 4096, 20_008, 65_536];

/// The facts about a key that are kept beside the cache.
#[derive(Default)]
struct Known {
    /// The last counter that was drawn; locked during the write, so that counters enter the cache in order.
    drawn: Mutex<u32>,
    started: AtomicU32,
    /// Writes up to this counter are complete: a read must not return an older value.
    complete: AtomicU32,
}

fn write(cache: &Cache, known: &[Known], random: &mut Random) {
    let key = random.below(KEYS.into()) as u32;
    let known = &known[key as usize];
    let mut drawn = known.drawn.lock().unwrap();
    *drawn += 1;
    known.started.store(*drawn, Ordering::SeqCst);
    if random.below(16) == 0 {
        cache.delete(key.to_le_bytes()).unwrap();
    } else {
        cache.set(key.to_le_bytes(), proof(key, *drawn, random.pick(&SIZES))).unwrap();
    }
    known.complete.store(*drawn, Ordering::SeqCst);
}

/// One read in one of its forms. Returns whether it hit.
fn read(cache: &Cache, known: &[Known], last: &mut [u32], random: &mut Random, buf: &mut [u8]) -> bool {
    let key = random.below(KEYS.into()) as u32;
    let known = &known[key as usize];
    let least = known.complete.load(Ordering::SeqCst).max(last[key as usize]);
    let value = match random.below(4) {
        0 => cache.get_into(key.to_le_bytes(), buf).unwrap().map(|len| buf[..len].to_vec()),
        1 => cache.get_item(key.to_le_bytes()).map(|item| item.value),
        2 => cache.get_multi(&[key.to_le_bytes()]).remove(0),
        _ => cache.get(key.to_le_bytes()),
    };
    let Some(value) = value else { return false };
    assert!(SIZES.contains(&value.len()), "a value of {} bytes was never set", value.len());
    let counter = proven(key, &value);
    let most = known.started.load(Ordering::SeqCst);
    assert!((least..=most).contains(&counter), "key {key}: {counter} is not from {least} to {most}");
    last[key as usize] = counter;
    true
}

fn check(strategy: LockStrategy, verify_reads: bool) {
    let place = Place::new();
    // One stripe, and a main ring for some ten of the largest records, which wraps around all the time.
    let options = Options::new()
        .capacity(1 << 20)
        .stripes(1)
        .mean_item(64 << 10)
        .locks(strategy.clone())
        .verify_reads(verify_reads)
        .lock_wait(Duration::from_secs(60));
    let first = options.create(place.path()).unwrap();
    // If the strategy allows it, half of the threads use another open file.
    let second = match strategy {
        LockStrategy::Process => first.clone(),
        _ => options.open(place.path()).unwrap(),
    };
    // Under Wine each lock is a call to another process, and a stream of readers excludes the writers of this strategy.
    let writes = if cfg!(windows) && matches!(strategy, LockStrategy::RwFile) { WRITES / 10 } else { WRITES };
    let handle = |n: u64| if n.is_multiple_of(2) { &first } else { &second };
    let known: Vec<Known> = (0..KEYS).map(|_| Known::default()).collect();
    let (known, over, hits) = (&known[..], AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|readers| {
        for n in 0..READERS {
            let (cache, over, hits) = (handle(n), &over, &hits);
            readers.spawn(move || {
                let (mut random, mut last, mut buf) = (Random(!n), [0; KEYS as usize], vec![0; 64 << 10]);
                while !over.load(Ordering::SeqCst) {
                    let hit = read(cache, known, &mut last, &mut random, &mut buf);
                    hits.fetch_add(hit.into(), Ordering::SeqCst);
                }
            });
        }
        let _over = Stop(&over);
        thread::scope(|writers| {
            for n in 0..WRITERS {
                let cache = handle(n);
                writers.spawn(move || {
                    let mut random = Random(n);
                    (0..writes).for_each(|_| write(cache, known, &mut random));
                });
            }
        });
    });
    // All writers and readers are done: every handle must see a value that is set now.
    let mut random = Random(99);
    for key in 0..KEYS {
        cache_has_last(&first, &second, &known[key as usize], key, random.pick(&SIZES));
    }
    let stats = first.stats();
    assert!(hits.load(Ordering::SeqCst) > 100, "{hits:?} hits prove too little");
    assert!(stats.counters.sets > u64::from(writes), "{stats:?}");
    assert_eq!((stats.counters.dropped, stats.counters.repairs), (0, 0));
    assert_sound(&first);
    assert_sound(&second);
}

fn cache_has_last(first: &Cache, second: &Cache, known: &Known, key: u32, size: usize) {
    let counter = *known.drawn.lock().unwrap() + 1;
    first.set(key.to_le_bytes(), proof(key, counter, size)).unwrap();
    for cache in [first, second] {
        assert_eq!(cache.get(key.to_le_bytes()).map(|value| proven(key, &value)), Some(counter));
    }
}

#[test]
fn no_hit_is_torn_or_old_with_strategy_file() {
    check(LockStrategy::File, false);
}

#[test]
fn no_hit_is_torn_or_old_with_strategy_lease() {
    check(LockStrategy::Lease, false);
}

#[test]
fn no_hit_is_torn_or_old_with_strategy_process() {
    check(LockStrategy::Process, false);
}

#[test]
fn no_hit_is_torn_or_old_with_strategy_rw_file() {
    check(LockStrategy::RwFile, false);
}

#[test]
fn no_hit_is_torn_or_old_when_checksums_are_verified() {
    check(LockStrategy::Process, true);
}

#[test]
fn sums_of_many_threads_are_all_counted() {
    let place = Place::new();
    let cache = Options::new().capacity(1 << 20).create(place.path()).unwrap();
    let other = Options::new().open(place.path()).unwrap();
    cache.set("sum", "0").unwrap();
    thread::scope(|scope| {
        for cache in [&cache, &cache, &other, &other] {
            scope.spawn(|| {
                for _ in 0..500 {
                    cache.incr("sum", 3).unwrap().unwrap();
                    cache.decr("sum", 1).unwrap().unwrap();
                }
            });
        }
    });
    assert_eq!(cache.get("sum").as_deref(), Some(&b"4000"[..]));
}

#[test]
fn of_many_who_add_a_key_one_does() {
    let place = Place::new();
    let cache = Options::new().capacity(1 << 20).create(place.path()).unwrap();
    let other = Options::new().open(place.path()).unwrap();
    let added = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (n, cache) in [&cache, &cache, &other, &other].into_iter().enumerate() {
            let added = &added;
            scope.spawn(move || {
                for key in 0..300u32 {
                    let how = kennel::SetOptions::new();
                    if cache.add(key.to_le_bytes(), [n as u8; 9], &how).unwrap() {
                        added.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!((added.into_inner(), cache.stats().items), (300, 300));
}

/// Only reads counted as use: a counter that was never read was evicted.
#[test]
fn what_is_counted_swapped_or_touched_is_not_evicted() {
    let place = Place::new();
    let cache = Options::new().capacity(1 << 20).stripes(1).create(place.path()).unwrap();
    let how = SetOptions::new();
    cache.set("counter", "0").unwrap();
    cache.set("touched", "x").unwrap();
    let mut stamp = cache.set_with("swapped", "0", &how).unwrap();
    for n in 0..60_000u32 {
        cache.set(n.to_le_bytes(), [1; 100]).unwrap();
        if n.is_multiple_of(1000) {
            let round = u64::from(n / 1000 + 1);
            assert_eq!(cache.incr("counter", 1).unwrap(), Some(round), "after {n} sets");
            assert!(cache.touch("touched", Expiry::Never).unwrap(), "after {n} sets");
            stamp = match cache.compare_and_swap("swapped", stamp, round.to_string(), &how).unwrap() {
                Swap::Stored(stamp) => stamp,
                other => panic!("{other:?} after {n} sets"),
            };
        }
    }
}
