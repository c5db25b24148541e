//! One caller creates, the others wait or take the stale value. `tests/stale.rs` is about stale values alone.

mod common;

use common::{Place, TestClock, assert_sound, must_end, small_cache as cache, small_options as options};
use kennel::{
    Cache, CreateError, CreateOptions, Error, Expiry, Invalidation, Lookup, Options, SetOptions, Stored, Wait,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const NOW: u64 = 1_700_000_000_000;

fn ok(value: &str) -> Result<Vec<u8>, Infallible> {
    Ok(value.as_bytes().to_vec())
}

fn ttl(ms: u64) -> Expiry {
    Expiry::After(Duration::from_millis(ms))
}

/// Waits until this many callers wait for another caller's creation.
fn wait_for_waiters(cache: &Cache, waiters: u64) {
    let start = Instant::now();
    while cache.stats().counters.claim_waits < waiters {
        assert!(start.elapsed() < Duration::from_secs(30), "no caller waits");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_value_is_created_once_and_found_from_then_on() {
    let (_place, cache) = cache();
    let how = CreateOptions::new();
    assert_eq!(cache.get_or_create("key", &how, || ok("value")).unwrap(), b"value");
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    let never = || -> Result<Vec<u8>, Infallible> { panic!("it is there") };
    assert_eq!(cache.get_or_create("key", &how, never).unwrap(), b"value");
    assert_eq!(cache.stats().counters.creations, 1);
    assert!(!cache.is_claimed("key"));
    assert_sound(&cache);
}

#[test]
fn many_threads_miss_and_one_creates() {
    let (_place, cache) = cache();
    let (created, how) = (AtomicU32::new(0), CreateOptions::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let value = cache.get_or_create("key", &how, || {
                    created.fetch_add(1, Ordering::SeqCst);
                    wait_for_waiters(&cache, 15);
                    ok("value")
                });
                assert_eq!(value.unwrap(), b"value");
            });
        }
    });
    assert_eq!(created.load(Ordering::SeqCst), 1);
    let counters = cache.stats().counters;
    assert_eq!((counters.creations, counters.claim_waits, counters.unprotected), (1, 15, 0));
}

#[test]
fn different_keys_do_not_wait_for_each_other() {
    let place = Place::new();
    let cache = options().stripes(1).claims(8).create(place.path()).unwrap();
    let how = CreateOptions::new();
    // Each creation waits until all others have begun, all in one stripe.
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (cache, how, barrier) = (&cache, &how, &barrier);
            scope.spawn(move || {
                let create = || {
                    barrier.wait();
                    ok("value")
                };
                cache.get_or_create(format!("key {n}"), how, create).unwrap();
            });
        }
    });
    let counters = cache.stats().counters;
    assert_eq!((counters.creations, counters.claim_waits, counters.unprotected), (8, 0, 0));
}

/// The table of results for the other callers, for each state of the value, while one caller creates it.
#[test]
fn while_one_creates_the_others_get_what_there_is() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let how = CreateOptions::new().soft_expiry(ttl(1_000)).expiry(ttl(2_000)).wait(Wait::No);
    assert_eq!(cache.get_or_create("key", &how, || ok("first")).unwrap(), b"first");

    clock.set(NOW + 999);
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Hit(item) if item.value == b"first" && !item.is_stale));

    clock.set(NOW + 1_000);
    let item = cache.get_item("key").unwrap();
    assert!(item.is_stale && item.soft_expires == Some(common::moment(NOW + 1_000)));
    assert_eq!(item.created, Some(common::moment(NOW)));
    let Lookup::Create(claim) = cache.claim("key", &how).unwrap() else { panic!("it is stale") };
    assert_eq!(claim.stale().unwrap().value, b"first");
    // This thread holds the claim itself, and then another thread does: both get the stale value.
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Stale(item) if item.value == b"first"));
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Stale(_))));
    });
    assert!(matches!(claim.store("second").unwrap(), Stored::Yes(_)));
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Hit(item) if item.value == b"second"));

    clock.set(NOW + 3_000);
    let Lookup::Create(claim) = cache.claim("key", &how).unwrap() else { panic!("it has expired") };
    assert!(claim.stale().is_none());
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(cache.claim("key", &how), Err(Error::TimedOut { .. }))));
    });
    claim.fail();
    assert_sound(&cache);
}

