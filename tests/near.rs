//! Near copies: `get_if_changed`, and the decoded values of `Local`. A near value is one that a `get` could have returned.
#![cfg(feature = "typed")]

mod common;

#[cfg(unix)]
use common::fork::Forked;
#[cfg(unix)]
use common::stop::Stop;
use common::{Place, TestClock, moment};
use kennel::{
    AfterCrash, Cache, Changed, CreateOptions, Expiry, Invalidation, Item, ItemId, LocalOptions, LockStrategy,
    NamespaceOptions, Options, SetOptions,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

const NOW: u64 = 1_700_000_000_000;
const FRESH: Option<Changed> = Some(Changed::Same { is_stale: false });
const STALE: Option<Changed> = Some(Changed::Same { is_stale: true });

fn options() -> Options {
    Options::new().capacity(256 << 10).stripes(2)
}

fn item(cache: &Cache, key: &str) -> Item {
    cache.get_item(key).unwrap()
}

fn look(cache: &Cache, key: &str, known: ItemId) -> Option<Changed> {
    let found = cache.get_if_changed(key, known).unwrap();
    assert_eq!(cache.is_fresh(key, known), found == FRESH);
    found
}

fn is_new(found: Option<Changed>, value: &str) -> bool {
    matches!(found, Some(Changed::New(item)) if item.value == value.as_bytes())
}

#[test]
fn each_write_of_a_key_is_a_change() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    type Write = fn(&Cache);
    let writes: [(&str, Write); 6] = [
        ("7", |cache| cache.set("key", "7").unwrap()),
        ("8", |cache| assert_eq!(cache.incr("key", 1).unwrap(), Some(8))),
        ("7", |cache| {
            assert!(cache.delete("key").unwrap());
            cache.set("key", "7").unwrap();
        }),
        ("7", |cache| {
            cache.clear().unwrap();
            cache.set("key", "7").unwrap();
        }),
        ("7", |cache| assert!(cache.replace("key", "7", &SetOptions::new()).unwrap())),
        ("9", |cache| assert!(cache.set_multi(&[("key", "9")], &SetOptions::new())[0].is_ok())),
    ];
    for (value, write) in writes {
        cache.set("key", "7").unwrap();
        let known = item(&cache, "key").id();
        assert_eq!(look(&cache, "key", known), FRESH);
        assert_eq!(look(&cache, "another key", known), None);
        write(&cache);
        assert!(is_new(look(&cache, "key", known), value));
    }
}

#[test]
fn what_changes_no_value_changes_no_id() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let how = SetOptions::new().soft_expiry(Expiry::At(moment(NOW + 1000)));
    cache.set_with("key", "value", &how).unwrap();
    let known = item(&cache, "key").id();
    assert!(cache.touch("key", Expiry::At(moment(NOW + 5000))).unwrap());
    // Other keys move the record through the rings.
    for n in 0..2000 {
        cache.set(format!("other {n}"), [b'x'; 200]).unwrap();
        assert_eq!(look(&cache, "key", known), FRESH, "after {n}");
    }
    clock.set(NOW + 1000);
    assert_eq!(look(&cache, "key", known), STALE);
    clock.set(NOW + 5000);
    assert_eq!(look(&cache, "key", known), None);
}

#[test]
fn invalidations_and_evictions_end_what_is_known() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    for (space, other) in [(&cache, &pages), (&pages, &cache)] {
        space.set("key", "value").unwrap();
        other.set("key", "another").unwrap();
        let known = item(space, "key").id();
        space.invalidate(Invalidation::Soft).unwrap();
        assert_eq!(look(space, "key", known), STALE);
        space.clear().unwrap();
        assert_eq!(look(space, "key", known), None);
    }
    cache.set("key", "value").unwrap();
    let known = item(&cache, "key").id();
    for n in 0..10_000 {
        // A key that is read enters the main ring, and in the end pushes out all that is not.
        cache.set(n.to_string(), [0; 200]).unwrap();
        assert!((0..3).all(|_| cache.contains(n.to_string())));
    }
    assert_eq!(cache.get("key"), None);
    assert_eq!(look(&cache, "key", known), None);
}

