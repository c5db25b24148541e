//! Stale values: when a value counts as stale, how it is created anew, in the background or early, and what that costs
//! its readers. A read that gets a stale value takes no lock, waits for no other caller, and does not repeat a creation
//! that has just failed.

mod common;

use common::children::{self, arg, say};
use common::{Place, TestClock, assert_sound, small_options};
use kennel::locks::{LockError, LockFactory, LockPlace, LockRegions};
use kennel::{
    Cache, CreateOptions, Created, Error, Expiry, LockStrategy, Lookup, NamespaceOptions, Options, SetOptions, Stored,
    Wait,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const NOW: u64 = 1_700_000_000_000;

fn options() -> Options {
    Options::new().capacity(256 << 10).stripes(1).mean_item(64).seats(16)
}

fn ok(value: &str) -> Result<Vec<u8>, Infallible> {
    Ok(value.as_bytes().to_vec())
}

fn ttl(ms: u64) -> Expiry {
    Expiry::After(Duration::from_millis(ms))
}

/// Options with which a created value is stale immediately.
fn stale() -> CreateOptions {
    CreateOptions::new().soft_expiry(Expiry::After(Duration::ZERO)).wait(Wait::Forever)
}

/// A cache whose `key` is stale.
fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.get_or_create("key", &stale(), || ok("stale")).unwrap();
    (place, cache)
}

#[test]
fn child() {
    children::serve(|task, args| {
        let cache = options().open(args[0]).unwrap();
        match task {
            "claim" => {
                let Lookup::Create(_claim) = cache.claim("key", &stale()).unwrap() else { panic!("it is stale") };
                say("claimed");
                children::wait_for_word();
            }
            _ => panic!("no task {task}"),
        }
    });
}

/// Locks of one process that count the attempts to acquire one.
#[derive(Default)]
struct Counting {
    asked: AtomicU32,
    is_held: AtomicBool,
}

/// A strategy and its attachment, which share these locks.
struct Shared(Arc<Counting>);

impl LockFactory for Shared {
    fn name(&self) -> &str {
        "counting"
    }

    fn id(&self) -> u64 {
        1_000
    }

    fn prepare(&self, _: &LockPlace) -> std::io::Result<()> {
        Ok(())
    }

    fn attach(&self, _: &LockPlace) -> std::io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(Shared(self.0.clone())))
    }
}

