//! Saved items: the order in which they are read, what they keep, and what a file that they are restored to keeps.

mod common;

use common::{Place, small_options};
use kennel::{
    Cache, CreateOptions, Expiry, Invalidation, Lookup, NamespaceOptions, Options, RestoreOptions, Restored, Ring,
    SavedItem, SetOptions,
};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn cache(place: &Place, capacity: u64) -> Cache {
    Options::new().capacity(capacity).create(place.path()).unwrap()
}

fn key(item: &SavedItem) -> String {
    String::from_utf8_lossy(&item.key).into_owned()
}

/// Stores all items of one file in another, the most used first; returns how many there were of each outcome.
fn copy(from: &Cache, to: &Cache, how: &RestoreOptions) -> BTreeMap<String, usize> {
    let items: Vec<_> = from.hottest_first().collect();
    let mut outcomes = BTreeMap::new();
    for restored in to.restore_multi(&items, how) {
        *outcomes.entry(format!("{:?}", restored.unwrap())).or_default() += 1;
    }
    outcomes
}

fn all(cache: &Cache) -> BTreeMap<Vec<u8>, SavedItem> {
    cache.hottest_first().map(|item| (item.key.clone(), item)).collect()
}

#[test]
fn a_restored_item_is_the_saved_one() {
    let (one, other) = (Place::new(), Place::new());
    let (from, to) = (cache(&one, 8 << 20), cache(&other, 4 << 20));
    let pages = from.namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(600)).jitter(0.25)).unwrap();
    let hour = Expiry::After(Duration::from_secs(3600));
    from.set("plain", "value").unwrap();
    from.set("", "of the empty key").unwrap();
    from.set("empty", "").unwrap();
    from.set("large", vec![7; 30_000]).unwrap();
    from.set_with(
        "with all",
        "v",
        &SetOptions::new().flags(9).expiry(hour).soft_expiry(Expiry::After(Duration::from_secs(60))),
    )
    .unwrap();
    from.get_or_create("created", &CreateOptions::new(), || "by a creator").unwrap();
    pages.set("front", "hello").unwrap();
    let absence = CreateOptions::new().absence_expiry(hour);
    assert!(matches!(from.get_or_create_optional("no such", &absence, || None::<Vec<u8>>), Ok(None)));

    assert_eq!(copy(&from, &to, &RestoreOptions::new()), [("Stored".to_owned(), 8)].into());
    assert_eq!(all(&to), all(&from));
    assert_eq!(to.get_item("with all").unwrap().flags, 9);
    let created = |cache: &Cache| cache.get_item("created").unwrap().created.unwrap();
    assert_eq!(created(&to), created(&from));
    assert_eq!(to.get_item("plain").unwrap().created, None);
    let handle = to.namespace("pages", &NamespaceOptions::new()).unwrap();
    assert_eq!(handle.get("front").as_deref(), Some(&b"hello"[..]));
    handle.clear().unwrap();
    assert!(!handle.contains("front") && to.contains("plain"), "it is an item of the namespace");
    let mut asked = false;
    assert!(matches!(
        to.get_or_create_optional("no such", &CreateOptions::new(), || {
            asked = true;
            Some("x")
        }),
        Ok(None)
    ));
    assert!(!asked, "the absence is remembered");
    assert!(to.verify().is_ok());
}

#[test]
fn defaults_of_namespaces_can_be_read() {
    let place = Place::new();
    let cache = cache(&place, 1 << 20);
    let times =
        NamespaceOptions::new().ttl(Duration::from_secs(60)).absence_ttl(Duration::from_millis(5)).jitter(0.125);
    cache.namespace("pages", &times).unwrap();
    let defaults = cache.namespace_defaults("pages").unwrap();
    assert_eq!((defaults.ttl, defaults.soft_ttl), (Some(Duration::from_secs(60)), None));
    assert_eq!((defaults.absence_ttl, defaults.jitter), (Some(Duration::from_millis(5)), 0.125));
    assert!(cache.namespace_defaults("other").is_none() && cache.namespace_defaults(&"x".repeat(200)).is_none());
}

