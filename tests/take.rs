//! `take`, `get_and_touch`, items in batches, keys with a prefix, and jitter.

mod common;

use common::{Place, TestClock, moment};
use kennel::{Cache, CreateOptions, Expiry, Item, NamespaceOptions, Options, SetOptions, Values};
use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime};

const NOW: u64 = 1_700_000_000_000;

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(2)
}

fn after(ms: u64) -> Expiry {
    Expiry::After(Duration::from_millis(ms))
}

fn reads(cache: &Cache) -> (u64, u64) {
    let counters = cache.stats().counters;
    (counters.hits, counters.misses)
}

#[test]
fn a_taken_value_is_gone_and_comes_with_its_metadata() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    for space in [&cache, &pages] {
        let how = SetOptions::new().flags(7).expiry(after(1000)).soft_expiry(after(500));
        space.set_with("key", "value", &how).unwrap();
        let before = space.get_item("key").unwrap();
        let counted = reads(&cache);
        assert_eq!(space.take("key").unwrap(), Some(before));
        assert_eq!(space.take("key").unwrap(), None);
        assert_eq!(reads(&cache), (counted.0 + 1, counted.1 + 1));
        space.set_with("key", "value", &how).unwrap();
        clock.set(NOW + 1000);
        assert_eq!(space.take("key").unwrap(), None, "it has expired");
        clock.set(NOW);
        space.set("key", "value").unwrap();
        space.clear().unwrap();
        assert_eq!(space.take("key").unwrap(), None, "it was cleared");
    }
    assert!(cache.verify().is_ok());
}

#[test]
fn one_of_many_gets_a_taken_value() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    for round in 0..50u32 {
        cache.set("key", round.to_string()).unwrap();
        let taken: Vec<Item> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(|| cache.take("key").unwrap())).collect();
            takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().map(|item| &item.value[..]).collect::<Vec<_>>(), [round.to_string().as_bytes()]);
    }
}

#[test]
fn who_takes_a_key_ends_its_creation() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let other = cache.clone();
    let value = cache.get_or_create("key", &CreateOptions::new(), || {
        std::thread::spawn(move || assert_eq!(other.take("key").unwrap(), None)).join().unwrap();
        "created"
    });
    assert_eq!(value.unwrap(), b"created");
    assert_eq!(cache.get("key"), None, "it may be made of what was taken");
}

#[test]
fn a_touched_value_comes_with_its_new_expiry() {
    let clock = TestClock::at(NOW);
    for verify in [false, true] {
        let place = Place::new();
        let cache = options().verify_reads(verify).clock(clock.clone()).create(place.path()).unwrap();
        clock.set(NOW);
        assert_eq!(cache.get_and_touch("key", after(1000)).unwrap(), None);
        let how = SetOptions::new().expiry(after(100));
        let stamp = cache.set_with("key", "value", &how).unwrap();
        clock.set(NOW + 50);
        let item = cache.get_and_touch("key", after(1000)).unwrap().unwrap();
        assert_eq!((&item.value[..], item.stamp, item.expires), (&b"value"[..], stamp, Some(moment(NOW + 1050))));
        assert_eq!(cache.get_item("key").unwrap(), item);
        clock.set(NOW + 1049);
        assert_eq!(cache.get_and_touch("key", Expiry::Never).unwrap().unwrap().expires, None);
        clock.set(NOW + 10_000);
        assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
        assert!(cache.verify().is_ok());
    }
}

/// All of an item but its value.
fn about<V>(item: &Item<V>) -> String {
    let Item { flags, stamp, lineage, expires, soft_expires, created, is_stale, .. } = item;
    format!("{flags} {stamp:?} {lineage} {expires:?} {soft_expires:?} {created:?} {is_stale}")
}

