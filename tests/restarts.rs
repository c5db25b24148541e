//! Copies of cache files, and the contents after a restart of the host.

mod common;

use common::raw::Raw;
use common::{Place, assert_sound, fill, filled, locks_root, names_in, small};
use kennel::{AfterCrash, Cache, NamespaceOptions, Options, SetOptions};
use std::fs;
use std::path::{Path, PathBuf};

fn copy_of(original: &Path, after_crash: AfterCrash) -> (PathBuf, Cache) {
    let cache = small().after_crash(after_crash).create(original).unwrap();
    fill(&cache);
    let id = cache.stats().file_id;
    drop(cache);
    let copy = original.with_file_name("copy");
    fs::copy(original, &copy).unwrap();
    let cache = Options::new().open(&copy).unwrap();
    assert_ne!(cache.stats().file_id, id, "a copy has an id of its own");
    (copy, cache)
}

#[test]
fn a_copy_is_a_cache_of_its_own_and_empty() {
    let place = Place::new();
    let (path, copy) = copy_of(&place.path(), AfterCrash::Discard);
    assert_eq!((filled(&copy), copy.keys().count()), (0, 0));
    copy.set("key", "of the copy").unwrap();
    let original = Options::new().open(place.path()).unwrap();
    assert_eq!((filled(&original), original.contains("key")), (20, false));
    assert_ne!(names_in(&locks_root(&path)), names_in(&locks_root(&place.path())), "and locks of its own");
    assert_sound(&copy);
    assert_sound(&original);
}

#[test]
fn a_copy_of_a_cache_that_survives_crashes_holds_its_values() {
    let place = Place::new();
    let (_, copy) = copy_of(&place.path(), AfterCrash::Verify);
    assert_eq!(filled(&copy), 20);
    fill(&copy);
    assert_eq!(filled(&copy), 20);
    assert_sound(&copy);
    assert_eq!(copy.stats().counters.dropped, 0);
}

/// Another boot of the host than the current one.
const OTHER_BOOT: [u64; 2] = [0x0b00, 0x7];

/// A filled cache from another boot; `last` prepares it before the host went down.
fn after_restart(after_crash: AfterCrash, last: impl FnOnce(&Cache)) -> (Place, Cache) {
    let place = Place::new();
    let cache = small().after_crash(after_crash).create(place.path()).unwrap();
    fill(&cache);
    last(&cache);
    drop(cache);
    let again = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    (place, again)
}

#[test]
fn after_a_restart_of_the_host_the_cache_is_empty() {
    let (_place, cache) = after_restart(AfterCrash::Discard, |_| ());
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.verify_me));
    assert_eq!(cache.keys().count(), 0, "no key that no read would find");
    assert_eq!(cache.stats().items, 0);
    assert_eq!(filled(&cache), 0);
    fill(&cache);
    assert_eq!((filled(&cache), cache.keys().count(), cache.stats().items), (20, 20, 20));
    assert_sound(&cache);
}

#[test]
fn after_a_restart_and_a_clear_the_cache_works_and_is_empty() {
    for after_crash in [AfterCrash::Discard, AfterCrash::Verify] {
        let (place, cache) = after_restart(after_crash, |_| ());
        cache.clear().unwrap();
        assert_eq!((filled(&cache), cache.keys().count()), (0, 0), "{after_crash:?}");
        fill(&cache);
        assert_eq!(filled(&cache), 20);
        drop(cache);
        assert_eq!(filled(&Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap()), 20);
    }
}

#[test]
fn after_a_flush_everything_is_there() {
    for after_crash in [AfterCrash::Discard, AfterCrash::Verify] {
        let (_place, cache) = after_restart(after_crash, |cache| assert!(cache.flush().unwrap()));
        assert_eq!((filled(&cache), cache.keys().count(), cache.stats().items), (20, 20, 20), "{after_crash:?}");
        assert!(cache.stripe_stats().iter().all(|stripe| !stripe.verify_me));
        assert_sound(&cache);
    }
}

#[test]
fn a_flush_survives_more_than_one_restart_and_reads_in_between() {
    let (place, cache) = after_restart(AfterCrash::Discard, |cache| assert!(cache.flush().unwrap()));
    assert_eq!(filled(&cache), 20);
    drop(cache);
    assert_eq!(filled(&Options::new().boot_id([9, 9]).open(place.path()).unwrap()), 20);
}