#[test]
fn the_most_used_items_come_first() {
    let place = Place::new();
    let cache = small_options().create(place.path()).unwrap();
    (0..300).for_each(|i| cache.set(format!("old {i}"), vec![1; 40]).unwrap());
    // The main rings have room, so these go there when the small rings are full.
    (0..600).for_each(|i| cache.set(format!("key {i}"), vec![2; 40]).unwrap());
    for i in (0..300).step_by(7) {
        (0..3).for_each(|_| _ = cache.get(format!("old {i}")));
    }
    let items: Vec<_> = cache.hottest_first().collect();
    assert_eq!(items.len(), cache.keys().count());
    let rank = |item: &SavedItem| match (item.ring, item.marks) {
        (Ring::Main, 0) => 4,
        (Ring::Main, marks) => 3 - u32::from(marks),
        (Ring::Small, 0) => 6,
        (Ring::Small, 1) => 5,
        (Ring::Small, _) => 3,
    };
    assert!(items.is_sorted_by_key(rank));
    let hot = items.iter().take_while(|item| rank(item) == 0).count();
    assert!(hot > 20 && items[..hot].iter().all(|item| key(item).starts_with("old ")), "{hot}");
    // Of one rank, the newest are first. The rings of the stripes are filled differently, so not each pair is in order.
    let unread: Vec<u32> = items
        .iter()
        .filter(|item| rank(item) == 6)
        .filter_map(|item| key(item).strip_prefix("key ")?.parse().ok())
        .collect();
    let (first, second) = unread.split_at(unread.len() / 2);
    let mean = |part: &[u32]| f64::from(part.iter().sum::<u32>()) / part.len() as f64;
    assert!(mean(first) > mean(second) + 5.0, "{unread:?}");
    let marks = |cache: &Cache| cache.entries().map(|entry| u64::from(entry.marks)).sum::<u64>();
    let before = (marks(&cache), cache.stats().counters);
    assert_eq!(cache.hottest_first().count(), items.len());
    assert_eq!((marks(&cache), cache.stats().counters), before, "nothing is marked or counted");
}

#[test]
fn a_smaller_file_gets_the_most_used_items() {
    let (one, other) = (Place::new(), Place::new());
    let from = Options::new().capacity(4 << 20).mean_item(128).create(one.path()).unwrap();
    // With an index in which no bucket overflows, whatever the seed.
    let to = Options::new().capacity(1 << 20).mean_item(32).create(other.path()).unwrap();
    (0..20_000).for_each(|i| from.set(format!("key {i:05}"), vec![3; 100]).unwrap());
    let hot: Vec<_> = from.keys().step_by(10).collect();
    hot.iter().for_each(|key| (0..3).for_each(|_| assert!(from.get(key).is_some())));
    let items: Vec<_> = from.hottest_first().collect();
    let outcomes = copy(&from, &to, &RestoreOptions::new());
    let (stored, left_out) = (outcomes["Stored"], outcomes["NoRoom"]);
    assert!(stored > 4_000 && left_out > 5_000, "{outcomes:?}");
    assert!(hot.iter().all(|key| to.contains(key)), "what is used most is there");
    // Where room ends differs between the stripes.
    let first = items[..stored * 8 / 10].iter().filter(|item| to.contains(&item.key)).count();
    assert!(first as f64 > stored as f64 * 0.8 * 0.995, "{first} of the first {}", stored * 8 / 10);
    let counters = to.stats().counters;
    assert_eq!((counters.evictions_small, counters.evictions_main, counters.evictions_index), (0, 0, 0));
    assert_eq!(to.keys().count(), stored);
    assert!(to.verify().is_ok());
}

