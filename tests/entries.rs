//! What observers see: entries and samples of a cache, and its statistics as metrics.

mod common;

use common::Place;
use kennel::{Cache, Expiry, NamespaceOptions, Options, Ring, SampleKind, SetOptions};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

fn cache(place: &Place) -> Cache {
    Options::new().capacity(8 << 20).create(place.path()).unwrap()
}

fn stored(cache: &Cache, range: std::ops::Range<u32>) {
    range.for_each(|i| {
        cache.set(format!("key {i}"), vec![7; 100]).unwrap();
    });
}

#[test]
fn entries_are_all_items_with_their_metadata() {
    let place = Place::new();
    let cache = cache(&place);
    let pages = cache.namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(60))).unwrap();
    stored(&cache, 0..500);
    let before = SystemTime::now();
    let options = SetOptions::new().flags(9).soft_expiry(Expiry::After(Duration::from_secs(30)));
    pages.set_with("front", "hello", &options).unwrap();
    let stamp = pages.get_item("front").unwrap().stamp;

    let all: Vec<_> = cache.entries().collect();
    let keys: BTreeSet<_> = all.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(keys, cache.keys().collect());
    assert_eq!(all.len(), 501);
    assert!(all.iter().filter(|entry| entry.namespace.is_none()).all(|entry| entry.value_len == 100));

    let own: Vec<_> = pages.entries().collect();
    let [front] = &own[..] else { panic!("{own:?}") };
    assert_eq!((&front.key[..], front.namespace.as_deref(), front.value_len), (&b"front"[..], Some("pages"), 5));
    assert_eq!((front.flags, front.stamp, front.ring, front.marks), (9, stamp, Ring::Small, 1));
    assert_eq!(front.record_len, 32 + 24 + 16 + 8, "header, extension, stored key, value");
    let seconds = |time: Option<SystemTime>| time.unwrap().duration_since(before).unwrap_or_default().as_secs_f64();
    assert!((59.0..61.0).contains(&seconds(front.expires)) && (29.0..31.0).contains(&seconds(front.soft_expires)));
    assert!(seconds(front.created) < 2.0);
}

#[test]
fn a_sample_of_all_buckets_is_everything_and_a_smaller_one_estimates_it() {
    let place = Place::new();
    let cache = cache(&place);
    stored(&cache, 0..5_000);
    let count = |buckets| {
        let mut items = BTreeSet::new();
        let share = cache.sample(buckets, |entry| assert!(items.insert(entry.key.clone()), "shown twice"));
        (items.len() as f64, share)
    };
    assert_eq!(count(u64::MAX), (cache.keys().count() as f64, 1.0));
    assert_eq!(count(0), (0.0, 0.0));
    let (items, share) = count(1024);
    assert!(share > 0.0 && share < 1.0);
    let estimate = items / share;
    assert!((4_000.0..6_000.0).contains(&estimate), "{estimate}");
    let other: BTreeSet<u64> = (0..5).map(|_| count(1024).0 as u64).collect();
    assert!(other.len() > 1, "the same buckets each time");
}

/// A read-only handle sees the same, and nothing that it does shows in the counters or in the marks.
#[test]
fn an_observer_leaves_no_trace() {
    let place = Place::new();
    let cache = cache(&place);
    stored(&cache, 0..100);
    let (counters, marks) = (cache.stats().counters, |cache: &Cache| cache.entries().map(|entry| entry.marks).max());
    let observer = Options::new().open_read_only(cache.path()).unwrap();
    let mut seen = 0;
    observer.sample(u64::MAX, |_| seen += 1);
    assert_eq!((seen, observer.entries().count()), (100, 100));
    assert_eq!((cache.stats().counters, marks(&cache)), (counters, Some(0)));
}

#[test]
fn what_has_expired_or_was_removed_is_no_entry() {
    let place = Place::new();
    let cache = cache(&place);
    stored(&cache, 0..10);
    cache.delete("key 1").unwrap();
    cache.set_with("key 2", "", &SetOptions::new().expiry(Expiry::After(Duration::from_millis(1)))).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(cache.entries().count(), 8);
    cache.clear().unwrap();
    assert_eq!(cache.entries().count(), 0);
    assert_eq!(cache.sample(u64::MAX, |entry| panic!("{entry:?}")), 1.0);
}

#[test]
fn samples_are_the_statistics() {
    let place = Place::new();
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let cache = cache(&place);
    stored(&cache, 0..3);
    assert!(cache.get("key 0").is_some() && cache.get("no").is_none() && cache.get("none").is_none());
    let samples: Vec<_> = cache.stats().samples().collect();
    let found = |name: &str, label: Option<(&'static str, &str)>| {
        let wanted: Vec<_> = label.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let is_it = |sample: &&kennel::Sample| sample.name == name && sample.labels == wanted;
        samples.iter().find(is_it).unwrap_or_else(|| panic!("no {name} {label:?}")).value
    };
    assert_eq!(found("kennel_gets_total", Some(("result", "hit"))), 1.0);
    assert_eq!(found("kennel_gets_total", Some(("result", "miss"))), 2.0);
    assert_eq!((found("kennel_sets_total", None), found("kennel_items", None)), (3.0, 3.0));
    assert_eq!(found("kennel_limited", Some(("by", "nothing"))), 1.0);
    assert_eq!(found("kennel_limited", Some(("by", "index"))), 0.0);
    let created = found("kennel_created_timestamp_seconds", None);
    assert!((start..=start + 60).contains(&(created as u64)), "{created}");
    // Families are in one piece, and the names of counters say so.
    let mut names: Vec<_> = samples.iter().map(|sample| sample.name).collect();
    names.dedup();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    assert!(samples.iter().all(|sample| (sample.kind == SampleKind::Counter) == sample.name.ends_with("_total")));
}
