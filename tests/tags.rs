//! Tags: what an invalidation of a tag covers, and what it does not.

mod common;

use common::raw::{Raw, header};
use common::{Place, assert_sound, small_cache, small_options};
use kennel::{
    AfterCrash, Cache, Changed, CreateOptions, Created, Error, Expiry, Invalidation, Lookup, NamespaceOptions, Options,
    RestoreOptions, Restored, SetOptions, Stored, Swap,
};
use std::time::Duration;

const HARD: Invalidation = Invalidation::Hard;
const SOFT: Invalidation = Invalidation::Soft;

fn tagged(tags: &[&str]) -> SetOptions {
    SetOptions::new().tags(tags)
}

fn claim(cache: &Cache, key: &str, how: &CreateOptions) -> kennel::Claim {
    match cache.claim(key, how).unwrap() {
        Lookup::Create(claim) => claim,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_invalidation_covers_the_values_that_bear_the_tag_and_no_others() {
    let (_place, cache) = small_cache();
    for (key, tags) in [("both", &["a", "b"][..]), ("a", &["a"]), ("b", &["b"])] {
        cache.set_with(key, key, &tagged(tags)).unwrap();
    }
    cache.set("none", "none").unwrap();
    let keys = ["both", "a", "b", "none"];
    let found = || keys.map(|key| cache.get(key).is_some_and(|value| value == key.as_bytes()));
    cache.invalidate_tags(&["c"], HARD).unwrap();
    assert_eq!(found(), [true; 4]);
    cache.invalidate_tags(&["a"], HARD).unwrap();
    assert_eq!(found(), [false, false, true, true]);
    assert_eq!(cache.get_multi(&keys).iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!(cache.keys().count(), 2);
    cache.set_with("a", "a", &tagged(&["a"])).unwrap();
    assert_eq!(found(), [false, true, true, true], "what is stored afterwards lives");
    cache.invalidate_tags(&["c", "a", "b"], HARD).unwrap();
    assert_eq!(found(), [false, false, false, true]);
    cache.invalidate_tags::<&str>(&[], HARD).unwrap();
    assert_sound(&cache);
}

#[test]
fn each_number_of_tags_works_and_one_more_is_an_error() {
    let place = Place::new();
    let cache = small_options().tags(1 << 16).create(place.path()).unwrap();
    let names: Vec<String> = (0..17).map(|n| format!("tag {n}")).collect();
    for count in 1..=16 {
        for length in [0, 8, 300] {
            let (key, value) = (format!("{count} {length}"), vec![count as u8; length]);
            cache.set_with(&key, &value, &SetOptions::new().flags(5).tags(&names[..count])).unwrap();
            let item = cache.get_item(&key).unwrap();
            assert_eq!((item.value, item.flags), (value, 5));
        }
    }
    let mut counts: Vec<u8> = cache.entries().map(|entry| entry.tags).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=16).flat_map(|n| [n; 3]).collect::<Vec<u8>>());
    assert_sound(&cache);
    for last in (0..16).rev() {
        cache.invalidate_tags(&names[last..=last], HARD).unwrap();
        assert_eq!(cache.keys().count(), last * 3);
    }
    let error = cache.set_with("key", "value", &SetOptions::new().tags(&names)).unwrap_err();
    assert!(matches!(error, Error::TooManyTags { found: 17, limit: kennel::MAX_TAGS }), "{error}");
    assert_eq!(error.to_string(), "a value with 17 tags: expected at most 16");
    assert!(cache.set_multi(&[("key", "value")], &SetOptions::new().tags(&names))[0].is_err());
    let how = CreateOptions::new().tags(&names);
    assert!(matches!(cache.claim("key", &how), Err(Error::TooManyTags { found: 17, .. })));
    assert!(!cache.contains("key"));
}

#[test]
fn a_soft_invalidation_makes_values_stale() {
    let (_place, cache) = small_cache();
    cache.set_with("key", "old", &tagged(&["t", "u"])).unwrap();
    cache.invalidate_tags(&["u"], SOFT).unwrap();
    assert!(cache.get_item("key").unwrap().is_stale);
    assert_eq!(cache.get("key").as_deref(), Some(&b"old"[..]));
    let how = CreateOptions::new().tags(&["u"]);
    let first = claim(&cache, "key", &how);
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Stale(_)), "one caller creates it anew");
    assert!(matches!(first.store("new").unwrap(), Stored::Yes(_)));
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Hit(_)));
    let saved = cache.hottest_first().next().unwrap();
    assert_eq!((saved.tags.len(), saved.soft_expires), (1, None));
}

