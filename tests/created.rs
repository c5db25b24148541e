//! Settings that depend on the created value, and impossible options.

mod common;

use common::{Place, TestClock, moment};
use kennel::{Cache, CreateOptions, Created, Error, Expiry, Lookup, NamespaceOptions, Options, Stored, Wait};
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