#[test]
fn a_creators_error_is_its_own_and_the_next_waiter_tries() {
    let (_place, cache) = cache();
    let how = CreateOptions::new();
    std::thread::scope(|scope| {
        let (begun, first_begun) = std::sync::mpsc::channel();
        let (cache, how) = (&cache, &how);
        let first = scope.spawn(move || {
            cache.get_or_create("key", how, || {
                begun.send(()).unwrap();
                wait_for_waiters(cache, 1);
                Err::<Vec<u8>, _>("the database is gone")
            })
        });
        first_begun.recv().unwrap();
        assert_eq!(cache.get_or_create("key", how, || ok("value")).unwrap(), b"value");
        assert!(matches!(first.join().unwrap(), Err(CreateError::Creator("the database is gone"))));
    });
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_panic_in_a_creator_releases_the_claim() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().wait(Wait::No);
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.get_or_create("key", &how, || -> Result<Vec<u8>, Infallible> { panic!("as it was meant to") })
    }));
    assert!(panics.is_err() && !cache.is_claimed("key"));
    assert_eq!(cache.get_or_create("key", &how, || ok("value")).unwrap(), b"value");
}

#[test]
fn a_creator_may_create_other_keys_but_not_its_own() {
    let (_place, cache) = cache();
    let how = CreateOptions::new();
    let outer = cache.get_or_create("outer", &how, || {
        let inner = cache.get_or_create("inner", &how, || ok("inner")).unwrap();
        let own = cache.get_or_create("outer", &how, || ok("never"));
        assert!(matches!(own, Err(CreateError::Cache(Error::OwnClaim))));
        assert!(matches!(cache.lock("outer", Wait::Forever), Err(Error::OwnClaim)));
        [&b"outer of "[..], &inner].concat()
    });
    assert_eq!(outer.unwrap(), b"outer of inner");
}

/// Changes a key while it is being created.
fn comes_to(what: impl Fn(&Cache)) {
    let (_place, cache) = cache();
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    what(&cache);
    let found = cache.get("key");
    assert!(!cache.is_claimed("key"), "the claim is void");
    assert_eq!(claim.store("too late").unwrap(), Stored::Voided);
    assert_eq!(cache.get("key"), found, "nothing was stored");
    assert_eq!(cache.stats().counters.voided, 1);
    // The creator still gets its own value.
    let value = cache.get_or_create("other", &CreateOptions::new(), || {
        cache.invalidate(Invalidation::Soft).unwrap();
        ok("its own")
    });
    assert_eq!(value.unwrap(), b"its own");
    assert_eq!(cache.get("other"), None);
    assert_sound(&cache);
}

#[test]
fn a_write_a_deletion_or_an_invalidation_voids_a_creation() {
    comes_to(|cache| cache.set("key", "set").unwrap());
    comes_to(|cache| assert!(cache.add("key", "added", &SetOptions::new()).unwrap()));
    comes_to(|cache| assert!(cache.set_multi(&[("key", "set")], &SetOptions::new())[0].is_ok()));
    comes_to(|cache| assert!(!cache.delete("key").unwrap()));
    comes_to(|cache| assert!(!*cache.delete_multi(&["key"])[0].as_ref().unwrap()));
    comes_to(|cache| cache.clear().unwrap());
    comes_to(|cache| cache.invalidate(Invalidation::Hard).unwrap());
    comes_to(|cache| cache.invalidate(Invalidation::Soft).unwrap());
}

#[test]
fn what_changes_another_key_voids_nothing() {
    let (_place, cache) = cache();
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    for n in 0..100 {
        cache.set(format!("other {n}"), "value").unwrap();
        cache.delete(format!("other {n}")).unwrap();
    }
    assert!(!cache.replace("key", "value", &SetOptions::new()).unwrap() && cache.incr("key", 1).unwrap().is_none());
    assert!(cache.is_claimed("key"));
    assert!(matches!(claim.store("value").unwrap(), Stored::Yes(_)));
}