/// A copy holds the same stamps. Here one of them names another value in the copy, as it would if both went on counting.
#[test]
fn an_id_of_one_file_means_nothing_in_another() {
    let place = Place::new();
    let options = || options().locks(LockStrategy::Process).after_crash(AfterCrash::Verify);
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let known = item(&cache, "key").id();
    let path = place.dir().join("copy");
    std::fs::copy(place.path(), &path).unwrap();
    let copy = options().open(&path).unwrap();
    // The first write after a reset checks the stripes, after which reads need not.
    (0..100).for_each(|n| copy.set(format!("{n}"), "x").unwrap());
    assert_eq!(item(&copy, "key").stamp, known.stamp);
    assert!(is_new(look(&copy, "key", known), "value"), "the same stamp of another lineage");
    let of_copy = item(&copy, "key").id();
    assert_eq!(look(&copy, "key", of_copy), FRESH);
    assert_eq!(look(&cache, "key", known), FRESH);
    let anew = Options::new().create(place.dir().join("new")).unwrap();
    anew.set("key", "value").unwrap();
    assert_ne!(item(&anew, "key").lineage, known.lineage);
    // It stays when the file is opened again.
    drop(cache);
    assert_eq!(look(&options().open(place.path()).unwrap(), "key", known), FRESH);
}

#[test]
fn where_checksums_are_verified_a_value_is_always_new() {
    let place = Place::new();
    let cache = options().verify_reads(true).create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    assert!(is_new(look(&cache, "key", item(&cache, "key").id()), "value"));
}

#[test]
fn a_read_only_handle_knows_what_is_unchanged() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let reader = Options::new().open_read_only(place.path()).unwrap();
    let known = item(&reader, "key").id();
    assert_eq!(look(&reader, "key", known), FRESH);
    cache.set("key", "another").unwrap();
    assert!(is_new(look(&reader, "key", known), "another"));
}

#[test]
fn a_look_counts_as_one_read_or_none() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let known = item(&cache, "key").id();
    let counted = |look: &dyn Fn()| {
        let before = cache.stats().counters;
        look();
        let after = cache.stats().counters;
        (after.hits - before.hits, after.misses - before.misses)
    };
    assert_eq!(counted(&|| assert_eq!(cache.get_if_changed("key", known).unwrap(), FRESH)), (1, 0));
    assert_eq!(counted(&|| assert_eq!(cache.get_if_changed("no key", known).unwrap(), None)), (0, 1));
    assert_eq!(counted(&|| assert!(cache.is_fresh("key", known))), (1, 0));
    assert_eq!(counted(&|| assert!(!cache.is_fresh("no key", known))), (0, 0));
}

/// A value that counts how often it is decoded.
#[derive(Debug, PartialEq, Serialize)]
struct Rows(u32);

static DECODED: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Relaxed);
        u32::deserialize(from).map(Rows)
    }
}

#[test]
fn a_value_is_decoded_once_and_is_never_an_old_one() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let typed = cache.typed::<Rows>();
    let local = typed.local(&LocalOptions::new());
    let how = CreateOptions::new();
    assert_eq!(*local.get_or_create("key", &how, || Rows(1)).unwrap(), Rows(1));
    let first = local.get("key").unwrap().unwrap();
    let decoded = DECODED.load(Relaxed);
    for _ in 0..10 {
        assert!(Arc::ptr_eq(&first, &local.get("key").unwrap().unwrap()));
        let created = local.clone().get_or_create("key", &how, || -> Rows { unreachable!("it is there") }).unwrap();
        assert!(Arc::ptr_eq(&first, &created));
    }
    assert_eq!(DECODED.load(Relaxed), decoded);
    typed.set("key", &Rows(2)).unwrap();
    assert_eq!(local.get("key").unwrap().as_deref(), Some(&Rows(2)));
    assert!(typed.delete("key").unwrap());
    assert_eq!(local.get("key").unwrap(), None);
    assert_eq!(*local.get_or_create("key", &how, || Rows(3)).unwrap(), Rows(3));
    cache.invalidate(Invalidation::Soft).unwrap();
    assert_eq!(*local.get_or_create("key", &how, || Rows(4)).unwrap(), Rows(4), "a stale value is created anew");
    cache.set("key", "of no type").unwrap();
    assert!(local.get("key").is_err());
    assert_eq!(*local.get_or_create("key", &how, || Rows(5)).unwrap(), Rows(5));
    local.clear();
    assert_eq!(local.get("key").unwrap().as_deref(), Some(&Rows(5)));
}

