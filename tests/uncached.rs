//! A failing cache makes nothing worse: a caller with this option still gets its value created, uncached and counted.

mod common;

use common::Place;
use kennel::{Cache, CreateError, CreateOptions, Error, Expiry, Lookup, Options, Stored, Wait};
use std::convert::Infallible;
use std::time::Duration;

fn options() -> Options {
    Options::new().capacity(256 << 10).stripes(4).mean_item(64).lock_wait(Duration::from_millis(20))
}

fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    (place, cache)
}

fn ok(value: &str) -> Result<Vec<u8>, Infallible> {
    Ok(value.as_bytes().to_vec())
}

fn at_once() -> CreateOptions {
    CreateOptions::new().wait(Wait::No)
}

/// Each form of creation returns the value of its creator, stores nothing and counts itself; without the option each
/// returns an error.
fn all_forms_go_on_without(cache: &Cache, key: &str, expected: fn(&Error) -> bool) {
    let of_cache = |error: CreateError<Infallible>| matches!(error, CreateError::Cache(error) if expected(&error));
    let strict = at_once();
    assert!(of_cache(cache.get_or_create(key, &strict, || ok("never")).unwrap_err()));
    assert!(expected(&cache.claim(key, &strict).unwrap_err()));

    let how = at_once().or_uncached(true);
    let before = cache.stats().counters.uncached;
    assert_eq!(cache.get_or_create(key, &how, || ok("value")).unwrap(), b"value");
    assert_eq!(cache.get_or_create_optional(key, &how, || None::<Vec<u8>>).unwrap(), None);
    assert_eq!(cache.get_or_refresh(key, &how, || ok("value")).unwrap(), b"value");
    let many = cache.get_or_create_multi(&[key], &how, |missing| {
        assert_eq!(missing, [&key]);
        vec![Some(b"value".to_vec())]
    });
    assert_eq!(many.unwrap(), [Some(b"value".to_vec())]);
    let Lookup::Create(claim) = cache.claim(key, &how).unwrap() else { panic!("the key has no value") };
    assert!(!claim.is_protected() && expected(claim.uncached().unwrap()));
    assert_eq!(claim.store("value").unwrap(), Stored::Uncached);
    assert_eq!((cache.get(key), cache.stats().counters.uncached - before), (None, 5));

    let failed = cache.get_or_create(key, &how, || Err::<Vec<u8>, _>("the creator's own")).unwrap_err();
    assert!(matches!(failed, CreateError::Creator("the creator's own")));
}

#[test]
fn a_read_only_handle_creates_for_its_callers() {
    let (_place, cache) = cache();
    cache.set("there", "value").unwrap();
    let reader = options().open_read_only(cache.path()).unwrap();
    all_forms_go_on_without(&reader, "key", |error| matches!(error, Error::ReadOnly(_)));
    let found = reader.get_or_create("there", &at_once().or_uncached(true), || ok("never")).unwrap();
    assert_eq!((&found[..], reader.stats().counters.uncached), (&b"value"[..], 6), "what is there is found");
    assert_eq!(cache.stats().counters.uncached, 0, "the reader has no seat to count on");
}

#[test]
fn who_does_not_get_a_claim_in_time_creates_for_itself() {
    let (_place, cache) = cache();
    let Lookup::Create(claim) = cache.claim("key", &at_once()).unwrap() else { panic!("it is missing") };
    std::thread::scope(|scope| {
        scope.spawn(|| all_forms_go_on_without(&cache, "key", |error| matches!(error, Error::TimedOut { .. })));
    });
    assert!(matches!(claim.store("value").unwrap(), Stored::Yes(_)), "the claim was not disturbed");
}

#[test]
fn a_file_that_is_gone_stops_nobody() {
    let (_place, cache) = cache();
    Options::new().destroy(cache.path()).unwrap();
    all_forms_go_on_without(&cache, "key", |error| matches!(error, Error::NotFound(_)));
}

#[cfg(unix)]
#[test]
fn locks_that_are_lost_stop_nobody() {
    let (place, cache) = cache();
    place.take_all_away(&common::locks_root(cache.path()));
    // Under `file` a lock is opened at its first use; this process has used none.
    all_forms_go_on_without(&cache, "key", |error| matches!(error, Error::LocksLost { .. }));
}

#[cfg(unix)]
#[test]
fn a_child_without_a_seat_creates_for_its_callers() {
    let place = Place::new();
    let cache = options().seats(1).create(place.path()).unwrap();
    common::fork::Forked::start(|| {
        all_forms_go_on_without(&cache, "key", |error| matches!(error, Error::SeatsFull { .. }));
    })
    .join();
    assert_eq!(cache.stats().counters.uncached, 0, "the child counts for itself");
}

#[test]
fn a_key_that_no_cache_takes_is_created() {
    let (_place, cache) = cache();
    all_forms_go_on_without(&cache, &"k".repeat(70_000), |error| matches!(error, Error::KeyTooLong { .. }));
}

