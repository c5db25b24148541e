//! Promise: a cache file gets another size while it is in use. Reads do not miss because of it, writers wait for
//! milliseconds, and nothing that was deleted, replaced or invalidated comes back.

mod common;

use common::Place;
use common::stop::Stop;
use kennel::{
    Cache, CreateOptions, Error, Expiry, Invalidation, LockStrategy, Lookup, NamespaceOptions, Options, ResizeOptions,
    SetOptions, Stored, Swap, Wait,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn at_once() -> ResizeOptions {
    ResizeOptions::new().wait(Wait::No)
}

/// Sets this many keys, whose values prove themselves.
fn fill(cache: &Cache, keys: u32) {
    (0..keys).for_each(|n| cache.set(n.to_le_bytes(), common::proof(n, 1, 100)).unwrap());
}

fn found(cache: &Cache, keys: u32) -> u32 {
    let get = |n: u32| cache.get(n.to_le_bytes()).map(|value| common::proven(n, &value));
    (0..keys).filter(|&n| get(n).is_some()).count() as u32
}

fn strategies() -> [LockStrategy; 4] {
    [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process, LockStrategy::RwFile]
}

#[test]
fn a_file_keeps_what_it_holds_at_any_size_that_has_room_for_it() {
    // So few that no bucket of the index overflows, whatever the seed: once in some million runs.
    const KEYS: u32 = 1_200;
    for locks in strategies() {
        let place = Place::new();
        let cache = Options::new().capacity(4 * MIB).mean_item(128).locks(locks.clone()).create(place.path()).unwrap();
        fill(&cache, KEYS);
        for capacity in [16 * MIB, 4 * MIB, 6 * MIB, 32 * MIB, 5 * MIB] {
            let before = cache.stats();
            let resized = cache.resize(capacity, &at_once()).unwrap();
            assert_eq!(
                (resized.capacity, resized.items),
                (capacity, KEYS.into()),
                "{locks} to {capacity}: {resized:?}"
            );
            assert_eq!(found(&cache, KEYS), KEYS, "{locks} to {capacity}");
            let after = cache.stats();
            assert_eq!((after.capacity, after.items), (capacity, KEYS.into()));
            assert!(after.counters.sets == before.counters.sets && after.counters.hits >= before.counters.hits);
            common::assert_sound(&cache);
        }
        if locks != LockStrategy::Process {
            let is_tidy = place.is_tidy(|| _ = cache.resize(6 * MIB, &at_once()).unwrap());
            assert!(is_tidy, "{locks}: {:?}", place.lock_directories());
            assert_eq!(found(&Options::new().open(place.path()).unwrap(), KEYS), KEYS);
        }
        assert!(place.names().iter().all(|name| name.starts_with("cache")), "{:?}", place.names());
    }
}

#[test]
fn the_most_used_items_stay_where_not_all_have_room() {
    let place = Place::new();
    let cache = Options::new().capacity(8 * MIB).mean_item(128).create(place.path()).unwrap();
    fill(&cache, 30_000);
    (0..3).for_each(|_| _ = found(&cache, 2_000));
    let resized = cache.resize(MIB, &at_once()).unwrap();
    assert!(resized.items < 10_000 && resized.items > 5_000, "{resized:?}");
    let hot = found(&cache, 2_000);
    assert!(hot > 1_800, "of 2000 items in use {hot} are left");
    common::assert_sound(&cache);
    // What is written from here on finds its place.
    fill(&cache, 2_000);
    assert!(found(&cache, 2_000) > 1_900);
}

#[test]
fn an_item_stays_what_it_was() {
    let place = Place::new();
    let cache = Options::new().capacity(4 * MIB).create(place.path()).unwrap();
    let pages = cache.namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(500))).unwrap();
    let how = SetOptions::new()
        .flags(7)
        .expiry(Expiry::After(Duration::from_secs(1000)))
        .soft_expiry(Expiry::After(Duration::from_secs(100)));
    let stamp = cache.set_with("flagged", "value", &how).unwrap();
    pages.set("page", "text").unwrap();
    cache.set("touched", "x").unwrap();
    cache.set("large", vec![b'l'; 100_000]).unwrap();
    cache.set("emptied", "x").unwrap();
    cache.delete("emptied").unwrap();
    cache.touch("touched", Expiry::After(Duration::from_secs(77))).unwrap();
    cache.get_or_create("created", &CreateOptions::new(), || "made").unwrap();
    pages.raise_namespace_word(2, 99).unwrap();
    let before: Vec<_> = ["flagged", "touched", "large", "created"].map(|key| cache.get_item(key).unwrap()).into();
    let (page, id) = (pages.get_item("page").unwrap(), before[0].id());

    cache.resize(64 * MIB, &at_once()).unwrap();
    let after: Vec<_> = ["flagged", "touched", "large", "created"].map(|key| cache.get_item(key).unwrap()).into();
    assert_eq!(before, after);
    assert_eq!(pages.get_item("page").unwrap(), page);
    assert_eq!((cache.get("emptied"), pages.namespace_word(2)), (None, Some(99)));
    assert_eq!(cache.namespaces(), ["pages"]);
    assert_eq!(cache.namespace_defaults("pages").unwrap().ttl, Some(Duration::from_secs(500)));
    // Near copies and compare-and-swap go on.
    assert!(matches!(cache.get_if_changed("flagged", id).unwrap(), Some(kennel::Changed::Same { .. })));
    let Swap::Stored(next) = cache.compare_and_swap("flagged", stamp, "next", &how).unwrap() else { panic!("changed") };
    assert!(next != stamp && matches!(cache.get_if_changed("flagged", id).unwrap(), Some(kennel::Changed::New(_))));
    assert_eq!(cache.compare_and_swap("flagged", stamp, "late", &how).unwrap(), Swap::Changed);
    // Invalidations before and after count.
    pages.invalidate(Invalidation::Hard).unwrap();
    assert_eq!((pages.get("page"), cache.get("created").is_some()), (None, true));
    cache.resize(4 * MIB, &at_once()).unwrap();
    assert_eq!((pages.get("page"), cache.get("created").is_some()), (None, true));
    cache.clear().unwrap();
    cache.set("young", "x").unwrap();
    let resized = cache.resize(8 * MIB, &at_once()).unwrap();
    assert_eq!((resized.items, cache.get("created"), cache.get("young").as_deref()), (1, None, Some(&b"x"[..])));
    common::assert_sound(&cache);
}