#[test]
fn a_batch_of_items_is_that_of_single_items() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    let mut values = Values::new();
    for space in [&cache, &pages] {
        let keys: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        for key in keys.iter().step_by(2) {
            space.set_with(key, key, &SetOptions::new().flags(3)).unwrap();
        }
        let expected: Vec<Option<Item>> = keys.iter().map(|key| space.get_item(key)).collect();
        assert_eq!(space.get_items(&keys), expected);
        assert_eq!(space.try_get_items(&keys).unwrap(), expected);
        for _ in 0..2 {
            let known = space.try_get_items_into(&keys, &mut values).unwrap();
            assert_eq!((known.len(), values.len()), (keys.len(), keys.len()));
            for (i, (known, expected)) in known.iter().zip(&expected).enumerate() {
                assert_eq!(known.as_ref().map(about), expected.as_ref().map(about));
                assert_eq!(values.get(i), expected.as_ref().map(|item| &item.value[..]));
                assert_eq!(known.as_ref().map(|known| known.value), values.get(i).map(<[u8]>::len));
            }
        }
        assert_eq!(expected.iter().flatten().count(), 25);
    }
}

#[test]
fn keys_are_listed_by_their_prefix() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    for space in [&cache, &pages] {
        for key in ["user:1", "user:2", "user", "page:1", ""] {
            space.set(key, "x").unwrap();
        }
    }
    let listed = |space: &Cache, prefix: &str| space.keys_with(prefix).collect::<BTreeSet<_>>();
    let expected = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect::<BTreeSet<_>>();
    assert_eq!(listed(&pages, "user:"), expected(&["user:1", "user:2"]));
    assert_eq!(listed(&pages, ""), expected(&["user:1", "user:2", "user", "page:1", ""]));
    assert_eq!(listed(&pages, "none"), expected(&[]));
    assert_eq!(listed(&cache, "user:"), expected(&["user:1", "user:2"]));
    assert_eq!(listed(&cache, "pages\0p"), expected(&["pages\0page:1"]), "as it is stored");
}

#[test]
fn jitter_shortens_and_never_lengthens() {
    let place = Place::new();
    let cache = options().clock(TestClock::at(NOW)).create(place.path()).unwrap();
    let hour = Duration::from_secs(3600);
    let half = NamespaceOptions::new().ttl(hour).soft_ttl(hour / 2).jitter(0.5);
    let by_default = cache.namespace("half", &half).unwrap();
    // Another handle has the jitter of the file.
    let again = cache.namespace("half", &NamespaceOptions::new()).unwrap();
    let how = SetOptions::new().expiry(Expiry::After(hour)).soft_expiry(Expiry::After(hour / 2)).jitter(0.5);
    for (space, how) in [(&by_default, SetOptions::new()), (&again, SetOptions::new()), (&cache, how)] {
        let mut seen = HashSet::new();
        for _ in 0..200 {
            space.set_with("key", "value", &how).unwrap();
            let item = space.get_item("key").unwrap();
            let left = |at: Option<SystemTime>| at.unwrap().duration_since(moment(NOW)).unwrap();
            let (hard, soft) = (left(item.expires), left(item.soft_expires));
            assert!(hard <= hour && hard >= hour / 2, "{hard:?}");
            assert!(soft <= hour / 2 && soft >= hour / 4 && soft <= hard, "{soft:?}");
            seen.insert(hard);
        }
        assert!(seen.len() > 150, "{} different expiries", seen.len());
    }
    // A moment stays what it is, and a value may turn the jitter off.
    let at = Expiry::At(moment(NOW + 5000));
    by_default.set_with("key", "value", &SetOptions::new().expiry(at)).unwrap();
    assert_eq!(by_default.get_item("key").unwrap().expires, Some(moment(NOW + 5000)));
    by_default.set_with("key", "value", &SetOptions::new().jitter(0.0)).unwrap();
    assert_eq!(by_default.get_item("key").unwrap().expires, Some(moment(NOW) + hour));
    for odd in [f64::NAN, -1.0, 0.0] {
        cache.set_with("key", "value", &how.jitter(odd)).unwrap();
        assert_eq!(cache.get_item("key").unwrap().expires, Some(moment(NOW) + hour), "jitter {odd}");
    }
    let whole = SetOptions::new().expiry(Expiry::After(Duration::MAX)).jitter(7.0);
    cache.set_with("key", "value", &whole).unwrap();
    assert!(cache.verify().is_ok());
    let created = cache.get_or_create("new", &CreateOptions::new().expiry(Expiry::After(hour)).jitter(0.5), || "x");
    assert_eq!(created.unwrap(), b"x");
    assert!(cache.get_item("new").unwrap().expires.unwrap() < moment(NOW) + hour);
}
