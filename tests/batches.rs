//! Batches: one time limit for waiting, whatever their size, and no code of the caller under a lock.

mod common;

use common::{Place, assert_sound, children};
use kennel::{Cache, Clock, CreateOptions, LockStrategy, Options, SetOptions};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(64).mean_item(64)
}

/// A key or a value that writes to its cache whenever its bytes are requested.
struct Nosy<'a> {
    cache: &'a Cache,
    bytes: String,
}

impl AsRef<[u8]> for Nosy<'_> {
    fn as_ref(&self) -> &[u8] {
        self.cache.set("asked", &self.bytes).unwrap();
        self.bytes.as_bytes()
    }
}

#[test]
fn the_callers_own_code_runs_under_no_lock() {
    let shared = [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process];
    for strategy in shared {
        let place = Place::new();
        let options = options().stripes(1).locks(strategy.clone()).lock_wait(Duration::from_millis(200));
        let cache = options.create(place.path()).unwrap();
        let nosy = |n: u32| Nosy { cache: &cache, bytes: format!("item {n}") };
        let items: Vec<_> = (0..8).map(|n| (nosy(n), nosy(n))).collect();
        let keys = || (0..8).map(nosy).collect::<Vec<_>>();
        for result in cache.set_multi(&items, &SetOptions::new()) {
            result.unwrap_or_else(|error| panic!("{strategy}: {error}"));
        }
        assert!(cache.get_multi(&keys()).iter().all(Option::is_some));
        let how = CreateOptions::new();
        let create =
            |missing: &[&Nosy<'_>]| missing.iter().map(|key| Some(key.bytes.as_bytes().to_vec())).collect::<Vec<_>>();
        assert!(cache.get_or_create_multi(&keys(), &how, create).unwrap().iter().all(Option::is_some));
        let namespace = cache.namespace("r", &kennel::NamespaceOptions::new()).unwrap();
        assert!(namespace.set_multi(&items, &SetOptions::new()).iter().all(Result::is_ok));
        assert!(cache.delete_multi(&keys()).into_iter().all(Result::unwrap));
        assert_sound(&cache);
    }
}

/// A clock that uses the cache whenever it is asked for the time, except while it does so already.
#[derive(Default)]
struct NosyClock {
    cache: OnceLock<Cache>,
    asked: AtomicU64,
}

thread_local! {
    static IS_ASKED: Cell<bool> = const { Cell::new(false) };
}

impl Clock for NosyClock {
    fn now(&self) -> SystemTime {
        if let Some(cache) = self.cache.get()
            && !IS_ASKED.replace(true)
        {
            self.asked.fetch_add(1, Ordering::Relaxed);
            cache.set("asked", "for the time").unwrap();
            IS_ASKED.set(false);
        }
        SystemTime::now()
    }
}

#[test]
fn a_clock_may_use_the_cache() {
    for strategy in [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process, LockStrategy::RwFile] {
        let (place, clock) = (Place::new(), Arc::new(NosyClock::default()));
        let options = options().stripes(1).locks(strategy).lock_wait(Duration::from_millis(200)).clock(clock.clone());
        let cache = options.create(place.path()).unwrap();
        assert!(clock.cache.set(cache.clone()).is_ok());
        let hour = kennel::Expiry::After(Duration::from_secs(3600));
        let how = SetOptions::new().expiry(hour);
        // Each of these checks the expiry of the present item, under the lock.
        for n in 0..4 {
            cache.set_with("number", n.to_string(), &how).unwrap();
            assert_eq!(cache.incr("number", 1).unwrap(), Some(n + 1));
            assert!(cache.replace("number", "7", &how).unwrap() && !cache.add("number", "8", &how).unwrap());
            assert!(cache.touch("number", hour).unwrap() && cache.delete("number").unwrap());
            let create =
                CreateOptions::new().expiry(hour).soft_expiry(kennel::Expiry::After(Duration::ZERO)).early_refresh(1.0);
            let made = || b"value".to_vec();
            assert_eq!(cache.get_or_create("created", &create, made).unwrap(), b"value");
        }
        // Evictions at the tails of full rings.
        for n in 0..20_000 {
            cache.set_with(format!("key {n}"), "value", &how).unwrap();
        }
        assert!(clock.asked.load(Ordering::Relaxed) > 20_000);
        assert_sound(&cache);
    }
}

/// Longer than the value before, so that it needs a new record.
#[cfg(feature = "crash-points")]
const CHANGED: &str = "a value that is written to another place";

/// A process that dies between two stores leaves a bucket that readers must handle.
#[cfg(feature = "crash-points")]
#[test]
fn room_for_a_value_is_made_under_no_lock() {
    for strategy in [LockStrategy::File, LockStrategy::Lease, LockStrategy::RwFile] {
        let place = Place::new();
        let options = options().stripes(1).locks(strategy).lock_wait(Duration::from_millis(200));
        let cache = options.create(place.path()).unwrap();
        cache.set("key", "value").unwrap();
        children::start("die", &[children::arg(cache.path())]).wait_with_input();
        let found = cache.get_with("key", |len| {
            cache.set("other", "value").unwrap();
            vec![0; len]
        });
        assert_eq!(found.unwrap().as_deref(), Some(CHANGED.as_bytes()));
        assert_sound(&cache);
    }
}

#[test]
fn child() {
    children::serve(|task, args| match task {
        #[cfg(feature = "crash-points")]
        "die" => {
            use kennel::crash::{Plan, Step, arm};
            let cache = Options::new().open(args[0]).unwrap();
            arm(Some(Step::BucketEven), 0, Plan::Kill);
            let _ = cache.set("key", CHANGED);
        }
        _ => panic!("no task {task} {args:?}"),
    });
}

#[test]
fn room_that_is_too_small_is_an_error() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let namespace = cache.namespace("r", &kennel::NamespaceOptions::new()).unwrap();
    namespace.set("key", "value").unwrap();
    for found in [cache.get_with("key", |_| [0; 3].to_vec()), namespace.get_with("key", |_| [0; 3].to_vec())] {
        assert!(matches!(found, Err(kennel::Error::BufferTooSmall { needed: 5, given: 3 })), "{found:?}");
    }
    let mut large = cache.get_with("key", |len| vec![9; len + 1]).unwrap().unwrap();
    assert_eq!(large.split_off(5), [9], "room may be larger");
    assert_eq!((large, cache.get_with("none", |len| vec![0; len]).unwrap()), (b"value".to_vec(), None));
}