impl LockRegions for Shared {
    fn lock(&self, _: u32, limit: Duration) -> Result<(), LockError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while self.0.is_held.swap(true, Ordering::Acquire) {
            if start.elapsed() >= limit {
                return Err(LockError::Busy);
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn unlock(&self, _: u32) {
        self.0.is_held.store(false, Ordering::Release);
    }
}

/// Each lock of strategy `file` costs a system call, and may cost a wait.
#[test]
fn a_stale_hit_takes_no_lock_while_another_creates() {
    let place = Place::new();
    let locks = Arc::new(Counting::default());
    let strategy = LockStrategy::Custom(Arc::new(Shared(locks.clone())));
    let cache = options().locks(strategy).create(place.path()).unwrap();
    cache.get_or_create("key", &stale(), || ok("stale")).unwrap();
    let Lookup::Create(claim) = cache.claim("key", &stale()).unwrap() else { panic!("it is stale") };
    let before = locks.asked.load(Ordering::SeqCst);
    for _ in 0..1_000 {
        assert!(matches!(cache.claim("key", &stale()).unwrap(), Lookup::Stale(item) if item.value == b"stale"));
    }
    assert_eq!(locks.asked.load(Ordering::SeqCst), before);
    drop(claim);
    assert!(matches!(cache.claim("key", &stale()).unwrap(), Lookup::Create(_)), "the creation has ended");
}

#[test]
fn the_stale_value_of_a_dead_creator_is_created_anew_within_a_second() {
    let (_place, cache) = cache();
    let mut creator = children::start("claim", &[arg(cache.path())]);
    creator.expect("claimed");
    assert!(matches!(cache.claim("key", &stale()).unwrap(), Lookup::Stale(_)), "it lives");
    creator.kill();
    let start = Instant::now();
    let claim = loop {
        match cache.claim("key", &stale()).unwrap() {
            Lookup::Create(claim) => break claim,
            Lookup::Stale(_) => std::thread::sleep(Duration::from_millis(1)),
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(10), "no process takes over");
    };
    assert!(claim.is_protected() && claim.stale().is_some());
    assert_eq!(cache.stats().counters.takeovers, 1);
    assert_sound(&cache);
}

/// A thread that stops in the middle of a write keeps its stripe's lock, as a stopped process does.
#[cfg(all(unix, feature = "crash-points"))]
#[test]
fn a_stale_hit_waits_for_no_stopped_writer() {
    use kennel::crash::{Plan, Step, arm};
    common::must_end("stale hits beside a stopped writer", || {
        let (place, cache) = cache();
        let stopped = cache.clone();
        std::thread::spawn(move || {
            arm(Some(Step::Head), 0, Plan::Stop);
            let _ = stopped.set("other", "value");
        });
        while cache.stripe_stats()[0].intent.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(cache.get_or_create("key", &stale(), || ok("never")).unwrap(), b"stale");
        }
        // Waiting a quarter of a second each time would take four minutes.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        std::mem::forget((cache, place));
    });
}

/// Reads the stale value again and again, and counts the creations meanwhile: at most one a second.
fn is_left_alone_for_a_second<V: Into<Created> + 'static>(create: fn() -> Result<V, &'static str>) {
    let (_place, cache) = cache();
    let created = Arc::new(AtomicU32::new(0));
    let refresh = || {
        let created = created.clone();
        let found = cache.get_or_refresh("key", &stale(), move || {
            created.fetch_add(1, Ordering::SeqCst);
            create().map(Into::<Created>::into)
        });
        assert_eq!(found.unwrap(), b"stale");
    };
    let start = Instant::now();
    for _ in 0..300 {
        refresh();
        std::thread::sleep(Duration::from_millis(1));
    }
    let most = 1 + start.elapsed().as_secs() as u32;
    let first = created.load(Ordering::SeqCst);
    assert!((1..=most).contains(&first), "{first} creations in {:?}", start.elapsed());
    while created.load(Ordering::SeqCst) == first {
        assert!(start.elapsed() < Duration::from_secs(30), "it is never tried again");
        refresh();
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_refresh_that_failed_does_not_begin_again_at_once() {
    is_left_alone_for_a_second(|| Err::<Vec<u8>, _>("no"));
}

#[test]
fn a_refresh_whose_value_is_not_stored_does_not_begin_again_at_once() {
    is_left_alone_for_a_second(|| Ok(Created::new("new").stored(false)));
    is_left_alone_for_a_second(|| Ok(vec![7; 1 << 20]));
}

#[test]
fn a_panic_in_a_refresh_does_not_begin_again_at_once() {
    is_left_alone_for_a_second::<Vec<u8>>(|| std::panic::resume_unwind(Box::new("as it was meant to")));
}

/// Creators in the foreground decide for themselves.
#[test]
fn a_failed_refresh_stops_no_caller_who_creates_itself() {
    let (_place, cache) = cache();
    assert_eq!(cache.get_or_refresh("key", &stale(), || Err::<Vec<u8>, _>("no")).unwrap(), b"stale");
    while cache.is_claimed("key") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let how = stale().background(true);
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Stale(_)), "it rests");
    assert_eq!(cache.get_or_create("key", &stale(), || ok("mine")).unwrap(), b"mine");
}