#[test]
fn a_creator_that_names_its_tags_at_the_end_is_checked_against_all_of_them() {
    let (_place, cache) = small_cache();
    let how = CreateOptions::new().tags(&["known"]);
    let made = |tags: &[&str]| Created::new("value").tags(tags);
    for (tag, outcome) in [("late", true), ("known", true), ("other", false)] {
        let claim = claim(&cache, "key", &how);
        cache.invalidate_tags(&[tag], HARD).unwrap();
        let stored = claim.store_with(&made(&["late"])).unwrap();
        assert_eq!(stored == Stored::Voided, outcome, "{tag}: {stored:?}");
        assert_eq!(cache.contains("key"), !outcome);
        cache.delete("key").unwrap();
    }
    // The options' tags and the creator's count together.
    let value = cache.get_or_create("key", &how, || made(&["late"])).unwrap();
    assert_eq!((value, cache.entries().next().unwrap().tags), (b"value".to_vec(), 2));
    cache.invalidate_tags(&["known"], HARD).unwrap();
    assert!(!cache.contains("key"));
    // A soft invalidation in between: the value is stored, and stale from the start.
    let claim = claim(&cache, "key", &how);
    cache.invalidate_tags(&["late"], SOFT).unwrap();
    assert!(matches!(claim.store_with(&made(&["late"])).unwrap(), Stored::Yes(_)));
    assert!(cache.get_item("key").unwrap().is_stale);
}

#[test]
fn an_invalidation_ends_no_claim_and_waiters_go_on_when_the_creator_is_voided() {
    let (_place, cache) = small_cache();
    let how = CreateOptions::new().tags(&["t"]);
    let first = claim(&cache, "key", &how);
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(first.is_protected(), "the claim goes on");
    let waiter = std::thread::spawn({
        let (cache, how) = (cache.clone(), how.clone());
        move || cache.get_or_create("key", &how, || "second").unwrap()
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(first.store("first").unwrap(), Stored::Voided);
    assert_eq!(waiter.join().unwrap(), b"second");
    assert_eq!(cache.get("key").as_deref(), Some(&b"second"[..]));
    assert_eq!(cache.stats().counters.voided, 1);
}

#[test]
fn a_creation_without_protection_is_checked_before_it_is_stored() {
    let place = Place::new();
    let cache = small_options().claims(1).stripes(1).create(place.path()).unwrap();
    let how = CreateOptions::new().tags(&["t"]);
    let _only = claim(&cache, "other", &how);
    for tag in ["t", "u"] {
        let claim = claim(&cache, "key", &how);
        assert!(!claim.is_protected());
        cache.invalidate_tags(&[tag], HARD).unwrap();
        let sets = cache.stats().counters.sets;
        let stored = claim.store("value").unwrap();
        assert_eq!(
            (stored == Stored::Voided, cache.stats().counters.sets - sets),
            if tag == "t" { (true, 0) } else { (false, 1) }
        );
    }
}

#[test]
fn remembered_absences_bear_tags() {
    let (_place, cache) = small_cache();
    let how = CreateOptions::new().absence_expiry(Expiry::Never).tags(&["t"]);
    assert!(matches!(claim(&cache, "key", &how).store_absence().unwrap(), Stored::Yes(_)));
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Absent));
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(matches!(claim(&cache, "key", &how).store("value").unwrap(), Stored::Yes(_)));
}