/// Every strategy that needs no code of the caller.
fn strategies() -> [LockStrategy; 5] {
    [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process, LockStrategy::None, LockStrategy::RwFile]
}

#[test]
fn what_cannot_be_written_is_told_in_its_place() {
    for strategy in strategies() {
        let place = Place::new();
        let cache = options().locks(strategy).create(place.path()).unwrap();
        let (large, long) = ("v".repeat(1 << 20), "k".repeat(70_000));
        let items = [("a", "1"), ("b", &large), (&long, "3"), ("a", "4")];
        let results = cache.set_multi(&items, &SetOptions::new());
        assert!(matches!(
            &results[..],
            [Ok(()), Err(kennel::Error::TooLarge { .. }), Err(kennel::Error::KeyTooLong { .. }), Ok(())]
        ));
        assert_eq!(cache.get("a").as_deref(), Some(&b"4"[..]));
        let results = cache.delete_multi(&["b", &long, "a", "a"]);
        assert!(matches!(&results[..], [Ok(false), Err(kennel::Error::KeyTooLong { .. }), Ok(true), Ok(false)]));
    }
}

#[test]
fn a_batch_of_any_size_has_its_results_in_order_and_keeps_the_last_of_equal_keys() {
    for strategy in strategies() {
        let place = Place::new();
        let cache = options().locks(strategy.clone()).create(place.path()).unwrap();
        for size in [0, 1, 15, 16, 17, 64, 65, 300u32] {
            // Each key occurs up to three times; the first value of some of them is too large.
            let key = |n: u32| format!("{size}: {}", n % size.div_ceil(3).max(1));
            let value = |n: u32| if n % 7 == 6 { "v".repeat(1 << 20) } else { n.to_string() };
            let items: Vec<_> = (0..size).map(|n| (key(n), value(n))).collect();
            let results = cache.set_multi(&items, &SetOptions::new());
            let stored: Vec<bool> = results.iter().map(Result::is_ok).collect();
            assert_eq!(stored, (0..size).map(|n| n % 7 != 6).collect::<Vec<_>>(), "{strategy}, {size}");
            for (n, (key, _)) in (0..size).zip(&items) {
                let last = (0..size).filter(|m| m % 7 != 6 && items[*m as usize].0 == *key).max();
                let expected = last.map(|n| n.to_string().into_bytes());
                assert_eq!(cache.get(key), expected, "{strategy}, {size}: item {n}");
            }
            let keys: Vec<_> = items.iter().map(|item| &item.0).collect();
            let present: Vec<bool> = keys.iter().map(|key| cache.contains(key)).collect();
            let deleted = cache.delete_multi(&keys);
            for (n, deleted) in deleted.into_iter().enumerate() {
                let is_first = !keys[..n].contains(&keys[n]);
                assert_eq!(deleted.unwrap(), is_first && present[n], "{strategy}, {size}: key {n}");
            }
        }
        assert_sound(&cache);
    }
}