#[test]
fn voiding_wakes_who_waits() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().wait(Wait::Forever);
    for (n, void) in [
        (|cache: &Cache| cache.set("key", "set").unwrap()) as fn(&Cache),
        |cache| cache.clear().unwrap(),
        |cache| assert!(!cache.delete("key").unwrap()),
    ]
    .into_iter()
    .enumerate()
    {
        let _ = cache.delete("key").unwrap();
        let Lookup::Create(claim) = cache.claim("key", &how).unwrap() else { panic!("it is missing") };
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| cache.get_or_create("key", &how, || ok("created")).unwrap());
            wait_for_waiters(&cache, n as u64 + 1);
            void(&cache);
            let expected: &[u8] = if n == 0 { b"set" } else { b"created" };
            assert_eq!(waiter.join().unwrap(), expected);
        });
        assert_eq!(claim.store("too late").unwrap(), Stored::Voided);
    }
}

#[test]
fn a_waiter_chooses_what_happens_when_its_time_is_over() {
    let (_place, cache) = cache();
    let short = CreateOptions::new().wait(Wait::For(Duration::from_millis(50)));
    let Lookup::Create(claim) = cache.claim("key", &short).unwrap() else { panic!("it is missing") };
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let start = Instant::now();
            let error = cache.get_or_create("key", &short, || ok("never")).unwrap_err();
            assert!(matches!(error, CreateError::Cache(Error::TimedOut { waited }) if waited.as_millis() >= 50));
            assert!(start.elapsed() >= Duration::from_millis(50));
        });
        waits.join().unwrap();
        let creates = scope.spawn(|| {
            let how = short.clone().unprotected(true);
            assert_eq!(cache.get_or_create("key", &how, || ok("all the same")).unwrap(), b"all the same");
        });
        creates.join().unwrap();
    });
    assert_eq!(cache.stats().counters.unprotected, 1);
    assert_eq!(claim.store("late").unwrap(), Stored::Voided, "a value came meanwhile");
    assert_eq!(cache.get("key").as_deref(), Some(&b"all the same"[..]));
}

#[test]
fn an_unprotected_value_is_stored_only_if_the_key_is_as_it_was() {
    let place = Place::new();
    let cache = options().stripes(1).claims(1).create(place.path()).unwrap();
    let how = CreateOptions::new();
    let Lookup::Create(_first) = cache.claim("first", &how).unwrap() else { panic!("it is missing") };
    let unprotected = |key| match cache.claim(key, &how).unwrap() {
        Lookup::Create(claim) if !claim.is_protected() => claim,
        other => panic!("all claims are held: {other:?}"),
    };
    let claim = unprotected("a");
    cache.set("a", "newer").unwrap();
    assert_eq!(claim.store("older").unwrap(), Stored::Voided);
    let claim = unprotected("b");
    cache.clear().unwrap();
    assert_eq!(claim.store("older").unwrap(), Stored::Voided);
    let Lookup::Create(_first) = cache.claim("first", &how).unwrap() else { panic!("it is void") };
    assert!(matches!(unprotected("c").store("value").unwrap(), Stored::Yes(_)));
    assert_eq!(cache.get("c").as_deref(), Some(&b"value"[..]));
    assert_eq!(cache.stats().counters.unprotected, 3);
}

#[test]
fn what_is_not_to_be_cached_is_created_by_each_for_himself_at_once() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().should_cache(|value| value != b"secret").wait(Wait::Forever);
    let (created, together) = (AtomicU32::new(0), std::sync::Barrier::new(7));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let value = cache.get_or_create("key", &how, || {
                    if created.fetch_add(1, Ordering::SeqCst) == 0 {
                        wait_for_waiters(&cache, 7);
                    } else {
                        // All others at the same time.
                        together.wait();
                    }
                    ok("secret")
                });
                assert_eq!(value.unwrap(), b"secret");
            });
        }
    });
    assert_eq!(created.load(Ordering::SeqCst), 8);
    assert_eq!((cache.get("key"), cache.stats().counters.unprotected), (None, 7));
    // A value that is too large behaves the same.
    let large = vec![7; 1 << 20];
    assert_eq!(cache.get_or_create("large", &how, || large.clone()).unwrap(), large);
    let Lookup::Create(claim) = cache.claim("large", &how).unwrap() else { panic!("it is not stored") };
    assert!(matches!(claim.store(&large), Err(Error::TooLarge { .. })));
    assert!(!cache.is_claimed("large"));
}