#[test]
fn incr_and_touch_keep_the_tags_and_their_age() {
    let (_place, cache) = small_cache();
    cache.set_with("number", "1", &tagged(&["t"])).unwrap();
    assert_eq!(cache.incr("number", 98).unwrap(), Some(99));
    assert_eq!(cache.incr("number", 1).unwrap(), Some(100), "also where the record is written elsewhere");
    assert!(cache.touch("number", Expiry::After(Duration::from_secs(60))).unwrap());
    assert_eq!(cache.entries().next().unwrap().tags, 1);
    cache.invalidate_tags(&["t"], SOFT).unwrap();
    assert_eq!(cache.incr("number", 1).unwrap(), Some(101));
    assert!(cache.get_item("number").unwrap().is_stale, "a number does not get younger by an addition");
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert_eq!((cache.incr("number", 1).unwrap(), cache.get("number")), (None, None));
    assert_eq!(cache.incr_or("number", 1, 7, &tagged(&["t"])).unwrap(), 7);
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(!cache.contains("number"));
}

#[test]
fn a_claim_may_be_told_tags_and_the_expiry_of_an_absence_before_its_end() {
    let (_place, cache) = small_cache();
    let how = CreateOptions::new().tags(&["a"]);
    assert!(matches!(claim(&cache, "key", &how).tags(&["b"]).tags(&["c"]).store("value").unwrap(), Stored::Yes(_)));
    assert_eq!(cache.entries().next().unwrap().tags, 3);
    cache.invalidate_tags(&["b"], HARD).unwrap();
    assert!(!cache.contains("key"));
    let absence = claim(&cache, "key", &how).tags(&["b"]).absence_expiry(Expiry::Never);
    assert!(matches!(absence.store_absence().unwrap(), Stored::Yes(_)));
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Absent));
    cache.invalidate_tags(&["b"], HARD).unwrap();
    let late = claim(&cache, "key", &how);
    cache.invalidate_tags(&["d"], HARD).unwrap();
    assert_eq!(late.tags(&["d"]).store("value").unwrap(), Stored::Voided, "its creation began before");
    let names: Vec<String> = (0..16).map(|n| n.to_string()).collect();
    let many = claim(&cache, "key", &how).tags(&names).store("value");
    assert!(matches!(many, Err(Error::TooManyTags { found: 17, limit: 16 })), "{many:?}");
    assert_sound(&cache);
}

#[test]
fn a_value_is_replaced_alone() {
    let (_place, cache) = small_cache();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    let hour = Expiry::After(Duration::from_secs(3600));
    let how = tagged(&["t"]).expiry(hour).soft_expiry(hour).flags(7);
    for cache in [&cache, &pages] {
        let stamp = cache.set_with("key", "value", &how).unwrap();
        let before = cache.get_item("key").unwrap();
        assert_eq!(cache.swap_value("none", stamp, "x").unwrap(), Swap::Absent);
        assert_eq!(cache.swap_value("key", kennel::Stamp(stamp.0 ^ 1), "x").unwrap(), Swap::Changed);
        let Swap::Stored(next) = cache.swap_value("key", stamp, "a longer value").unwrap() else { panic!() };
        assert_eq!(cache.swap_value("key", stamp, "x").unwrap(), Swap::Changed);
        let item = cache.get_item("key").unwrap();
        assert_eq!((item.value.as_slice(), item.stamp, item.flags), (&b"a longer value"[..], next, 7));
        assert_eq!(
            (item.expires, item.soft_expires, item.created),
            (before.expires, before.soft_expires, before.created)
        );
        assert!(cache.entries().all(|entry| entry.tags == 1));
        let too_large = cache.swap_value("key", next, vec![0; 1 << 20]);
        assert!(matches!(too_large, Err(Error::TooLarge { .. })), "{too_large:?}");
        cache.invalidate_tags(&["t"], SOFT).unwrap();
        assert!(matches!(cache.swap_value("key", next, "new").unwrap(), Swap::Stored(_)));
        assert!(cache.get_item("key").unwrap().is_stale, "a value does not get younger");
        cache.invalidate_tags(&["t"], HARD).unwrap();
        assert!(!cache.contains("key"));
    }
    let stamp = cache.set_with("plain", "value", &SetOptions::new()).unwrap();
    assert!(matches!(cache.swap_value("plain", stamp, "new").unwrap(), Swap::Stored(_)));
    assert_eq!(cache.get("plain").as_deref(), Some(&b"new"[..]));
    assert_sound(&cache);
}