#[test]
fn a_batch_creates_only_what_is_missing() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let namespace = cache.namespace("r", &kennel::NamespaceOptions::new()).unwrap();
    for handle in [&cache, &namespace] {
        let keys: Vec<_> = (0..40).map(|n| format!("key {}", n % 30)).collect();
        let (there, how) = (|n: u32| !n.is_multiple_of(3), CreateOptions::new());
        (0..30).filter(|&n| there(n)).for_each(|n| handle.set(&keys[n as usize], "there").unwrap());
        let before = cache.stats().counters;
        let create = |missing: &[&String]| {
            assert_eq!(missing.len(), 10);
            assert!(missing.is_sorted_by_key(|key| keys.iter().position(|other| other == *key)), "{missing:?}");
            missing.iter().map(|_| Some(b"created")).collect::<Vec<_>>()
        };
        let values = handle.get_or_create_multi(&keys, &how, create).unwrap();
        for (n, value) in (0..30).chain(0..10).zip(values) {
            assert_eq!(value.as_deref(), Some(if there(n) { &b"there"[..] } else { b"created" }), "key {n}");
        }
        let after = cache.stats().counters;
        let hits = (0..30).chain(0..10).filter(|&n| there(n)).count() as u64;
        assert_eq!((after.hits - before.hits, after.misses - before.misses), (hits, 10));
        let never = |_: &[&String]| -> Vec<Option<&[u8]>> { panic!("all are there") };
        assert!(handle.get_or_create_multi(&keys, &how, never).unwrap().iter().all(Option::is_some));
        assert_eq!(cache.stats().counters.hits - after.hits, 40);
    }
}

/// All stripes have one lock, and a thread that stops in the middle of a write keeps it, as a stopped process does.
#[cfg(all(unix, feature = "crash-points"))]
#[test]
fn a_batch_waits_as_long_as_one_write() {
    use kennel::crash::{Plan, Step, arm};
    use kennel::{Error, Wait};
    use std::time::Instant;
    const LOCK_WAIT: Duration = Duration::from_millis(200);
    common::must_end("a batch beside a stopped writer", || {
        [LockStrategy::File, LockStrategy::Lease].into_iter().for_each(beside_a_stopped_writer);
    });

    fn beside_a_stopped_writer(strategy: LockStrategy) {
        let place = Place::new();
        let options = options().locks(strategy).lock_regions(1).lock_wait(LOCK_WAIT);
        let cache = options.create(place.path()).unwrap();
        let keys: Vec<_> = (0..128).map(|n| format!("key {n}")).collect();
        let claims: Vec<_> =
            keys.iter().map(|key| cache.claim(format!("{key} claimed"), &CreateOptions::new())).collect();
        let stopped = cache.clone();
        std::thread::spawn(move || {
            arm(Some(Step::Head), 0, Plan::Stop);
            let _ = stopped.set("other", "value");
        });
        while cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let within = |what: &str, work: &dyn Fn()| {
            let start = Instant::now();
            work();
            let (took, each) = (start.elapsed(), LOCK_WAIT * keys.len() as u32);
            assert!(took < each / 4, "{what}: {took:?}, where a wait for each would be {each:?}");
        };
        let is_busy = |error: &Error| matches!(error, Error::Busy { waited, .. } if *waited <= LOCK_WAIT);
        within("set_multi", &|| {
            let items: Vec<_> = keys.iter().map(|key| (key, "value")).collect();
            let results = cache.set_multi(&items, &SetOptions::new());
            assert!(results.iter().all(|result| result.as_ref().is_err_and(is_busy)), "{results:?}");
        });
        within("delete_multi", &|| {
            assert!(cache.delete_multi(&keys).iter().all(|result| result.as_ref().is_err_and(is_busy)));
        });
        for wait in [Wait::No, Wait::Forever, Wait::For(Duration::from_secs(1))] {
            within("get_or_create_multi", &|| {
                let how = CreateOptions::new().wait(wait).or_uncached(true);
                let create = |missing: &[&String]| missing.iter().map(|_| Some(b"value")).collect::<Vec<_>>();
                let found = cache.get_or_create_multi(&keys, &how, create).unwrap();
                assert!(found.iter().all(Option::is_some));
            });
        }
        within("verify", &|| assert!(!cache.verify().unchecked.is_empty()));
        assert!(cache.stats().counters.busy >= 128);
        std::mem::forget((claims, cache, place));
    }
}