/// What threads that use a cache beside resizes share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    resizes: AtomicU64,
    additions: AtomicU64,
    longest_us: AtomicU64,
}

/// How often a thread writes until the file is resized again: so little, for four threads, that nothing is evicted, however
/// long one of them waits for its turn.
const WRITES: u32 = 500;

/// One thread that owns keys, and so knows what a read must find.
fn use_own_keys(cache: &Cache, thread: u32, shared: &Shared) {
    let mut random = common::Random(thread.into());
    let mut known = [None; 100];
    let (mut round, mut left) = (0, WRITES);
    while !shared.stop.load(Ordering::Relaxed) {
        let at = random.below(100) as usize;
        let key = thread * 1000 + at as u32;
        let get = || cache.get(key.to_le_bytes()).map(|value| common::proven(key, &value));
        assert_eq!(get(), known[at], "key {key}");
        if round != shared.resizes.load(Ordering::Relaxed) {
            (round, left) = (shared.resizes.load(Ordering::Relaxed), WRITES);
        }
        if left == 0 {
            continue;
        }
        left -= 1;
        let began = Instant::now();
        match random.below(4) {
            0 => {
                assert_eq!(cache.delete(key.to_le_bytes()).unwrap(), known[at].is_some());
                known[at] = None;
            }
            1 => {
                cache.incr("sum", 1).unwrap().unwrap();
                shared.additions.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                let counter = known[at].unwrap_or(0) + 1 + random.below(5) as u32;
                let len = [40, 100, 700][random.below(3) as usize];
                cache.set(key.to_le_bytes(), common::proof(key, counter, len)).unwrap();
                known[at] = Some(counter);
            }
        }
        shared.longest_us.fetch_max(began.elapsed().as_micros() as u64, Ordering::Relaxed);
        assert_eq!(get(), known[at], "key {key}");
    }
}