#[test]
fn a_renamed_item_keeps_all_but_its_key() {
    let (_place, cache) = small_cache();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    let hour = Expiry::After(Duration::from_secs(3600));
    let how = tagged(&["t", "u"]).expiry(hour).soft_expiry(hour).flags(7);
    for cache in [&cache, &pages] {
        assert!(!cache.rename("key", "other").unwrap());
        cache.set_with("key", "value", &how).unwrap();
        cache.set("other", "what was there").unwrap();
        let before = cache.get_item("key").unwrap();
        assert!(cache.rename("key", "key").unwrap() && cache.rename("key", "other").unwrap());
        assert_eq!(cache.get("key"), None);
        let item = cache.get_item("other").unwrap();
        assert_eq!((item.value.as_slice(), item.flags, item.expires), (&b"value"[..], 7, before.expires));
        assert_eq!((item.soft_expires, item.created), (before.soft_expires, before.created));
        assert!(cache.entries().all(|entry| entry.tags == 2));
        cache.invalidate_tags(&["u"], SOFT).unwrap();
        assert!(cache.rename("other", "third").unwrap());
        assert!(cache.get_item("third").unwrap().is_stale, "a value does not get younger");
        cache.invalidate_tags(&["t"], HARD).unwrap();
        assert!(!cache.contains("third") && !cache.rename("third", "key").unwrap());
        cache.set("plain", "value").unwrap();
        assert!(cache.rename("plain", "moved").unwrap());
        cache.clear().unwrap();
        assert!(!cache.contains("moved"));
    }
    assert!(matches!(cache.rename("none", vec![b'k'; 70_000]), Err(Error::KeyTooLong { .. })));
    assert_sound(&cache);
}

/// Whichever comes first: the value was stored before the invalidation.
#[test]
fn a_rename_brings_nothing_back_that_is_invalidated_meanwhile() {
    let (_place, cache) = small_cache();
    for round in 0..400 {
        cache.set_with("key", "value", &tagged(&["t"])).unwrap();
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                cache.rename("key", "other").unwrap();
            });
            start.wait();
            (0..round % 40 * 20).for_each(|_| std::hint::spin_loop());
            if round % 2 == 0 { cache.clear().unwrap() } else { cache.invalidate_tags(&["t"], HARD).unwrap() }
        });
        assert!(!cache.contains("key") && !cache.contains("other"), "round {round}");
    }
    assert_sound(&cache);
}

#[test]
fn every_write_takes_an_invalidated_value_for_absent() {
    let (_place, cache) = small_cache();
    let how = tagged(&["t"]);
    let set = || {
        let stamp = cache.set_with("key", "value", &how).unwrap();
        cache.invalidate_tags(&["t"], HARD).unwrap();
        stamp
    };
    let stamp = set();
    assert!(matches!(cache.compare_and_swap("key", stamp, "new", &how).unwrap(), Swap::Absent));
    assert!(!cache.replace("key", "new", &how).unwrap() && !cache.touch("key", Expiry::Never).unwrap());
    assert!(!cache.compare_and_delete("key", stamp).unwrap() && cache.take("key").unwrap().is_none());
    set();
    assert!(!cache.delete("key").unwrap());
    set();
    assert!(cache.add("key", "new", &how).unwrap() && cache.contains("key"));
    let stamp = cache.get_item("key").unwrap().stamp;
    assert!(matches!(cache.compare_and_swap("key", stamp, "plain", &SetOptions::new()).unwrap(), Swap::Stored(_)));
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(cache.contains("key"), "what is stored without tags bears none");
}

#[test]
fn near_copies_see_an_invalidation() {
    let (_place, cache) = small_cache();
    cache.set_with("key", "value", &tagged(&["t"])).unwrap();
    let id = cache.get_item("key").unwrap().id();
    let look = || cache.get_if_changed("key", id).unwrap();
    assert_eq!(look(), Some(Changed::Same { is_stale: false }));
    cache.invalidate_tags(&["t"], SOFT).unwrap();
    assert_eq!(look(), Some(Changed::Same { is_stale: true }));
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert_eq!(look(), None);
}

