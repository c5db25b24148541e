//! Settings that depend on the created value, and impossible options.

mod common;

use common::{Place, TestClock, moment};
use kennel::{
    Cache, CreateError, CreateOptions, Created, Error, Expiry, Got, Lookup, NamespaceOptions, Options, Source, Stamp,
    Stored, Task, Wait,
};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const NOW: u64 = 1_700_000_000_000;

fn cache() -> (Place, Cache) {
    let place = Place::new();
    let options = Options::new().capacity(256 << 10).stripes(4).mean_item(64).clock(TestClock::at(NOW));
    let cache = options.create(place.path()).unwrap();
    (place, cache)
}

fn seconds(s: u64) -> Expiry {
    Expiry::After(Duration::from_secs(s))
}

fn at(s: u64) -> Option<std::time::SystemTime> {
    Some(moment(NOW + s * 1_000))
}

#[test]
fn a_creator_says_when_its_value_expires_and_what_flags_it_has() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().expiry(seconds(100)).soft_expiry(seconds(50)).flags(1);
    let create = || Created::new("value").expiry(seconds(10)).flags(7);
    assert_eq!(cache.get_or_create("key", &how, create).unwrap(), b"value");
    let item = cache.get_item("key").unwrap();
    assert_eq!((item.expires, item.soft_expires, item.flags), (at(10), at(50), 7), "the rest is as the options say");

    let create = || Some(Created::new("value").soft_expiry(seconds(5)).expiry(Expiry::Never));
    assert_eq!(cache.get_or_create_optional("optional", &how, create).unwrap().as_deref(), Some(&b"value"[..]));
    let item = cache.get_item("optional").unwrap();
    assert_eq!((item.expires, item.soft_expires, item.flags), (None, at(5), 1));

    let create = |missing: &[&&str]| {
        let made = |key: &&&str| Some(Created::new(**key).expiry(seconds(key.len() as u64)));
        missing.iter().map(made).collect::<Vec<_>>()
    };
    cache.get_or_create_multi(&["a", "bbb"], &how, create).unwrap();
    let expires = |key| cache.get_item(key).unwrap().expires;
    assert_eq!((expires("a"), expires("bbb")), (at(1), at(3)));

    let namespace = cache.namespace("r", &NamespaceOptions::new().ttl(Duration::from_secs(60))).unwrap();
    let create = || Created::new("value").soft_expiry(seconds(20));
    namespace.get_or_refresh("key", &CreateOptions::new(), create).unwrap();
    let item = namespace.get_item("key").unwrap();
    assert_eq!((item.expires, item.soft_expires), (at(60), at(20)));
}

#[test]
fn a_creator_says_that_its_value_is_not_to_be_stored() {
    let (_place, cache) = cache();
    let how = CreateOptions::new();
    let create = |stored| move || Created::new("value").stored(stored);
    assert_eq!(cache.get_or_create("key", &how, create(false)).unwrap(), b"value");
    assert_eq!(cache.get("key"), None);
    assert_eq!(cache.get_or_create("key", &how, create(true)).unwrap(), b"value");
    assert!(cache.contains("key"));
}

#[test]
fn who_holds_a_claim_says_it_too() {
    let (_place, cache) = cache();
    let claim = |key| match cache.claim(key, &CreateOptions::new().expiry(seconds(100))).unwrap() {
        Lookup::Create(claim) => claim,
        other => panic!("it is missing: {other:?}"),
    };
    let made = Created::new("value").expiry(seconds(10)).flags(3);
    assert!(matches!(claim("key").store_with(&made).unwrap(), Stored::Yes(_)));
    let item = cache.get_item("key").unwrap();
    assert_eq!((&item.value[..], item.expires, item.flags), (made.value(), at(10), 3));
    assert_eq!(claim("other").store_with(&made.clone().stored(false)).unwrap(), Stored::Refused);
    assert_eq!((cache.get("other"), made.into_value()), (None, b"value".to_vec()));
}

#[test]
fn an_early_creation_needs_a_number() {
    let (_place, cache) = cache();
    for beta in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        let how = CreateOptions::new().early_refresh(beta).or_uncached(true);
        let error = cache.get_or_create("key", &how, || b"never".to_vec()).unwrap_err();
        assert!(matches!(error, Error::BadOption { option: "early_refresh", .. }), "{error}");
    }
    for beta in [0.0, 1.0, 1e9] {
        assert!(matches!(cache.claim("key", &CreateOptions::new().early_refresh(beta)).unwrap(), Lookup::Create(_)));
    }
}

#[test]
fn a_mode_lets_its_owner_in_and_has_no_other_bits() {
    let place = Place::new();
    for bits in [0, 0o400, 0o200, 0o066, 0o4777, 0o1600, u32::MAX] {
        let options = Options::new().capacity(256 << 10).mode(bits);
        for made in [options.create(place.path()), options.open_or_create(place.path()), options.open(place.path())] {
            let error = made.unwrap_err();
            assert!(matches!(error, Error::BadOption { option: "mode", .. }), "{bits:o}: {error}");
        }
    }
    assert_eq!(place.names(), [""; 0], "nothing was made");
    Options::new().capacity(256 << 10).mode(0o640).create(place.path()).unwrap();
}