#[test]
fn writers_and_readers_beside_resizes_find_what_they_must() {
    for locks in [LockStrategy::File, LockStrategy::Lease] {
        let place = Place::new();
        let cache = Options::new().capacity(4 * MIB).mean_item(128).locks(locks.clone()).create(place.path()).unwrap();
        let other = Options::new().open(place.path()).unwrap();
        let shared = Shared::default();
        cache.set("sum", "0").unwrap();
        thread::scope(|scope| {
            let _stop = Stop(&shared.stop);
            for thread in 0..4 {
                let (cache, shared) = (if thread % 2 == 0 { &cache } else { &other }, &shared);
                scope.spawn(move || use_own_keys(cache, thread, shared));
            }
            for round in 0..12u64 {
                let capacity = [4 * MIB, 8 * MIB, 2 * MIB, 6 * MIB][round as usize % 4];
                let by = if round % 3 == 0 { &other } else { &cache };
                by.resize(capacity, &ResizeOptions::new()).unwrap();
                shared.resizes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let sum: u64 = String::from_utf8(cache.get("sum").unwrap()).unwrap().parse().unwrap();
        assert_eq!(sum, shared.additions.load(Ordering::Relaxed), "each addition counts once");
        common::assert_sound(&cache);
        println!("{locks}: the longest write took {} us", shared.longest_us.load(Ordering::Relaxed));
    }
}

/// The copy cannot follow such writers, so it goes on under the stripes' locks.
#[test]
fn a_resize_beside_writers_that_never_pause_keeps_what_they_wrote() {
    const KEYS: u32 = 3_000;
    let place = Place::new();
    let cache =
        Options::new().capacity(16 * MIB).mean_item(64).locks(LockStrategy::Lease).create(place.path()).unwrap();
    fill(&cache, 4 * KEYS);
    let stop = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let _stop = Stop(&stop);
        let (cache, stop) = (&cache, &stop);
        let write = move |first: u32| {
            let mut counters = vec![1; KEYS as usize];
            for (n, round) in (0..KEYS).cycle().zip((0..).flat_map(|round| [round; KEYS as usize])) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                counters[n as usize] = round + 2;
                cache.set((first + n).to_le_bytes(), common::proof(first + n, round + 2, 100)).unwrap();
            }
            counters
        };
        let writers: Vec<_> = (0..4).map(|thread| scope.spawn(move || write(thread * KEYS))).collect();
        for capacity in [32 * MIB, 16 * MIB] {
            let resized = cache.resize(capacity, &ResizeOptions::new()).unwrap();
            println!("took {:?}, closed for {:?}", resized.took, resized.closed_for);
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    for (key, counter) in (0..).zip(last) {
        let got = cache.get(u32::to_le_bytes(key)).map(|value| common::proven(key, &value));
        assert_eq!(got, Some(counter), "key {key}");
    }
    common::assert_sound(&cache);
}

#[test]
fn a_locked_key_is_waited_for() {
    let place = Place::new();
    let cache = Options::new().capacity(4 * MIB).create(place.path()).unwrap();
    fill(&cache, 100);
    let lock = cache.lock("job", Wait::No).unwrap();
    let refused = cache.resize(8 * MIB, &at_once()).unwrap_err();
    assert!(matches!(&refused, Error::NotResized { why, .. } if why.contains("1 key is still locked")), "{refused}");
    assert!(lock.is_protected() && cache.stats().capacity == 4 * MIB && place.lock_directories().len() == 1);
    let limit = Duration::from_millis(100);
    let began = Instant::now();
    assert!(cache.resize(8 * MIB, &ResizeOptions::new().wait(Wait::For(limit))).is_err());
    assert!(began.elapsed() >= limit);
    thread::scope(|scope| {
        let resizing = scope.spawn(|| cache.resize(8 * MIB, &ResizeOptions::new()).unwrap());
        thread::sleep(Duration::from_millis(100));
        cache.set("meanwhile", "x").unwrap();
        assert!(lock.release(), "it has protected to the end");
        assert_eq!(resizing.join().unwrap().items, 101);
    });
    assert!(cache.contains("meanwhile") && cache.lock("job", Wait::No).unwrap().is_protected());
}

#[test]
fn a_creation_in_progress_is_voided_and_its_waiter_creates() {
    let place = Place::new();
    let cache = Options::new().capacity(4 * MIB).create(place.path()).unwrap();
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    let creations = AtomicU64::new(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let create = || {
                creations.fetch_add(1, Ordering::Relaxed);
                "of the waiter"
            };
            cache.get_or_create("key", &CreateOptions::new(), create).unwrap()
        });
        thread::sleep(Duration::from_millis(100));
        assert_eq!(creations.load(Ordering::Relaxed), 0);
        let resized = cache.resize(8 * MIB, &at_once()).unwrap();
        assert_eq!(resized.voided, 1);
        assert_eq!(waiter.join().unwrap(), b"of the waiter");
    });
    assert_eq!((claim.is_protected(), claim.store("late").unwrap()), (false, Stored::Voided));
    assert_eq!(cache.get("key").as_deref(), Some(&b"of the waiter"[..]));
    assert_eq!(cache.stats().counters.voided, 1);
}