#[cfg(feature = "typed")]
#[test]
fn decoded_copies_see_an_invalidation() {
    let (_place, cache) = small_cache();
    let local = cache.typed::<u64>().local(&kennel::LocalOptions::new());
    let how = CreateOptions::new().tags(&["t"]);
    let get = |number: u64| *local.get_or_create("key", &how, || number).unwrap();
    assert_eq!((get(1), get(2)), (1, 1));
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(local.get("key").unwrap().is_none());
    assert_eq!((get(3), get(4)), (3, 3));
    let typed = cache.typed::<u64>();
    typed.set_with("key", &5, &tagged(&["u"])).unwrap();
    assert_eq!(get(6), 5);
    cache.invalidate_tags(&["u"], SOFT).unwrap();
    assert_eq!(get(7), 7, "a stale value is created anew");
}

#[test]
fn batches_and_namespaces_share_the_tags_of_the_file() {
    let (_place, cache) = small_cache();
    let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    let items: Vec<(String, String)> = (0..100).map(|n| (format!("key {n}"), n.to_string())).collect();
    assert!(pages.set_multi(&items, &tagged(&["t"])).iter().all(Result::is_ok));
    cache.set_with("key", "value", &tagged(&["u"])).unwrap();
    assert_eq!(pages.keys().count(), 100);
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert_eq!((pages.keys().count(), cache.contains("key")), (0, true));
    pages.invalidate_tags(&["u"], HARD).unwrap();
    assert!(!cache.contains("key"));
    assert_sound(&cache);
}

/// Records with tags move and are evicted like others.
#[test]
fn a_full_cache_with_tags_is_sound() {
    let (_place, cache) = small_cache();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for n in 0..20_000usize {
        let tags = &names[..n % 9];
        cache.set_with(format!("key {}", n % 3_000), vec![7; n % 190], &SetOptions::new().tags(tags)).unwrap();
        let _ = cache.get(format!("key {}", n % 700));
        if n % 5_000 == 4_999 {
            cache.invalidate_tags(&["h"], HARD).unwrap();
            assert_sound(&cache);
        }
    }
    assert!(cache.stats().counters.evictions() > 0);
}

#[test]
fn a_restored_item_has_the_clock_of_its_own_file() {
    let (_place, cache) = small_cache();
    let (_other, other) = small_cache();
    for tag in ["x", "y", "z"] {
        cache.invalidate_tags(&[tag], HARD).unwrap();
    }
    cache.set_with("key", "value", &tagged(&["t", "u"])).unwrap();
    let item = cache.hottest_first().next().unwrap();
    assert_eq!(item.tags.len(), 2);
    other.invalidate_tags(&["t"], HARD).unwrap();
    assert_eq!(other.restore(&item, &RestoreOptions::new()).unwrap(), Restored::Stored);
    assert!(other.contains("key"), "invalidations that came before do not cover it");
    other.invalidate_tags(&["u"], HARD).unwrap();
    assert!(!other.contains("key"), "and those that come after do");
}

#[test]
fn a_file_without_tables_refuses_tags() {
    let place = Place::new();
    let cache = small_options().tags(0).create(place.path()).unwrap();
    let error = cache.set_with("key", "value", &tagged(&["t"])).unwrap_err();
    assert!(matches!(&error, Error::BadOption { option: "tags", .. }), "{error}");
    cache.set("key", "value").unwrap();
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(cache.contains("key"));
    let value = cache.get_or_create("created", &CreateOptions::new(), || Created::new("value").tags(&["t"])).unwrap();
    assert_eq!((value, cache.contains("created")), (b"value".to_vec(), false));
    for wrong in [1, 32, 100, 1 << 17] {
        let error = small_options().tags(wrong).create(place.dir().join("other")).unwrap_err();
        assert!(matches!(error, Error::BadOption { option: "tags", .. }), "{error}");
    }
    let error = small_options().tags(64).open(place.path()).unwrap_err();
    assert!(matches!(error, Error::Mismatch { option: "tags", .. }), "{error}");
}