#[test]
fn a_full_file_loses_nothing_unless_that_is_asked_for() {
    let (one, other) = (Place::new(), Place::new());
    let (from, to) = (small_options().create(one.path()).unwrap(), small_options().create(other.path()).unwrap());
    (0..1_000).for_each(|i| from.set(format!("saved {i}"), vec![4; 40]).unwrap());
    (0..10_000).for_each(|i| to.set(format!("own {i}"), vec![5; 40]).unwrap());
    let own: Vec<_> = to.keys().collect();
    let outcomes = copy(&from, &to, &RestoreOptions::new());
    assert!(own.iter().all(|key| to.contains(key)), "{outcomes:?}");
    assert!(outcomes["NoRoom"] > 900, "{outcomes:?}");
    let outcomes = copy(&from, &to, &RestoreOptions::new().evict(true));
    assert!(outcomes["Stored"] > 900 && !outcomes.contains_key("NoRoom"), "{outcomes:?}");
    assert!(!own.iter().all(|key| to.contains(key)));
    assert!(to.verify().is_ok());
}

/// The rings and buckets of a file that was in use are full, of items that are gone.
#[test]
fn what_was_invalidated_or_has_expired_makes_room() {
    let one = Place::new();
    let from = cache(&one, 1 << 20);
    (0..200).for_each(|i| from.set(format!("saved {i}"), vec![4; 40]).unwrap());
    let short = SetOptions::new().expiry(Expiry::After(Duration::from_millis(20)));
    let ways: [fn(&Cache); 2] = [|to| to.clear().unwrap(), |_| std::thread::sleep(Duration::from_millis(40))];
    for make_room in ways {
        let other = Place::new();
        let to = small_options().create(other.path()).unwrap();
        (0..10_000).for_each(|i| _ = to.set_with(format!("own {i}"), vec![5; 40], &short).unwrap());
        make_room(&to);
        assert_eq!(copy(&from, &to, &RestoreOptions::new()), [("Stored".to_owned(), 200)].into());
        assert!(to.verify().is_ok());
    }
}

#[test]
fn an_item_whose_older_value_was_invalidated_leaves_others_their_room() {
    let place = Place::new();
    // With this seed no bucket of the index overflows.
    let cache = Options::new().capacity(1 << 20).mean_item(32).stripes(1).seed(5).create(place.path()).unwrap();
    let fill = || (0..6_500).for_each(|i| cache.set(format!("key {i:05}"), vec![1; 100]).unwrap());
    // Those that fit into the places of their older values, and those that do not, take turns.
    let saved =
        |i| SavedItem::new(format!("key {i:05}").into_bytes(), Some(vec![2; if i % 2 == 0 { 100 } else { 140 }]));
    let items: Vec<_> = (0..4_000).map(saved).collect();
    for evict in [false, true] {
        fill();
        cache.clear().unwrap();
        for restored in cache.restore_multi(&items, &RestoreOptions::new().evict(evict)) {
            assert_eq!(restored.unwrap(), Restored::Stored);
        }
        assert_eq!(all(&cache).len(), items.len(), "evict: {evict}");
        assert!(cache.verify().is_ok());
    }
}

#[test]
fn behind_items_in_use_what_is_gone_is_replaced_in_its_place() {
    let place = Place::new();
    // With this seed no bucket of the index overflows.
    let cache = Options::new().capacity(1 << 20).mean_item(32).stripes(1).seed(5).create(place.path()).unwrap();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    // The oldest of both rings are in use. Nothing is read, so each ring's tail stays where they are.
    (0..1_000).for_each(|i| cache.set(format!("in use {i:05}"), vec![1; 100]).unwrap());
    (0..4_000).for_each(|i| pages.set(format!("key {i:05}"), vec![1; 100]).unwrap());
    let items: Vec<_> = pages.hottest_first().collect();
    assert_eq!((items.len(), cache.keys().count()), (4_000, 5_000));
    pages.clear().unwrap();
    for restored in pages.restore_multi(&items, &RestoreOptions::new()) {
        assert_eq!(restored.unwrap(), Restored::Stored);
    }
    assert_eq!((pages.keys().count(), cache.keys().count()), (4_000, 5_000));
    assert_eq!(cache.stats().counters.evictions(), 0);
    assert!(cache.verify().is_ok());
}