#[test]
fn what_cannot_be_resized_is_refused_and_stays_as_it_is() {
    let place = Place::new();
    let none = Options::new().capacity(MIB).locks(LockStrategy::None).create(place.dir().join("none")).unwrap();
    let refused = none.resize(2 * MIB, &at_once()).unwrap_err();
    assert!(matches!(&refused, Error::NotResized { why, .. } if why.contains("none")), "{refused}");

    let cache = Options::new().capacity(4 * MIB).stripes(4).create(place.path()).unwrap();
    fill(&cache, 100);
    let reader = Options::new().open_read_only(place.path()).unwrap();
    assert!(matches!(reader.resize(2 * MIB, &at_once()), Err(Error::ReadOnly(_))));
    for capacity in [0, 100, u64::MAX] {
        assert!(matches!(cache.resize(capacity, &at_once()), Err(Error::BadOption { .. })), "{capacity}");
    }
    assert!(matches!(cache.resize(MIB, &at_once().mean_item(0)), Err(Error::BadOption { .. })));
    assert_eq!((found(&cache, 100), cache.stats().capacity), (100, 4 * MIB));
    // It is not claimed any more.
    assert_eq!(cache.resize(2 * MIB, &at_once()).unwrap().items, 100);
    assert_eq!((reader.stats().capacity, found(&reader, 100), reader.stats().capacity), (4 * MIB, 100, 2 * MIB));
    assert_eq!(cache.stats().stripes, 4, "a number that was chosen stays");
}

#[test]
fn of_two_that_resize_one_is_refused_or_comes_second() {
    let place = Place::new();
    let cache = Options::new().capacity(4 * MIB).create(place.path()).unwrap();
    let other = Options::new().open(place.path()).unwrap();
    fill(&cache, 1_000);
    let lock = cache.lock("key", Wait::No).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| cache.resize(8 * MIB, &ResizeOptions::new()));
        thread::sleep(Duration::from_millis(200));
        for second in [&cache, &other] {
            let refused = second.resize(2 * MIB, &at_once()).unwrap_err();
            assert!(matches!(&refused, Error::NotResized { why, .. } if why.contains("already")), "{refused}");
        }
        drop(lock);
        first.join().unwrap().unwrap();
    });
    assert_eq!(other.resize(2 * MIB, &at_once()).unwrap().capacity_before, 8 * MIB);
    assert_eq!((found(&cache, 1_000), found(&other, 1_000)), (1_000, 1_000));
}

