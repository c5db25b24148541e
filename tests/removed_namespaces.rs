//! Namespaces that are removed, so that other names get their entries: nothing of the old name is found under the new one.

mod common;

use common::children::{self, arg, say};
use common::raw::Raw;
use common::stop::Stop;
use common::{Place, TestClock, assert_sound, small_options};
use kennel::{
    Cache, CreateOptions, Error, Expiry, Invalidation, Lookup, NamespaceOptions, Options, ResizeOptions, SetOptions,
    Stored,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Offsets in the entry of a namespace.
const NAME_HASH: usize = 0;
const EPOCHS: usize = 8;
const NAME_LEN: usize = 48;
const GENERATION: usize = 224;
const LAST: u64 = (1 << 24) - 1;

/// Stored keys that do not tell namespaces apart: what one namespace forgets, the next one would find.
fn shared() -> NamespaceOptions {
    NamespaceOptions::new().key_mangler(|_, key| key.to_vec())
}

/// A cache with room for one namespace.
fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = small_options().namespaces(1).create(place.path()).unwrap();
    (place, cache)
}

fn namespace(cache: &Cache, name: &str) -> Cache {
    cache.namespace(name, &shared()).unwrap()
}

#[test]
fn child() {
    children::serve(|task, args| {
        let cache = Options::new().open(Path::new(args[0])).unwrap();
        let old = namespace(&cache, "old");
        assert_eq!(task, "set when told");
        old.set("of the child", "1").unwrap();
        loop {
            say(old.contains("key"));
            match children::wait_for_word().as_str() {
                "" => return,
                key => old.set(key, "late").unwrap(),
            }
        }
    });
}