#[test]
fn a_handle_that_may_not_write_cannot_invalidate() {
    let (place, cache) = small_cache();
    cache.set_with("key", "value", &tagged(&["t"])).unwrap();
    let reader = Options::new().open_read_only(place.path()).unwrap();
    assert!(matches!(reader.invalidate_tags(&["t"], HARD), Err(Error::ReadOnly(_))));
    assert!(reader.contains("key"));
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(!reader.contains("key"));
}

#[test]
fn an_invalidation_withdraws_a_flush() {
    let (place, cache) = small_cache();
    cache.set_with("key", "value", &tagged(&["t"])).unwrap();
    assert!(cache.flush().unwrap());
    cache.invalidate_tags(&["t"], HARD).unwrap();
    drop(cache);
    let cache = Options::new().boot_id([7, 7]).open(place.path()).unwrap();
    assert_eq!(cache.keys().count(), 0);
    cache.set("key", "value").unwrap();
    assert_eq!(cache.stripe_stats().iter().filter(|stripe| stripe.verify_me).count(), 3, "the flush did not hold");
}

/// The clock of tags in a file.
fn clock(place: &Place) -> u64 {
    Raw::load(&place.path()).word(header::TAG_CLOCK)
}

fn set_clock(place: &Place, clock: u64) {
    let mut raw = Raw::load(&place.path());
    raw.set(header::TAG_CLOCK, clock);
    raw.save();
}

#[test]
fn two_crashes_in_a_row_leave_no_value_that_the_next_invalidation_does_not_cover() {
    let place = Place::new();
    let options = small_options().after_crash(AfterCrash::Verify);
    let cache = options.create(place.path()).unwrap();
    for n in 0..5 {
        cache.invalidate_tags(&[format!("tag {n}")], HARD).unwrap();
    }
    drop(cache);
    let mut before = 5;
    for boot in 1..=3 {
        let cache = options.clone().boot_id([boot, boot]).open(place.path()).unwrap();
        assert!(clock(&place) >= before + (1 << 32), "the clock is ahead of every record");
        before = clock(&place);
        cache.set_with(format!("key {boot}"), "value", &tagged(&["t"])).unwrap();
        assert_eq!(cache.keys().count(), boot as usize, "values that bear tags outlive a crash");
    }
    let cache = options.clone().boot_id([9, 9]).open(place.path()).unwrap();
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert_eq!(cache.keys().count(), 0);
    assert_sound(&cache);
}

/// What a crash leaves if the page of the header is older than a record: the record is dropped.
#[test]
fn a_record_of_a_clock_that_the_file_lost_is_dropped() {
    let place = Place::new();
    let options = small_options().after_crash(AfterCrash::Verify);
    let cache = options.create(place.path()).unwrap();
    for (key, age) in [("far ahead", 1 << 40), ("ahead", 1 << 20)] {
        set_clock(&place, age);
        cache.set_with(key, "value", &tagged(&["t"])).unwrap();
    }
    set_clock(&place, 3);
    assert_eq!(cache.verify().problems.iter().filter(|problem| problem.invariant == "tag clocks").count(), 2);
    drop(cache);
    let cache = options.boot_id([8, 8]).open(place.path()).unwrap();
    cache.set("any", "value").unwrap();
    for _ in 0..2 {
        assert_eq!((cache.contains("far ahead"), cache.contains("ahead")), (false, true));
        for n in 0..50 {
            // Each stripe is rebuilt.
            cache.set(format!("{n}"), "value").unwrap();
        }
    }
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert!(!cache.contains("ahead"));
    assert_sound(&cache);
}

/// Numbers that only a damaged file has: nothing panics or hangs.
#[test]
fn a_clock_at_its_end_wraps() {
    let place = Place::new();
    let cache = small_options().create(place.path()).unwrap();
    set_clock(&place, u64::MAX);
    cache.set_with("key", "value", &tagged(&["t"])).unwrap();
    cache.invalidate_tags(&["t"], HARD).unwrap();
    assert_eq!(clock(&place), 0);
    drop(cache);
    set_clock(&place, u64::MAX - 1);
    let cache = Options::new().boot_id([6, 6]).open(place.path()).unwrap();
    cache.set_with("key", "value", &tagged(&["t"])).unwrap();
    assert!(cache.contains("key"));
    assert_sound(&cache);
}