#[test]
fn batches_beside_resizes_write_each_item_once_and_in_order() {
    for locks in [LockStrategy::File, LockStrategy::Lease] {
        let place = Place::new();
        let cache = Options::new().capacity(4 * MIB).locks(locks).create(place.path()).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = Stop(&stop);
            for thread in 0..2u32 {
                let (cache, stop) = (cache.clone(), &stop);
                scope.spawn(move || {
                    for round in 1.. {
                        let key = |n: u32| (thread * 100 + n).to_le_bytes();
                        // Each key twice: the last value wins.
                        let items: Vec<_> = [round * 2, round * 2 + 1]
                            .iter()
                            .flat_map(|&counter| (0..50).map(move |n| (key(n), counter.to_string())))
                            .collect();
                        cache.set_multi(&items, &SetOptions::new()).into_iter().for_each(Result::unwrap);
                        let last = (round * 2 + 1).to_string();
                        (0..50).for_each(|n| assert_eq!(cache.get(key(n)).as_deref(), Some(last.as_bytes())));
                        let keys: Vec<_> = (0..50).map(key).collect();
                        let deleted = cache.delete_multi(&keys);
                        assert!(deleted.into_iter().all(|deleted| deleted.unwrap()));
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
            }
            for round in 0..20 {
                cache.resize([8, 4, 6][round % 3] * MIB, &at_once()).unwrap();
            }
        });
        common::assert_sound(&cache);
    }
}

#[test]
fn invalidations_beside_resizes_hold() {
    let place = Place::new();
    let cache = Options::new().capacity(4 * MIB).create(place.path()).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for thread in 0..3 {
            let (cache, stop) = (cache.clone(), &stop);
            scope.spawn(move || {
                let own = cache.namespace(&format!("of {thread}"), &NamespaceOptions::new()).unwrap();
                let mut raised = 0;
                while !stop.load(Ordering::Relaxed) {
                    own.set("key", "value").unwrap();
                    own.invalidate(Invalidation::Hard).unwrap();
                    assert_eq!(own.get("key"), None, "an invalidated value came back");
                    raised += 1;
                    assert!(own.raise_namespace_word(0, raised).unwrap() < raised, "nobody else raises it");
                    assert_eq!(own.namespace_word(0), Some(raised));
                }
            });
        }
        for round in 0..40 {
            cache.resize([8, 4, 6][round % 3] * MIB, &at_once()).unwrap();
        }
    });
    common::assert_sound(&cache);
}

#[test]
fn a_flush_beside_resizes_holds_and_outlives_a_resize() {
    let place = Place::new();
    let cache = Options::new().capacity(4 * MIB).create(place.path()).unwrap();
    fill(&cache, 1_000);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(cache.flush().unwrap(), "nobody writes");
            }
        });
        for round in 0..10 {
            cache.resize([8, 4, 6][round % 3] * MIB, &at_once()).unwrap();
        }
    });
    assert!(cache.flush().unwrap());
    cache.resize(5 * MIB, &at_once()).unwrap();
    drop(cache);
    // A restart of the host believes the flush.
    let again = Options::new().boot_id([1, 2]).open(place.path()).unwrap();
    assert_eq!(found(&again, 1_000), 1_000);
    again.set("key", "value").unwrap();
    again.resize(6 * MIB, &at_once()).unwrap();
    drop(again);
    assert_eq!(found(&Options::new().boot_id([3, 4]).open(place.path()).unwrap(), 1_000), 0);
}