#[test]
fn a_write_after_a_flush_makes_it_void() {
    type Write = fn(&Cache);
    let writes: [(&str, Write); 7] = [
        ("set", |cache| cache.set(0u32.to_le_bytes(), "0").unwrap()),
        ("add", |cache| assert!(cache.add("more", "0", &SetOptions::new()).unwrap())),
        ("incr", |cache| assert_eq!(cache.incr(0u32.to_le_bytes(), 0).unwrap(), Some(0))),
        ("touch", |cache| assert!(cache.touch(0u32.to_le_bytes(), kennel::Expiry::Never).unwrap())),
        ("delete", |cache| assert!(cache.delete(0u32.to_le_bytes()).unwrap())),
        ("delete_multi", |cache| assert!(cache.delete_multi(&[0u32.to_le_bytes()]).remove(0).unwrap())),
        ("clear", |cache| cache.clear().unwrap()),
    ];
    for (what, write) in writes {
        let (_place, cache) = after_restart(AfterCrash::Discard, |cache| {
            assert!(cache.flush().unwrap());
            write(cache);
        });
        assert_eq!(filled(&cache), 0, "{what}");
    }
}

#[test]
fn a_second_flush_makes_a_durable_point_of_what_was_written_after_the_first() {
    let (_place, cache) = after_restart(AfterCrash::Discard, |cache| {
        assert!(cache.flush().unwrap());
        cache.set("more", "of it").unwrap();
        assert!(cache.flush().unwrap());
    });
    assert_eq!((filled(&cache), cache.get("more").as_deref()), (20, Some(&b"of it"[..])));
}

#[test]
fn a_cache_that_survives_crashes_holds_its_values_after_a_restart() {
    let (_place, cache) = after_restart(AfterCrash::Verify, |_| ());
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.verify_me));
    assert_eq!((filled(&cache), cache.keys().count()), (20, 20));
    // The first write to each stripe rebuilds its index.
    cache.set("more", "of it").unwrap();
    assert_eq!((filled(&cache), cache.get("more").as_deref()), (20, Some(&b"of it"[..])));
    assert_sound(&cache);
    assert!(cache.stripe_stats().iter().all(|stripe| !stripe.verify_me));
    assert_eq!((filled(&cache), cache.stats().items, cache.stats().counters.dropped), (20, 21, 0));
}

#[test]
fn a_damaged_value_is_not_returned_after_a_restart_and_is_dropped_by_the_rebuild() {
    let place = Place::new();
    let cache = small().after_crash(AfterCrash::Verify).create(place.path()).unwrap();
    fill(&cache);
    drop(cache);
    let mut raw = Raw::load(&place.path());
    let found = raw.find(&3u32.to_le_bytes());
    raw.change(found.record_at + 40, |word| word ^ 1);
    raw.save();
    let cache = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    assert_eq!((filled(&cache), cache.get(3u32.to_le_bytes())), (19, None));
    assert_sound(&cache);
    assert_eq!((filled(&cache), cache.stats().counters.dropped), (19, 1));
}

#[test]
fn a_file_with_a_living_member_is_used_as_it_is_whatever_its_boot_id() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    let contained = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    assert_eq!((filled(&contained), filled(&cache)), (20, 20));
    contained.set("key", "value").unwrap();
    assert!(cache.contains("key"));
}

#[test]
fn a_read_only_handle_of_a_file_of_another_boot_always_misses_unless_it_verifies() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    drop(cache);
    let reader = Options::new().boot_id(OTHER_BOOT).open_read_only(place.path()).unwrap();
    let careful = Options::new().boot_id(OTHER_BOOT).verify_reads(true).open_read_only(place.path()).unwrap();
    assert_eq!((filled(&reader), reader.keys().count()), (0, 0));
    assert_eq!(filled(&careful), 20);
    // The reader checks again at each read: it trusts the file once a writer of that boot has opened it.
    let writer = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    fill(&writer);
    assert_eq!(filled(&reader), 20);
}

#[test]
fn words_of_namespaces_are_zero_after_a_restart_a_flush_or_not_and_in_a_copy() {
    let pages = |cache: &Cache| cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    for is_flushed in [false, true] {
        let (place, cache) = after_restart(AfterCrash::Verify, |cache| {
            (0..4).for_each(|index| assert_eq!(pages(cache).raise_namespace_word(index, 7).unwrap(), 0));
            assert!(!is_flushed || cache.flush().unwrap());
        });
        assert_eq!([0, 1, 2, 3].map(|index| pages(&cache).namespace_word(index)), [Some(0); 4]);
        assert_eq!(filled(&cache), 20);
        pages(&cache).raise_namespace_word(0, 7).unwrap();
        let copy = place.path().with_file_name("copy");
        fs::copy(place.path(), &copy).unwrap();
        assert_eq!(pages(&Options::new().boot_id(OTHER_BOOT).open(&copy).unwrap()).namespace_word(0), Some(0));
        let reader = Options::new().open_read_only(place.path()).unwrap();
        assert_eq!(pages(&reader).namespace_word(0), None, "a reader does not believe the words of another boot");
    }
}