#[test]
fn that_there_is_none_is_remembered_for_a_time_of_its_own() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let none = || None::<Vec<u8>>;
    let never = || -> Result<Option<Vec<u8>>, Infallible> { panic!("it is known") };
    let how = CreateOptions::new().absence_expiry(ttl(1_000)).expiry(ttl(60_000));
    assert_eq!(cache.get_or_create_optional("key", &how, none).unwrap(), None);
    assert_eq!(cache.get_or_create_optional("key", &how, never).unwrap(), None);
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Absent));
    // For every other call the key is missing.
    assert!(cache.get("key").is_none() && cache.get_item("key").is_none() && !cache.contains("key"));
    assert_eq!((cache.get_multi(&["key"]), cache.keys().count()), (vec![None], 0));
    assert!(!cache.replace("key", "value", &SetOptions::new()).unwrap() && cache.incr("key", 1).unwrap().is_none());
    assert!(!cache.touch("key", Expiry::Never).unwrap() && !cache.delete("key").unwrap());
    assert_sound(&cache);

    assert_eq!(cache.get_or_create_optional("key", &how, none).unwrap(), None);
    clock.set(NOW + 1_000);
    let some = || Some(b"value".to_vec());
    assert_eq!(cache.get_or_create_optional("key", &how, some).unwrap().as_deref(), Some(&b"value"[..]));
    // A plain write replaces the remembered absence.
    cache.delete("key").unwrap();
    assert_eq!(cache.get_or_create_optional("key", &how, none).unwrap(), None);
    assert!(cache.add("key", "added", &SetOptions::new()).unwrap());
    assert_eq!(cache.get("key").as_deref(), Some(&b"added"[..]));
    // Without an expiry, the absence is not remembered.
    let how = CreateOptions::new();
    assert_eq!(cache.get_or_create_optional("none", &how, none).unwrap(), None);
    assert!(matches!(cache.claim("none", &how).unwrap(), Lookup::Create(_)));
}

#[test]
fn many_keys_are_claimed_in_one_order_and_created_at_once() {
    let (_place, cache) = cache();
    cache.set("b", "there").unwrap();
    let how = CreateOptions::new().absence_expiry(ttl(60_000));
    let found = cache.get_or_create_multi(&["d", "b", "a", "d", "c"], &how, |missing| {
        assert_eq!(missing, [&"d", &"a", &"c"], "each once, in the order of the caller");
        assert!(["a", "c", "d"].iter().all(|key| cache.is_claimed(key)));
        vec![Some(b"D".to_vec()), Some(b"A".to_vec()), None]
    });
    let text = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(found.unwrap(), [text("D"), text("there"), text("A"), text("D"), None]);
    assert_eq!(cache.get_multi(&["a", "b", "c", "d"]), [text("A"), text("there"), None, text("D")]);
    let never = |_: &[&&str]| -> Result<Vec<Option<Vec<u8>>>, Infallible> { panic!("all are known") };
    assert_eq!(cache.get_or_create_multi(&["a", "c"], &how, never).unwrap(), [text("A"), None]);
    // With too few values: an error, and no claim is left.
    let few = cache.get_or_create_multi(&["x", "y"], &how, |_| vec![None::<Vec<u8>>]);
    let error = few.unwrap_err();
    assert!(matches!(error, Error::BadOption { .. }), "{error}");
    assert!(!cache.is_claimed("x") && !cache.is_claimed("y"));
}

#[test]
fn a_creation_may_grow_too_old() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().claim_max_age(Duration::from_millis(300)).wait(Wait::No);
    let Lookup::Create(old) = cache.claim("key", &how).unwrap() else { panic!("it is missing") };
    let later = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let start = Instant::now();
            loop {
                match cache.claim("key", &how) {
                    Ok(Lookup::Create(claim)) => break (start.elapsed(), claim),
                    Err(Error::TimedOut { .. }) => std::thread::sleep(Duration::from_millis(10)),
                    other => panic!("{other:?}"),
                }
            }
        });
        waiter.join().unwrap()
    });
    assert!(later.0 >= Duration::from_millis(200), "{:?}", later.0);
    assert_eq!(old.store("old").unwrap(), Stored::Voided);
    assert!(matches!(later.1.store("new").unwrap(), Stored::Yes(_)));
    assert_eq!(cache.stats().counters.takeovers, 1);
}