#[test]
fn what_the_file_holds_is_kept_or_replaced() {
    let place = Place::new();
    let cache = cache(&place, 1 << 20);
    let mut item = SavedItem::new("key", Some("saved"));
    let restore =
        |item: &SavedItem<&str>, replace| cache.restore(item, &RestoreOptions::new().replace(replace)).unwrap();
    let value = || cache.get("key").map(|value| String::from_utf8(value).unwrap());
    cache.set("key", "newer").unwrap();
    assert_eq!((restore(&item, false), value()), (Restored::Kept, Some("newer".to_owned())));
    assert_eq!((restore(&item, true), value()), (Restored::Stored, Some("saved".to_owned())));
    // A longer value, which does not fit where the old one lies.
    item.value = Some("a value that takes far more room than the one before it");
    assert_eq!((restore(&item, true), value()), (Restored::Stored, item.value.map(Into::into)));
    cache.delete("key").unwrap();
    item.expires = Some(SystemTime::now() - Duration::from_millis(1));
    assert_eq!((restore(&item, true), value()), (Restored::Expired, None));
    item.expires = None;
    // A remembered absence is newer knowledge than the value.
    let absence = CreateOptions::new().absence_expiry(Expiry::Never);
    cache.get_or_create_optional("key", &absence, || None::<Vec<u8>>).unwrap();
    assert_eq!((restore(&item, false), value()), (Restored::Kept, None));
    assert_eq!(restore(&item, true), Restored::Stored);
    assert!(cache.verify().is_ok());
}

#[test]
fn a_soft_invalidation_is_not_undone() {
    let (one, other) = (Place::new(), Place::new());
    let (from, to) = (cache(&one, 1 << 20), cache(&other, 1 << 20));
    from.set("old", "x").unwrap();
    from.invalidate(Invalidation::Soft).unwrap();
    from.set("new", "x").unwrap();
    // Epochs of the other file are its own.
    to.clear().unwrap();
    to.clear().unwrap();
    copy(&from, &to, &RestoreOptions::new());
    assert!(to.get_item("old").unwrap().is_stale);
    assert!(!to.get_item("new").unwrap().is_stale);
    from.clear().unwrap();
    assert_eq!(from.hottest_first().count(), 0);
    assert!(to.contains("new"), "the invalidations of a file are its own");
}

#[test]
fn a_time_of_creation_is_never_in_the_future() {
    let place = Place::new();
    let cache = cache(&place, 1 << 20);
    let mut item = SavedItem::new("key", Some("value"));
    item.created = Some(SystemTime::now() + Duration::from_secs(3600));
    assert_eq!(cache.restore(&item, &RestoreOptions::new()).unwrap(), Restored::Stored);
    assert!(cache.get_item("key").unwrap().created.unwrap() <= SystemTime::now());
    // Times beyond what a record holds, or before 1970.
    item.key = "other";
    item.expires = UNIX_EPOCH.checked_add(Duration::from_secs(1 << 40));
    item.soft_expires = UNIX_EPOCH.checked_sub(Duration::from_secs(1 << 20));
    item.cost = Duration::MAX;
    item.marks = 255;
    assert_eq!(cache.restore(&item, &RestoreOptions::new()).unwrap(), Restored::Stored);
    assert!(cache.get_item("other").unwrap().is_stale);
    assert!(cache.verify().is_ok());
}

#[test]
fn a_namespace_of_a_handle_takes_the_place_of_the_items_own() {
    let (one, other) = (Place::new(), Place::new());
    let (from, to) = (cache(&one, 1 << 20), cache(&other, 1 << 20));
    let old = from.namespace("old", &NamespaceOptions::new()).unwrap();
    old.set("key", "value").unwrap();
    from.set("no namespace", "x").unwrap();
    let items: Vec<_> = old.hottest_first().collect();
    assert_eq!((items.len(), &items[0].key[..], items[0].namespace.as_deref()), (1, &b"key"[..], Some("old")));
    let new = to.namespace("new", &NamespaceOptions::new()).unwrap();
    assert_eq!(new.restore(&items[0], &RestoreOptions::new()).unwrap(), Restored::Stored);
    assert_eq!((new.get("key").as_deref(), to.namespaces()), (Some(&b"value"[..]), vec!["new".to_owned()]));
}