#[test]
fn a_mistake_of_the_caller_stays_an_error() {
    let (_place, cache) = cache();
    let how = at_once().or_uncached(true);
    let value = cache.get_or_create("key", &how, || {
        let own = cache.get_or_create("key", &how, || ok("never"));
        assert!(matches!(own, Err(CreateError::Cache(Error::OwnClaim))));
        ok("value")
    });
    assert_eq!(value.unwrap(), b"value");
    let few = cache.get_or_create_multi(&["a", "b"], &how, |_| vec![None::<Vec<u8>>]);
    assert!(matches!(few, Err(Error::BadOption { .. })));
    assert_eq!(cache.stats().counters.uncached, 0);
}

#[test]
fn a_value_that_is_too_large_is_no_failure_of_the_cache() {
    let (_place, cache) = cache();
    let Lookup::Create(claim) = cache.claim("key", &at_once().or_uncached(true)).unwrap() else {
        panic!("it is missing")
    };
    assert!(matches!(claim.store(vec![7; 1 << 20]), Err(Error::TooLarge { .. })));
    assert_eq!(cache.stats().counters.uncached, 0);
}

/// A thread that stops in the middle of a write keeps its stripe's lock, as a stopped process does.
#[cfg(all(unix, feature = "crash-points"))]
fn stop_a_writer(cache: &Cache) {
    use kennel::crash::{Plan, Step, arm};
    let stopped = cache.clone();
    std::thread::spawn(move || {
        arm(Some(Step::Head), 0, Plan::Stop);
        let _ = stopped.set("other", "value");
    });
    while cache.stripe_stats()[0].intent.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(all(unix, feature = "crash-points"))]
#[test]
fn a_busy_stripe_stops_nobody() {
    common::must_end("creations beside a stopped writer", || {
        let place = Place::new();
        let cache = options().stripes(1).create(place.path()).unwrap();
        let how = at_once().or_uncached(true);
        let Lookup::Create(claim) = cache.claim("claimed before", &how).unwrap() else { panic!("it is missing") };
        stop_a_writer(&cache);
        all_forms_go_on_without(&cache, "key", |error| matches!(error, Error::Busy { .. }));
        assert_eq!(claim.store("value").unwrap(), Stored::Uncached, "the lock was not acquired in time");
        assert_eq!(cache.stats().counters.uncached, 7);
        std::mem::forget((cache, place));
    });
}

#[test]
fn when_all_claims_are_held_the_value_is_stored_if_nothing_came_to_the_key() {
    let place = Place::new();
    let cache = options().stripes(1).claims(1).create(place.path()).unwrap();
    let _held = cache.lock("other", Wait::No).unwrap();
    let how = at_once().or_uncached(true);
    assert_eq!(cache.get_or_create("key", &how, || ok("value")).unwrap(), b"value");
    let counters = cache.stats().counters;
    assert_eq!((counters.unprotected, counters.uncached), (1, 0));
}

#[test]
fn a_stale_value_is_used_rather_than_created_without_the_cache() {
    let (_place, cache) = cache();
    let how = at_once().or_uncached(true).soft_expiry(Expiry::After(Duration::ZERO));
    assert_eq!(cache.get_or_create("key", &how, || ok("stale")).unwrap(), b"stale");
    let reader = options().open_read_only(cache.path()).unwrap();
    assert_eq!(reader.get_or_create("key", &how, || ok("never")).unwrap(), b"stale");
    assert_eq!(reader.stats().counters.uncached, 0);
}

#[cfg(feature = "typed")]
#[test]
fn typed_values_are_created_for_their_callers() {
    let (_place, cache) = cache();
    let reader = options().open_read_only(cache.path()).unwrap();
    let how = at_once().or_uncached(true);
    let found = reader.typed::<u64>().get_or_create("key", &how, || 7);
    assert_eq!((found.unwrap(), reader.stats().counters.uncached), (7, 1));
}

#[cfg(feature = "tokio")]
#[test]
fn tasks_get_their_values() {
    let (_place, cache) = cache();
    let reader = options().open_read_only(cache.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let how = at_once().or_uncached(true);
        let value = || async { ok("value") };
        assert_eq!(reader.to_async().get_or_create("key", &how, value).await.unwrap(), b"value");
        assert_eq!(reader.to_async().get_or_refresh("key", &how, value).await.unwrap(), b"value");
        let none = || async { None::<Vec<u8>> };
        assert_eq!(reader.to_async().get_or_create_optional("key", &how, none).await.unwrap(), None);
        let many = |_: Vec<&&str>| async { vec![Some(b"value".to_vec())] };
        assert_eq!(
            reader.to_async().get_or_create_multi(&["key"], &how, many).await.unwrap(),
            [Some(b"value".to_vec())]
        );
        assert!(matches!(reader.to_async().claim("key", &how).await.unwrap(), Lookup::Create(_)));
    });
    assert_eq!(reader.stats().counters.uncached, 5);
}