#[test]
fn a_value_of_unknown_age_is_too_old_for_who_limits_the_age() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let (any, age) = (CreateOptions::new(), Duration::from_secs(10));
    let (fresh, usable) = (any.clone().max_fresh_age(age), any.clone().max_age(age));
    let never = || -> Result<Vec<u8>, Infallible> { panic!("it is there") };
    // A plain value has no creation time.
    cache.set("plain", "value").unwrap();
    assert_eq!(cache.get_or_create("plain", &any, never).unwrap(), b"value");
    let Lookup::Create(claim) = cache.claim("plain", &fresh).unwrap() else { panic!("it may be old") };
    assert_eq!(claim.stale().unwrap().value, b"value");
    drop(claim);
    assert_eq!(cache.get_or_create("plain", &usable, || ok("anew")).unwrap(), b"anew");
    // A created value has one, without any option.
    assert_eq!(cache.get_item("plain").unwrap().created, Some(common::moment(NOW)));
    assert_eq!(cache.get_or_create("key", &any, || ok("value")).unwrap(), b"value");
    for how in [&fresh, &usable] {
        assert_eq!(cache.get_or_create("key", how, never).unwrap(), b"value");
    }
    clock.set(NOW + 10_000);
    let Lookup::Create(claim) = cache.claim("key", &fresh).unwrap() else { panic!("it is stale") };
    assert_eq!(claim.stale().unwrap().value, b"value");
    drop(claim);
    let Lookup::Create(claim) = cache.claim("key", &usable).unwrap() else { panic!("it is too old") };
    assert!(claim.stale().is_none());
    drop(claim);
    // A plain write over it removes the creation time.
    cache.set_with("key", "plain", &SetOptions::new()).unwrap();
    assert!(matches!(cache.claim("key", &usable).unwrap(), Lookup::Create(_)));
    assert_sound(&cache);
}

/// A reader may demand a younger value than its creator promised.
#[test]
fn a_caller_may_demand_a_younger_value_than_was_stored() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = small_options().clock(clock.clone()).create(place.path()).unwrap();
    let namespace = cache.namespace("r", &NamespaceOptions::new()).unwrap();
    let seconds = Duration::from_secs;
    let stored = CreateOptions::new().expiry(ttl(100_000)).absence_expiry(ttl(100_000)).wait(Wait::No);
    let strict = stored.clone().max_fresh_age(seconds(10)).max_age(seconds(20));
    let never = || -> Result<Vec<u8>, Infallible> { panic!("it is there") };
    assert_eq!(namespace.get_or_create("key", &stored, || ok("first")).unwrap(), b"first");
    assert_eq!(namespace.get_or_create_optional("none", &stored, || None::<Vec<u8>>).unwrap(), None);

    clock.set(NOW + 9_990);
    assert_eq!(namespace.get_or_create("key", &strict, never).unwrap(), b"first");
    clock.set(NOW + 10_000);
    let Lookup::Create(claim) = namespace.claim("key", &strict).unwrap() else { panic!("it is stale for this caller") };
    assert_eq!(claim.stale().unwrap().value, b"first");
    assert!(matches!(namespace.claim("key", &strict).unwrap(), Lookup::Stale(item) if item.value == b"first"));
    assert!(matches!(namespace.claim("key", &stored).unwrap(), Lookup::Hit(_)), "and fresh for that one");
    claim.fail();

    clock.set(NOW + 20_000);
    assert_eq!(namespace.get_or_create("key", &stored, never).unwrap(), b"first");
    let Lookup::Create(claim) = namespace.claim("key", &strict).unwrap() else { panic!("it is gone for this caller") };
    assert!(claim.stale().is_none());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(namespace.claim("key", &strict), Err(Error::TimedOut { .. })), "others wait");
            let all_the_same = strict.clone().unprotected(true);
            let Lookup::Create(claim) = namespace.claim("key", &all_the_same).unwrap() else {
                panic!("it does not wait")
            };
            assert!(claim.stale().is_none() && !claim.is_protected());
        });
    });
    assert!(matches!(claim.store("second").unwrap(), Stored::Yes(_)));
    assert_eq!(namespace.get_or_create("key", &strict, never).unwrap(), b"second");
    assert!(matches!(namespace.claim("none", &stored).unwrap(), Lookup::Absent));
    assert!(matches!(namespace.claim("none", &strict).unwrap(), Lookup::Create(_)), "an absence grows old, too");

    assert_sound(&cache);
}