#[test]
fn a_caller_that_limits_the_age_gets_no_older_near_value() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let local = cache.typed::<u32>().local(&LocalOptions::new());
    let how = CreateOptions::new();
    assert_eq!(*local.get_or_create("key", &how, || 1u32).unwrap(), 1);
    assert_eq!(*local.get_or_create("key", &how, || 2u32).unwrap(), 1);
    clock.set(NOW + 60_000);
    let young = how.clone().max_age(Duration::from_secs(10));
    assert_eq!(*local.get_or_create("key", &young, || 3u32).unwrap(), 3);
    assert_eq!(*local.get_or_create("key", &how, || 4u32).unwrap(), 3);
}

/// Writers and readers of one process: a near value is never older than the last write that had returned.
#[test]
fn near_values_are_as_new_as_those_in_the_file() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let local = cache.typed::<u32>().local(&LocalOptions::new().items(2));
    let done = [const { AtomicU32::new(0) }; 4];
    std::thread::scope(|scope| {
        for (key, done) in ["a", "b", "c", "d"].iter().zip(&done) {
            let typed = cache.typed::<u32>();
            scope.spawn(move || {
                for n in 1..2000 {
                    typed.set(key, &n).unwrap();
                    done.store(n, Relaxed);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0..20_000 {
                    let (key, done) = (["a", "b", "c", "d"][n % 4], &done[n % 4]);
                    let before = done.load(Relaxed);
                    if let Some(value) = local.get(key).unwrap() {
                        assert!(*value >= before && *value <= done.load(Relaxed) + 1, "{value} after {before}");
                    }
                }
            });
        }
    });
}

/// A plain lock in the values of a process would stay locked in a child that is forked while another thread holds it.
#[cfg(unix)]
#[test]
fn a_forked_child_uses_near_values_whatever_its_parents_threads_do() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let local = cache.typed::<Vec<u32>>().local(&LocalOptions::new().items(8));
    (0..20u32).for_each(|n| local.typed().set(n.to_le_bytes(), &vec![n; 30]).unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    (0..20u32).for_each(|n| _ = local.get(n.to_le_bytes()).unwrap());
                }
            });
        }
        let _over = Stop(&over);
        for _ in 0..20 {
            let child = Forked::start(|| {
                for n in (0..20u32).cycle().take(200) {
                    assert_eq!(local.get(n.to_le_bytes()).unwrap().as_deref(), Some(&vec![n; 30]));
                }
            });
            child.join();
        }
    });
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn tasks_share_the_values_of_threads() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let local = cache.typed::<u32>().local(&LocalOptions::new());
    let tasks = local.to_async();
    let how = CreateOptions::new();
    assert_eq!(*tasks.get_or_create("key", &how, async || 1u32).await.unwrap(), 1);
    let near = tasks.get_or_create("key", &how, async || 2u32).await.unwrap();
    assert!(Arc::ptr_eq(&near, &local.get("key").unwrap().unwrap()));
    assert!(Arc::ptr_eq(&near, &tasks.get("key").unwrap().unwrap()));
    tasks.typed().set("key", &3).await.unwrap();
    assert_eq!(*tasks.get_or_create("key", &how, async || 4u32).await.unwrap(), 3);
}