/// Which of two times to live applies: that of each handle, otherwise that of the file.
#[test]
fn the_first_time_to_live_of_a_namespace_is_the_files_and_others_are_their_handles() {
    let (_place, cache) = cache();
    let with = |s| NamespaceOptions::new().ttl(Duration::from_secs(s));
    let (first, second) = (cache.namespace("r", &with(10)).unwrap(), cache.namespace("r", &with(20)).unwrap());
    let plain = cache.namespace("r", &NamespaceOptions::new()).unwrap();
    for (namespace, expires) in [(&first, at(10)), (&second, at(20)), (&plain, at(10))] {
        namespace.set("key", "value").unwrap();
        assert_eq!(namespace.get_item("key").unwrap().expires, expires);
    }
}

#[test]
fn a_caller_waits_no_longer_for_a_claim_than_for_a_handles_lock() {
    // The handle's lock settings also apply to the end of a creation.
    let (_place, cache) = cache();
    let hasty = cache.with_lock_wait(Duration::ZERO);
    let Lookup::Create(claim) = hasty.claim("key", &CreateOptions::new().wait(Wait::No)).unwrap() else { panic!() };
    assert!(matches!(claim.store("value").unwrap(), Stored::Yes(_)));
}

/// Options with which a created value is stale immediately.
fn stale_at_once() -> CreateOptions {
    CreateOptions::new().expiry(Expiry::After(Duration::from_secs(60))).soft_expiry(Expiry::After(Duration::ZERO))
}

#[test]
fn an_item_says_how_its_caller_came_to_it() {
    let (_place, cache) = cache();
    let never = || -> Vec<u8> { panic!("the key has a value") };
    let made = || Created::new("value").flags(7).tags(&["tag"]);
    let mut got = cache.get_or_create_item("key", &stale_at_once(), made).unwrap();
    assert_eq!((got.source, &got.item.value[..], got.item.flags), (Source::Created, &b"value"[..], 7));
    // The item is the one that a read finds, but that it was fresh when it was made.
    let found = cache.get_item("key").unwrap();
    assert!(found.is_stale && !got.item.is_stale);
    got.item.is_stale = true;
    assert_eq!(got.item, found);
    // One caller creates it anew, and another one gets the stale value meanwhile.
    let Lookup::Create(claim) = cache.claim("key", &stale_at_once()).unwrap() else { panic!("it is stale") };
    let got = cache.get_or_create_item("key", &stale_at_once().task(Task::unique()), never).unwrap();
    assert_eq!((got.source, got.item), (Source::Stale, found));
    drop(claim);
    let got = cache.get_or_create_item("key", &CreateOptions::new(), || "new").unwrap();
    assert_eq!((got.source, got.item.expires), (Source::Created, None));
    let hit = cache.get_or_create_item("key", &CreateOptions::new(), never).unwrap();
    assert_eq!((hit.source, hit.item), (Source::Hit, got.item));
}

#[test]
fn an_item_of_a_creator_that_failed_is_the_stale_one() {
    let (_place, cache) = cache();
    cache.get_or_create("key", &stale_at_once(), || "old").unwrap();
    let how = stale_at_once().stale_if_error(true);
    let got = cache.get_or_create_item("key", &how, || Err::<Vec<u8>, _>("down")).unwrap();
    assert_eq!((got.source, &got.item.value[..]), (Source::Failed, &b"old"[..]));
    let failed = cache.get_or_create_item("other", &how, || Err::<Vec<u8>, _>("down"));
    assert!(matches!(failed, Err(CreateError::Creator("down"))));
}

#[test]
fn an_item_that_is_not_stored_has_no_stamp() {
    let (_place, cache) = cache();
    let voided = cache.get_or_create_item("key", &CreateOptions::new().flags(3), || {
        cache.clear().unwrap();
        "late"
    });
    let refused = cache.get_or_create_item("key", &CreateOptions::new(), || Created::new("refused").stored(false));
    for (got, value, flags) in [(voided, "late", 3), (refused, "refused", 0)] {
        let Got { item, source, .. } = got.unwrap();
        assert_eq!((source, &item.value[..], item.flags), (Source::NotStored, value.as_bytes(), flags));
        assert_eq!((item.stamp, cache.get("key")), (Stamp(0), None));
        assert_eq!(cache.get_if_changed("key", item.id()).unwrap(), None);
    }
}

#[test]
fn an_item_that_another_created_was_waited_for() {
    let (_place, cache) = cache();
    let begun = Barrier::new(2);
    thread::scope(|scope| {
        let creator = scope.spawn(|| {
            cache.get_or_create("key", &CreateOptions::new(), || {
                begun.wait();
                // The other one waits soon; if it does not, the test fails.
                let waits = || cache.stats().counters.claim_waits > 0;
                let _ = (0..10_000).find(|_| {
                    thread::sleep(Duration::from_millis(1));
                    waits()
                });
                "value"
            })
        });
        begun.wait();
        let never = || -> Vec<u8> { panic!("another creates it") };
        let got = cache.get_or_create_item("key", &CreateOptions::new(), never).unwrap();
        assert_eq!((got.source, &got.item.value[..]), (Source::Waited, &b"value"[..]));
        assert_eq!(creator.join().unwrap().unwrap(), b"value");
    });
}