#[test]
fn a_removed_namespace_gives_its_entry_to_another_name_and_nothing_else() {
    let (place, cache) = cache();
    let old = cache.namespace("old", &shared().ttl(Duration::from_secs(60)).jitter(0.5)).unwrap();
    cache.set("of none", "stays").unwrap();
    old.set("key", "value").unwrap();
    assert!(matches!(cache.namespace("new", &shared()), Err(Error::NamespacesFull { .. })));
    assert!(cache.remove_namespace("old").unwrap() && !cache.remove_namespace("old").unwrap());
    assert_eq!((cache.namespaces(), cache.namespace_defaults("old")), (vec![], None));
    let new = namespace(&cache, "new");
    assert_eq!(cache.namespaces(), ["new"]);
    assert_eq!(cache.namespace_defaults("new").map(|of| (of.ttl, of.jitter)), Some((None, 0.0)));
    for handle in [&old, &new, &cache] {
        assert_eq!(handle.get("key"), None);
    }
    assert_eq!(cache.get("of none").as_deref(), Some(&b"stays"[..]));
    new.set("key", "new").unwrap();
    let names: Vec<_> = cache.entries().map(|entry| entry.namespace.map(|name| name.to_string())).collect();
    assert_eq!((names.len(), names.contains(&Some("new".into()))), (2, true), "{names:?}");
    assert_sound(&cache);
    // Others that open the file find it so, too.
    let other = Options::new().open(place.path()).unwrap();
    assert_eq!(namespace(&other, "new").get("key").as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_write_through_an_old_handle_adds_the_namespace_again() {
    let place = Place::new();
    let cache = small_options().namespaces(2).create(place.path()).unwrap();
    let old = cache.namespace("old", &shared().ttl(Duration::from_secs(60))).unwrap();
    old.set("key", "1").unwrap();
    assert!(cache.remove_namespace("old").unwrap());
    assert_eq!((old.get("key"), old.namespace_word(0)), (None, None));
    let new = namespace(&cache, "new");
    old.set("key", "2").unwrap();
    assert_eq!(cache.namespaces(), ["new", "old"], "in an entry of its own");
    assert_eq!(cache.namespace_defaults("old").unwrap().ttl, Some(Duration::from_secs(60)));
    new.invalidate(Invalidation::Hard).unwrap();
    assert_eq!(old.get("key").as_deref(), Some(&b"2"[..]));
    // Without room for it, the write says so.
    assert!(cache.remove_namespace("old").unwrap());
    namespace(&cache, "third").set("other", "3").unwrap();
    assert!(matches!(old.set("key", "4"), Err(Error::NamespacesFull { .. })));
    assert_eq!(old.get("key"), None);
    assert_sound(&cache);
}

#[test]
fn whatever_an_old_handle_knows_is_gone() {
    let (_place, cache) = cache();
    let old = namespace(&cache, "old");
    let how = CreateOptions::new();
    old.set_with("tagged", "1", &SetOptions::new().tags(&["tag"])).unwrap();
    old.set("number", "1").unwrap();
    let item = old.get_item("number").unwrap();
    let Lookup::Create(claim) = old.claim("created", &how).unwrap() else { panic!("it is missing") };
    let moment = old.moment().unwrap();
    assert!(cache.remove_namespace("old").unwrap());
    let new = namespace(&cache, "new");
    assert_eq!(claim.store("late").unwrap(), Stored::Voided);
    for key in ["tagged", "number", "created"] {
        assert_eq!((old.get(key), new.get(key)), (None, None), "{key}");
    }
    assert!(!new.is_fresh("number", item.id()));
    assert!(!new.compare_and_delete("number", item.stamp).unwrap());
    assert_eq!(new.entries().count(), 0);
    // The moment is of the number that the next name got, and from before its epochs.
    new.set_with("as of", "late", &SetOptions::new().as_of(moment)).unwrap();
    assert_eq!(new.get("as of"), None);
    assert_sound(&cache);
}

#[test]
fn the_next_name_begins_with_counts_of_its_own() {
    let place = Place::new();
    let cache = small_options().namespaces(1).namespace_reads(true).create(place.path()).unwrap();
    let old = namespace(&cache, "old");
    old.set("key", "value").unwrap();
    assert_eq!((0..4000).filter(|_| old.contains("key")).count(), 4000);
    assert!(cache.stats().namespace_reads[0].hits > 3000);
    cache.remove_namespace("old").unwrap();
    assert!(cache.stats().namespace_reads.is_empty());
    let new = namespace(&cache, "new");
    assert_eq!((0..4000).filter(|_| old.contains("key")).count(), 0);
    let reads = cache.stats().namespace_reads;
    assert_eq!(
        (reads[0].name.as_str(), reads[0].hits, reads[0].misses),
        ("new", 0, 0),
        "an old handle counts for nobody"
    );
    assert_eq!((0..4000).filter(|_| new.contains("key")).count(), 0);
    assert!(cache.stats().namespace_reads[0].misses > 3000);
}

#[test]
fn a_namespace_with_words_is_not_removed() {
    let (_place, cache) = cache();
    let old = namespace(&cache, "old");
    old.set("key", "value").unwrap();
    old.raise_namespace_word(2, 5).unwrap();
    let error = cache.remove_namespace("old").unwrap_err();
    assert!(matches!(&error, Error::BadOption { option: "name of a namespace", .. }), "{error}");
    assert_eq!((old.get("key").is_some(), old.namespace_word(2)), (true, Some(5)), "nothing has changed");
    assert!(matches!(cache.remove_namespace(""), Err(Error::BadOption { .. })));
    // A word that was never raised leads to a namespace of that name, not to another one's word.
    let place = Place::new();
    let cache = small_options().namespaces(2).create(place.path()).unwrap();
    let (old, third) = (namespace(&cache, "old"), namespace(&cache, "third"));
    assert_eq!(old.namespace_words(), Some([0, 0]));
    cache.remove_namespace("old").unwrap();
    let new = namespace(&cache, "new");
    new.raise_namespace_word(0, 7).unwrap();
    assert_eq!((old.namespace_word(0), old.namespace_words::<2>()), (None, None));
    assert!(matches!(old.raise_namespace_word(0, 9), Err(Error::NamespacesFull { .. })));
    cache.remove_namespace("third").unwrap();
    assert_eq!((old.raise_namespace_word(0, 9).unwrap(), old.namespace_word(0)), (0, Some(9)));
    assert_eq!((new.namespace_word(0), third.namespace_word(0)), (Some(7), None));
}

#[test]
fn another_process_with_an_old_handle_finds_and_leaves_nothing() {
    let place = Place::new();
    let cache = small_options().namespaces(2).create(place.path()).unwrap();
    let old = namespace(&cache, "old");
    old.set("key", "value").unwrap();
    let mut process = children::start("set when told", &[arg(cache.path())]);
    process.expect("true");
    assert!(cache.remove_namespace("old").unwrap());
    let new = namespace(&cache, "new");
    assert_eq!((new.get("of the child"), new.keys().count()), (None, 0));
    process.tell("late");
    process.expect("false");
    assert_eq!(cache.namespaces(), ["new", "old"]);
    let of: Vec<_> = cache.entries().filter_map(|entry| entry.namespace).collect();
    assert_eq!(of.iter().map(|name| &**name).collect::<Vec<_>>(), ["old"]);
    process.finish();
    assert_sound(&cache);
}

#[test]
fn a_resize_keeps_what_parts_an_entry_from_its_last_name() {
    let (_place, cache) = cache();
    let old = namespace(&cache, "old");
    old.set("key", "value").unwrap();
    cache.remove_namespace("old").unwrap();
    let new = namespace(&cache, "new");
    new.set("of new", "1").unwrap();
    cache.resize(1 << 20, &ResizeOptions::new()).unwrap();
    assert_eq!((old.get("key"), new.get("key"), new.get("of new").as_deref()), (None, None, Some(&b"1"[..])));
    assert!(matches!(old.set("key", "late"), Err(Error::NamespacesFull { .. })));
    cache.remove_namespace("new").unwrap();
    old.set("key", "2").unwrap();
    assert_eq!((cache.namespaces(), new.get("of new")), (vec!["old".to_owned()], None));
    assert_sound(&cache);
}

#[test]
fn after_a_crash_a_removal_goes_stripe_by_stripe() {
    let place = Place::new();
    let options = small_options().namespaces(1).after_crash(kennel::AfterCrash::Verify);
    let cache = options.create(place.path()).unwrap();
    let old = namespace(&cache, "old");
    for n in 0..50 {
        old.set(n.to_string(), "value").unwrap();
        cache.set(format!("of none {n}"), "plain").unwrap();
    }
    drop((old, cache));
    let cache = Options::new().boot_id([1, 2]).open(place.path()).unwrap();
    let old = namespace(&cache, "old");
    assert!(old.contains("7"));
    assert!(cache.remove_namespace("old").unwrap());
    let new = namespace(&cache, "new");
    for n in 0..50 {
        assert_eq!((old.get(n.to_string()), new.get(n.to_string())), (None, None));
        assert!(cache.contains(format!("of none {n}")));
    }
    assert_sound(&cache);
}

/// What a removal that was killed leaves, and words that no removal leaves.
#[test]
fn an_entry_in_any_state_never_shows_the_next_name_what_the_last_one_had() {
    for (hash, epochs, len, generation) in [
        // Killed before the generation, before the epochs, and before the length of the name.
        (0, 0, 3, 0),
        (0, 0, 3, 1),
        (0, 1, 3, 1),
        // Used up: the entry is not used again.
        (0, LAST, 3, 5),
        (0, LAST << 24 | LAST, 3, 5),
        (0, 0, 3, LAST),
        // Damaged.
        (0, 7, u64::MAX, u64::MAX),
        (0, u64::MAX, u64::MAX, u64::MAX - LAST),
        (5, 0, 3, 9),
    ] {
        let (place, cache) = cache();
        let old = namespace(&cache, "old");
        old.set("key", "value").unwrap();
        let mut raw = Raw::load(cache.path());
        let at = raw.namespace(0);
        for (field, word) in [(NAME_HASH, hash), (EPOCHS, epochs), (NAME_LEN, len), (GENERATION, generation)] {
            raw.set(at + field, word);
        }
        raw.save();
        let what = format!("{hash} {epochs:#x} {len} {generation:#x}");
        match cache.namespace("new", &shared()) {
            Ok(new) => {
                assert_eq!((new.get("key"), old.get("key")), (None, None), "{what}");
                new.set("key", "new").unwrap();
                assert_eq!(new.get("key").as_deref(), Some(&b"new"[..]), "{what}");
                assert!(old.set("key", "late").is_err());
                assert_eq!(new.get("key").as_deref(), Some(&b"new"[..]), "{what}");
                assert!(cache.remove_namespace("new").unwrap());
                assert_eq!(new.get("key"), None, "{what}");
            }
            Err(Error::NamespacesFull { .. }) => {
                assert!(hash != 0 || epochs & LAST == LAST || generation & LAST == LAST, "{what}");
            }
            Err(error) => panic!("{error}, {what}"),
        }
        drop(place);
    }
}

#[test]
fn an_entry_whose_epochs_are_used_up_is_emptied_and_not_used_again() {
    let (_place, cache) = cache();
    let old = namespace(&cache, "old");
    let mut raw = Raw::load(cache.path());
    let at = raw.namespace(0);
    raw.set(at + EPOCHS, LAST);
    raw.save();
    for n in 0..50 {
        old.set(n.to_string(), "value").unwrap();
    }
    let Lookup::Create(claim) = old.claim("created", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    assert!(old.contains("7") && cache.remove_namespace("old").unwrap());
    assert!((0..50).all(|n| !old.contains(n.to_string())));
    assert_eq!(claim.store("late").unwrap(), Stored::Voided);
    assert_eq!(cache.namespaces(), [""; 0]);
    assert!(matches!(cache.namespace("new", &shared()), Err(Error::NamespacesFull { .. })));
    assert_sound(&cache);
}

#[test]
fn a_read_only_handle_removes_nothing() {
    let (place, cache) = cache();
    namespace(&cache, "old").set("key", "value").unwrap();
    let reader = Options::new().open_read_only(place.path()).unwrap();
    for name in ["old", "unknown"] {
        assert!(matches!(reader.remove_namespace(name), Err(Error::ReadOnly(_))), "{name}");
    }
    assert_eq!(cache.namespaces(), ["old"]);
}

/// Two threads write under two names in turn, and a third removes both: no name ever shows a value of the other.
#[test]
fn names_that_take_turns_in_one_entry_never_show_each_others_values() {
    let (_place, cache) = cache();
    let (is_over, seen) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = Stop(&is_over);
        for (mine, other) in [("a", "b"), ("b", "a")] {
            let (cache, is_over, seen) = (&cache, &is_over, &seen);
            scope.spawn(move || {
                let mut handle = None;
                while !is_over.load(Ordering::Relaxed) {
                    let Some(handle) = &handle else {
                        handle = cache.namespace(mine, &shared()).ok();
                        continue;
                    };
                    // While the other name has the entry, there is no room for this one.
                    let _ = handle.set(mine, mine);
                    for entry in cache.entries().filter(|entry| entry.key == other.as_bytes()) {
                        assert_ne!(entry.namespace.as_deref(), Some(mine), "a value of {other}");
                        seen.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        let began = Instant::now();
        for n in 0.. {
            cache.remove_namespace(["a", "b"][n % 2]).unwrap();
            if n > 1_000 && (seen.load(Ordering::Relaxed) || began.elapsed() > children::PATIENCE) {
                break;
            }
        }
    });
    assert!(seen.load(Ordering::Relaxed), "no thread met a value of the other");
    assert_sound(&cache);
}

#[test]
fn expiries_and_clocks_of_the_old_name_concern_the_old_name() {
    let place = Place::new();
    let clock = TestClock::at(1_700_000_000_000);
    let cache = small_options().namespaces(1).clock(clock.clone()).create(place.path()).unwrap();
    let old = cache.namespace("old", &shared().ttl(Duration::from_millis(10))).unwrap();
    old.set("key", "value").unwrap();
    cache.remove_namespace("old").unwrap();
    let new = namespace(&cache, "new");
    new.set("key", "new").unwrap();
    clock.set(1_700_000_001_000);
    assert_eq!(new.get("key").as_deref(), Some(&b"new"[..]), "the time to live of the old name");
    assert!(new.touch("key", Expiry::Never).unwrap());
}