#[test]
fn a_claim_may_be_finished_by_another_thread() {
    let (_place, cache) = cache();
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    let stored = std::thread::spawn(move || claim.store("from elsewhere").unwrap()).join().unwrap();
    assert!(matches!(stored, Stored::Yes(_)));
    assert_eq!(cache.get("key").as_deref(), Some(&b"from elsewhere"[..]));
}

#[test]
fn claims_are_no_writes_to_a_flushed_file() {
    let (_place, cache) = cache();
    cache.set("key", "value").unwrap();
    assert!(cache.flush().unwrap());
    let phase = || common::raw::Raw::load(cache.path()).word(common::raw::header::FLUSH) & 3;
    let clean = phase();
    drop(cache.lock("key", Wait::No).unwrap());
    drop(cache.claim("other", &CreateOptions::new()).unwrap());
    assert_eq!(phase(), clean);
    cache.get_or_create("other", &CreateOptions::new(), || ok("value")).unwrap();
    assert_ne!(phase(), clean);
}

#[test]
fn it_works_under_every_strategy() {
    use kennel::LockStrategy::{File, None, Process, RwFile};
    for strategy in [File, Process, None, RwFile] {
        let place = Place::new();
        let cache = options().locks(strategy).create(place.path()).unwrap();
        let how = CreateOptions::new();
        assert_eq!(cache.get_or_create("key", &how, || ok("value")).unwrap(), b"value");
        let lock = cache.lock("key", Wait::No).unwrap();
        assert!(lock.is_protected() && lock.release());
    }
}

#[test]
fn a_writing_open_ends_the_claims_of_one_process_strategies() {
    for strategy in [kennel::LockStrategy::Process, kennel::LockStrategy::None] {
        let place = Place::new();
        let cache = options().locks(strategy).create(place.path()).unwrap();
        std::mem::forget(cache.lock("key", Wait::No).unwrap());
        let path = cache.path().to_owned();
        // As if the process had been killed: the lock is never released, and the file never closed.
        let copy = place.dir().join("copy");
        std::fs::copy(&path, &copy).unwrap();
        let reopened = Options::new().open(&copy).unwrap();
        assert!(!reopened.is_claimed("key"));
    }
}

#[test]
fn a_read_only_handle_finds_but_does_not_create() {
    let (_place, cache) = cache();
    cache.set("key", "value").unwrap();
    let reader = Options::new().open_read_only(cache.path()).unwrap();
    let how = CreateOptions::new();
    assert_eq!(reader.get_or_create("key", &how, || ok("never")).unwrap(), b"value");
    let error = reader.get_or_create("other", &how, || ok("never")).unwrap_err();
    assert!(matches!(error, CreateError::Cache(Error::ReadOnly(_))));
    cache.invalidate(Invalidation::Soft).unwrap();
    assert!(matches!(reader.claim("key", &how).unwrap(), Lookup::Stale(item) if item.value == b"value"));
}

#[test]
fn two_creators_that_wait_for_each_other_end_by_their_limit() {
    let (_place, cache) = cache();
    must_end("a circle of creators", move || {
        let how = CreateOptions::new().wait(Wait::For(Duration::from_millis(300)));
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let creators = [("a", "b"), ("b", "a")].map(|(own, other)| {
            let (cache, how, barrier) = (cache.clone(), how.clone(), barrier.clone());
            std::thread::spawn(move || {
                cache.get_or_create(own, &how, || {
                    barrier.wait();
                    cache.get_or_create(other, &how, || ok("inner")).map_err(|error| error.to_string())
                })
            })
        });
        let results = creators.map(|creator| creator.join().unwrap());
        assert!(results.iter().any(|result| matches!(result, Err(CreateError::Creator(_)))), "{results:?}");
    });
}