#[test]
fn a_stale_value_is_refreshed_in_the_background() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = small_options().clock(clock.clone()).create(place.path()).unwrap();
    let how = CreateOptions::new().soft_expiry(ttl(1_000));
    assert_eq!(cache.get_or_refresh("key", &how, || ok("first")).unwrap(), b"first");
    clock.set(NOW + 1_000);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let slow = move || {
        wait.recv().unwrap();
        ok("second")
    };
    assert_eq!(cache.get_or_refresh("key", &how, slow).unwrap(), b"first");
    // The same caller may ask again meanwhile.
    let never = || -> Result<Vec<u8>, Infallible> { panic!("another caller creates it") };
    assert_eq!(cache.get_or_refresh("key", &how, never).unwrap(), b"first");
    go.send(()).unwrap();
    let start = Instant::now();
    while cache.get("key").unwrap() != b"second" {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1));
    }
    // A background creator that fails harms no caller: the next one tries again. While the thread that stored the value
    // still has the stripe's lock, a caller returns the stale value and leaves the key alone for some milliseconds.
    clock.set(NOW + 10_000);
    let (run, has_run) = std::sync::mpsc::channel();
    loop {
        let run = run.clone();
        let fails = move || {
            run.send(()).unwrap();
            Err::<Vec<u8>, _>("no")
        };
        assert_eq!(cache.get_or_refresh("key", &how, fails).unwrap(), b"second");
        if has_run.recv_timeout(Duration::from_millis(50)).is_ok() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    while cache.is_claimed("key") {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(cache.get_or_create("key", &how, || ok("third")).unwrap(), b"third");
}

/// The share of callers for which XFetch creates the value anew, measured with `times` callers.
fn early_share(left_ms: u64, beta: f64, times: u32) -> f64 {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = small_options().clock(clock.clone()).create(place.path()).unwrap();
    let how = CreateOptions::new().early_refresh(beta).expiry(ttl(100_000));
    let slow = || {
        std::thread::sleep(Duration::from_millis(100));
        ok("value")
    };
    cache.get_or_create("key", &how, slow).unwrap();
    clock.set(NOW + 100_000 - left_ms);
    let early = (0..times).filter(|_| match cache.claim("key", &how).unwrap() {
        Lookup::Hit(_) => false,
        Lookup::Create(claim) => {
            assert_eq!(claim.stale().unwrap().value, b"value");
            true
        }
        other => panic!("it is fresh: {other:?}"),
    });
    early.count() as f64 / f64::from(times)
}

#[test]
fn early_creation_grows_likely_towards_the_expiry() {
    // A creation takes 100 ms or slightly more; `left` ms before the expiry the probability is exp(-left / 100).
    assert!(early_share(50_000, 1.0, 300) == 0.0);
    let near = early_share(100, 1.0, 2_000);
    assert!((0.3..0.6).contains(&near), "about 0.37 expected, found {near}");
    let nearer = early_share(5, 1.0, 500);
    assert!(nearer > 0.85, "about 0.95 expected, found {nearer}");
    let eager = early_share(300, 3.0, 2_000);
    assert!((0.3..0.6).contains(&eager), "about 0.37 expected, found {eager}");
}

#[test]
fn early_creation_lets_one_create_and_the_others_go_on() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = small_options().clock(clock.clone()).create(place.path()).unwrap();
    let how = CreateOptions::new().early_refresh(1e9).expiry(ttl(100_000)).wait(Wait::No);
    let slow = || {
        std::thread::sleep(Duration::from_millis(20));
        ok("value")
    };
    cache.get_or_create("key", &how, slow).unwrap();
    let Lookup::Create(claim) = cache.claim("key", &how).unwrap() else { panic!("such a beta is always early") };
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Hit(item) if item.value == b"value"));
    assert!(matches!(claim.store("anew").unwrap(), Stored::Yes(_)));
}