#[test]
fn what_cannot_be_stored_is_an_error_of_its_item_alone() {
    let place = Place::new();
    let cache = Options::new().capacity(1 << 20).namespaces(1).create(place.path()).unwrap();
    cache.namespace("first", &NamespaceOptions::new()).unwrap();
    let named = |key: &str, name: Option<&str>, len: usize| {
        let mut item = SavedItem::new(key.as_bytes().to_vec(), Some(vec![6; len]));
        item.namespace = name.map(Into::into);
        item
    };
    let items = [
        named("fits", Some("first"), 10),
        named("no room for its namespace", Some("second"), 10),
        named("no such name", Some(""), 10),
        named("too large", None, 1 << 20),
        named(&"k".repeat(70_000), None, 1),
        named("fits, too", None, 10),
    ];
    let results = cache.restore_multi(&items, &RestoreOptions::new());
    let shown: Vec<_> = results.iter().map(|result| result.as_ref().map_err(kennel::Error::code)).collect();
    assert!(matches!(results[0], Ok(Restored::Stored)) && matches!(results[5], Ok(Restored::Stored)), "{shown:?}");
    assert!(matches!(results[1], Err(kennel::Error::NamespacesFull { .. })), "{shown:?}");
    assert!(matches!(results[2], Err(kennel::Error::BadOption { .. })), "{shown:?}");
    assert!(matches!(results[3], Err(kennel::Error::TooLarge { .. })), "{shown:?}");
    assert!(matches!(results[4], Err(kennel::Error::KeyTooLong { .. })), "{shown:?}");
    let read_only = Options::new().open_read_only(cache.path()).unwrap();
    assert!(matches!(read_only.restore(&items[0], &RestoreOptions::new()), Err(kennel::Error::ReadOnly(_))));
}

/// The creator's value is newer than a saved one, which does not end its claim.
#[test]
fn a_creation_in_progress_goes_on() {
    let place = Place::new();
    let cache = cache(&place, 1 << 20);
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    let item = SavedItem::new("key", Some("saved"));
    assert_eq!(cache.restore(&item, &RestoreOptions::new()).unwrap(), Restored::Stored);
    assert_eq!(cache.get("key").as_deref(), Some(&b"saved"[..]));
    claim.store("created").unwrap();
    assert_eq!(cache.get("key").as_deref(), Some(&b"created"[..]));
}

#[test]
fn items_are_read_while_the_file_is_replaced_or_changes() {
    let place = Place::new();
    let cache = small_options().create(place.path()).unwrap();
    (0..500).for_each(|i| cache.set(format!("key {i}"), vec![1; 40]).unwrap());
    let reader = Options::new().open_read_only(place.path()).unwrap();
    let mut items = reader.hottest_first();
    let all = items.size_hint().1.unwrap();
    let first: Vec<_> = items.by_ref().take(100).collect();
    cache
        .delete_multi(&first.iter().map(|item| item.key.clone()).collect::<Vec<_>>())
        .into_iter()
        .for_each(|gone| assert!(gone.unwrap()));
    cache.set("key 0", "changed meanwhile").unwrap();
    Options::new().destroy(place.path()).unwrap();
    let new = small_options().create(place.path()).unwrap();
    new.set("of the new file", "x").unwrap();
    let rest: Vec<_> = items.collect();
    assert!(first.len() + rest.len() >= all - 1 && rest.iter().all(|item| key(item).starts_with("key ")));
    assert_eq!(reader.hottest_first().map(|item| key(&item)).collect::<Vec<_>>(), ["of the new file"]);
}
