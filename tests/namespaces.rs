//! Namespaces: named parts of a cache with separate keys, defaults and invalidations, the same in every process.

mod common;

use common::children::{self, arg, say};
use common::{Place, TestClock, assert_sound, moment, small_cache as cache, small_options as options};
use kennel::{
    Cache, CreateOptions, Error, Expiry, Invalidation, Lookup, NamespaceOptions, Options, SetOptions, Stored, Swap,
    Wait,
};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const NOW: u64 = 1_700_000_000_000;
const LATE: u64 = 4_000_000_000_000;

fn plain() -> NamespaceOptions {
    NamespaceOptions::new()
}

#[test]
fn child() {
    children::serve(|task, args| {
        let cache = Options::new().open(Path::new(args[0])).unwrap();
        let namespace = cache.namespace("pages", &plain()).unwrap();
        match task {
            "look" => loop {
                match children::wait_for_word().as_str() {
                    "" => return,
                    key => say(namespace.get(key).map_or("none".to_owned(), |value| String::from_utf8(value).unwrap())),
                }
            },
            "invalidate" => {
                namespace.invalidate(Invalidation::Hard).unwrap();
                say("done");
            }
            _ => panic!("no task {task}"),
        }
    });
}

#[test]
fn namespaces_do_not_share_keys() {
    let (_place, cache) = cache();
    let (a, b) = (cache.namespace("a", &plain()).unwrap(), cache.namespace("b", &plain()).unwrap());
    cache.set("key", "cache").unwrap();
    a.set("key", "a").unwrap();
    b.set("key", "b").unwrap();
    let values = [cache.get("key"), a.get("key"), b.get("key")].map(Option::unwrap);
    assert_eq!(values, [b"cache".to_vec(), b"a".to_vec(), b"b".to_vec()]);
    assert!(a.delete("key").unwrap() && !a.contains("key") && b.contains("key"));
    assert_eq!(cache.namespaces(), ["a", "b"]);
    assert_eq!(b.stored_key("key"), b"b\0key");
    let long = "k".repeat(1000);
    b.set(&long, "long").unwrap();
    assert_eq!(b.get(&long).as_deref(), Some(&b"long"[..]));
    assert_sound(&cache);
}

#[test]
fn all_operations_work_in_a_namespace() {
    let (_place, cache) = cache();
    let namespace = cache.namespace("r", &plain()).unwrap();
    let how = SetOptions::new().flags(5);
    assert!(namespace.add("key", "1", &how).unwrap() && !namespace.add("key", "2", &how).unwrap());
    assert!(namespace.replace("key", "3", &how).unwrap() && !namespace.replace("none", "3", &how).unwrap());
    assert_eq!((namespace.incr("key", 4).unwrap(), namespace.decr("key", 1).unwrap()), (Some(7), Some(6)));
    let item = namespace.get_item("key").unwrap();
    assert_eq!((item.flags, &item.value[..]), (5, &b"6"[..]));
    assert!(matches!(namespace.compare_and_swap("key", item.stamp, "9", &how).unwrap(), Swap::Stored(_)));
    assert_eq!(namespace.compare_and_swap("key", item.stamp, "9", &how).unwrap(), Swap::Changed);
    assert!(namespace.touch("key", Expiry::Never).unwrap());
    let mut buf = [0; 4];
    assert_eq!(namespace.get_into("key", &mut buf).unwrap(), Some(1));
    assert!(namespace.set_multi(&[("x", "1"), ("y", "2")], &how).iter().all(Result::is_ok));
    let values = namespace.get_multi(&["x", "y", "z"]);
    assert_eq!(values, [Some(b"1".to_vec()), Some(b"2".to_vec()), None]);
    let gone: Vec<_> = namespace.delete_multi(&["x", "z"]).into_iter().map(Result::unwrap).collect();
    assert_eq!(gone, [true, false]);
    let lock = namespace.lock("key", Wait::No).unwrap();
    assert!(namespace.is_claimed("key") && !cache.is_claimed("key"));
    assert!(matches!(namespace.try_lock("key"), Err(Error::OwnClaim)));
    assert!(lock.release() && namespace.try_lock("key").unwrap().is_some());
    // It belongs to the namespace, whichever handle wrote it.
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert!(["key", "x", "y"].iter().all(|key| !namespace.contains(key)));
    assert_sound(&cache);
}

#[test]
fn a_handle_knows_its_namespace_and_acts_on_nothing_else() {
    let (_place, cache) = cache();
    let a = cache.namespace("a", &plain()).unwrap();
    let b = a.namespace("b", &plain()).unwrap();
    let (waits, whole) = (b.with_lock_wait(Duration::ZERO), b.without_namespace());
    let names = [&cache, &a, &b, &waits, &whole].map(Cache::namespace_name);
    assert_eq!(names, [None, Some("a"), Some("b"), Some("b"), None]);
    for (handle, key) in [(&cache, "of none"), (&a, "of a"), (&b, "of b"), (&b, "too")] {
        handle.set(key, "value").unwrap();
    }
    let sorted = |handle: &Cache| {
        let mut keys: Vec<_> = handle.keys().map(|key| String::from_utf8(key).unwrap()).collect();
        keys.sort();
        keys
    };
    assert_eq!((sorted(&a), sorted(&b)), (vec!["of a".to_owned()], vec!["of b".to_owned(), "too".to_owned()]));
    let stored = ["a\0of a", "b\0of b", "b\0too", "of none"];
    assert_eq!(sorted(&cache), stored);
    // Nobody can undo a custom mangler.
    let mangled = cache.namespace("c", &plain().key_mangler(|_, key| key.to_vec())).unwrap();
    assert_eq!(sorted(&mangled), stored);
    assert_eq!((a.stats().items, a.verify().records), (4, 4), "these are of the whole file");
    b.clear().unwrap();
    assert_eq!((sorted(&b), sorted(&cache)), (vec![], vec!["a\0of a".to_owned(), "of none".to_owned()]));
    cache.clear().unwrap();
    assert_eq!(sorted(&a), [""; 0]);
}

#[test]
fn what_counts_up_stays_in_its_namespace_however_it_is_reached() {
    let (_place, cache) = cache();
    let namespace = cache.namespace("r", &plain()).unwrap();
    cache.namespace("other", &plain()).unwrap().invalidate(Invalidation::Hard).unwrap();
    namespace.invalidate(Invalidation::Hard).unwrap();
    namespace.set("n", "1").unwrap();
    assert_eq!(cache.incr(namespace.stored_key("n"), 1).unwrap(), Some(2));
    assert_eq!(namespace.get("n").as_deref(), Some(&b"2"[..]));
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert_eq!(namespace.get("n"), None);
}

#[test]
fn an_invalidation_holds_in_every_process_at_once_and_for_its_namespace_only() {
    let (_place, cache) = cache();
    let pages = cache.namespace("pages", &plain()).unwrap();
    let users = cache.namespace("users", &plain()).unwrap();
    let mut looker = children::start("look", &[arg(cache.path())]);
    for round in 0..20 {
        pages.set("1", "page").unwrap();
        users.set("1", "user").unwrap();
        cache.set("1", "plain").unwrap();
        looker.tell("1");
        looker.expect("page");
        if round % 2 == 0 {
            pages.invalidate(Invalidation::Hard).unwrap();
        } else {
            let mut other = children::start("invalidate", &[arg(cache.path())]);
            other.expect("done");
            other.finish();
        }
        looker.tell("1");
        looker.expect("none");
        assert_eq!(pages.get("1"), None);
        assert!(users.contains("1") && cache.contains("1"));
    }
    looker.finish();
    assert_sound(&cache);
}

#[test]
fn a_soft_invalidation_makes_values_stale() {
    let (_place, cache) = cache();
    let namespace = cache.namespace("r", &plain()).unwrap();
    let other = cache.namespace("other", &plain()).unwrap();
    namespace.set("key", "old").unwrap();
    other.set("key", "other").unwrap();
    namespace.invalidate(Invalidation::Soft).unwrap();
    let item = namespace.get_item("key").unwrap();
    assert!(item.is_stale && item.value == b"old" && !other.get_item("key").unwrap().is_stale);
    let how = CreateOptions::new();
    let Lookup::Create(claim) = namespace.claim("key", &how).unwrap() else { panic!("it is stale") };
    assert!(matches!(namespace.claim("key", &how).unwrap(), Lookup::Stale(item) if item.value == b"old"));
    assert!(matches!(claim.store("new").unwrap(), Stored::Yes(_)));
    assert!(matches!(namespace.claim("key", &how).unwrap(), Lookup::Hit(item) if item.value == b"new"));
    // A hard invalidation can still remove softly invalidated values.
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert!(!namespace.contains("key") && other.contains("key"));
    // A soft invalidation of the whole cache affects namespaces, too.
    cache.invalidate(Invalidation::Soft).unwrap();
    assert!(other.get_item("key").unwrap().is_stale);
}

#[test]
fn an_invalidation_voids_the_creations_of_its_namespace() {
    let (_place, cache) = cache();
    let (a, b) = (cache.namespace("a", &plain()).unwrap(), cache.namespace("b", &plain()).unwrap());
    for how in [Invalidation::Hard, Invalidation::Soft] {
        let claim = |namespace: &Cache| match namespace.claim("key", &CreateOptions::new()).unwrap() {
            Lookup::Create(claim) => claim,
            other => panic!("it is to be created: {other:?}"),
        };
        let (of_a, of_b) = (claim(&a), claim(&b));
        a.invalidate(how).unwrap();
        assert_eq!(of_a.store("too late").unwrap(), Stored::Voided);
        assert!(matches!(of_b.store("value").unwrap(), Stored::Yes(_)));
        assert!(a.get("key").is_none() && b.delete("key").unwrap());
    }
}

#[test]
fn defaults_are_stored_in_the_file_and_overridden_by_whoever_says_otherwise() {
    let place = Place::new();
    let clock = TestClock::at(NOW);
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let seconds = |s: u64| Some(moment(NOW + s * 1_000));
    let given =
        plain().ttl(Duration::from_secs(10)).soft_ttl(Duration::from_secs(5)).absence_ttl(Duration::from_secs(2));
    cache.namespace("r", &given).unwrap();

    let other = Options::new().clock(clock.clone()).open(place.path()).unwrap();
    let namespace = other.namespace("r", &plain()).unwrap();
    namespace.set("key", "value").unwrap();
    let item = namespace.get_item("key").unwrap();
    assert_eq!((item.expires, item.soft_expires), (seconds(10), seconds(5)));
    let how = SetOptions::new().expiry(Expiry::Never).soft_expiry(Expiry::After(Duration::from_secs(7)));
    namespace.set_with("key", "value", &how).unwrap();
    let item = namespace.get_item("key").unwrap();
    assert_eq!((item.expires, item.soft_expires), (None, seconds(7)));
    let mine = other.namespace("r", &plain().ttl(Duration::from_secs(20))).unwrap();
    mine.set("key", "value").unwrap();
    let item = mine.get_item("key").unwrap();
    assert_eq!((item.expires, item.soft_expires), (seconds(20), seconds(5)));
    mine.get_or_create("created", &CreateOptions::new(), || b"x".to_vec()).unwrap();
    assert_eq!(mine.get_item("created").unwrap().expires, seconds(20));
    // The absence of a value, too.
    let none = || None::<Vec<u8>>;
    assert_eq!(namespace.get_or_create_optional("none", &CreateOptions::new(), none).unwrap(), None);
    assert!(matches!(namespace.claim("none", &CreateOptions::new()).unwrap(), Lookup::Absent));
    clock.set(NOW + 2_000);
    assert!(matches!(namespace.claim("none", &CreateOptions::new()).unwrap(), Lookup::Create(_)));
}

#[test]
fn keys_are_mangled_as_the_caller_says() {
    let (_place, cache) = cache();
    let short = |_: &str, key: &[u8]| if key.len() > 20 { format!("{} bytes", key.len()).into() } else { key.to_vec() };
    let namespace = cache.namespace("r", &plain().key_mangler(short)).unwrap();
    namespace.set("short", "1").unwrap();
    namespace.set("x".repeat(70_000), "2").unwrap();
    assert_eq!(cache.get("short").as_deref(), Some(&b"1"[..]));
    assert_eq!(cache.get("70000 bytes").as_deref(), Some(&b"2"[..]));
    assert!(namespace.contains("x".repeat(70_000)));
    let plain = cache.namespace("r", &plain()).unwrap();
    let error = plain.set("x".repeat(65_534), "too long with the name before it").unwrap_err();
    assert!(matches!(error, Error::KeyTooLong { size: 65_536, limit: 65_535 }), "{error}");
}

#[test]
fn a_table_that_is_full_or_a_name_that_cannot_be_is_an_error() {
    let place = Place::new();
    let cache = options().namespaces(2).create(place.path()).unwrap();
    let name = "n".repeat(128);
    cache.namespace(&name, &plain()).unwrap();
    cache.namespace("two", &plain()).unwrap();
    cache.namespace(&name, &plain()).unwrap();
    let error = cache.namespace("three", &plain()).unwrap_err();
    assert!(matches!(error, Error::NamespacesFull { namespaces: 2, .. }), "{error}");
    for bad in ["", &"n".repeat(129), "a\0b"] {
        let error = cache.namespace(bad, &plain()).unwrap_err();
        assert!(matches!(error, Error::BadOption { option: "name of a namespace", .. }), "{error}");
    }
    assert_eq!(cache.namespaces(), [name.as_str(), "two"]);
}

#[test]
fn threads_and_handles_that_make_one_namespace_at_once_get_the_same() {
    let (place, cache) = cache();
    let other = Options::new().open(place.path()).unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let cache = if n % 2 == 0 { &cache } else { &other };
            scope.spawn(move || {
                for r in 0..10 {
                    let namespace = cache.namespace(&format!("namespace {r}"), &plain()).unwrap();
                    namespace.set(n.to_string(), "value").unwrap();
                }
            });
        }
    });
    assert_eq!(cache.namespaces().len(), 10);
    let namespace = cache.namespace("namespace 3", &plain()).unwrap();
    assert!((0..8).all(|n| namespace.contains(n.to_string())));
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert!((0..8).all(|n| !namespace.contains(n.to_string())));
}

#[test]
fn a_namespace_goes_over_to_the_file_that_took_the_old_ones_place() {
    let (place, cache) = cache();
    let namespace = cache.namespace("r", &plain()).unwrap();
    namespace.set("key", "old").unwrap();
    Options::new().destroy(place.path()).unwrap();
    let new = options().create(place.path()).unwrap();
    new.namespace("another", &plain()).unwrap();
    namespace.set("key", "new").unwrap();
    assert_eq!(new.namespaces(), ["another", "r"]);
    assert_eq!(new.namespace("r", &plain()).unwrap().get("key").as_deref(), Some(&b"new"[..]));
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert_eq!(namespace.get("key"), None);
}

#[test]
fn a_read_only_handle_reads_namespaces() {
    let (place, cache) = cache();
    cache.namespace("r", &plain()).unwrap().set("key", "value").unwrap();
    let reader = Options::new().open_read_only(place.path()).unwrap();
    assert_eq!(reader.namespace("r", &plain()).unwrap().get("key").as_deref(), Some(&b"value"[..]));
    let unknown = reader.namespace("unknown", &plain()).unwrap();
    assert_eq!(unknown.get("key"), None);
    assert!(matches!(unknown.set("key", "value"), Err(Error::ReadOnly(_))));
    assert_eq!(reader.namespaces(), ["r"]);
}

#[test]
fn after_a_crash_an_invalidation_goes_stripe_by_stripe() {
    let place = Place::new();
    let options = options().after_crash(kennel::AfterCrash::Verify);
    let cache = options.create(place.path()).unwrap();
    let namespace = cache.namespace("r", &plain()).unwrap();
    for n in 0..50 {
        namespace.set(n.to_string(), "value").unwrap();
        cache.set(n.to_string(), "plain").unwrap();
    }
    drop((namespace, cache));
    let cache = Options::new().boot_id([1, 2]).open(place.path()).unwrap();
    let namespace = cache.namespace("r", &plain()).unwrap();
    assert!((0..50).all(|n| namespace.contains(n.to_string())));
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert!((0..50).all(|n| !namespace.contains(n.to_string()) && cache.contains(n.to_string())));
    assert_sound(&cache);
}

#[test]
fn words_of_a_namespace_rise_and_belong_to_it_alone() {
    let (place, cache) = cache();
    let (pages, users) = (cache.namespace("pages", &plain()).unwrap(), cache.namespace("users", &plain()).unwrap());
    assert_eq!([0, 1, 2, 3, 4].map(|index| pages.namespace_word(index)), [Some(0), Some(0), Some(0), Some(0), None]);
    assert_eq!(pages.raise_namespace_word(3, u64::MAX - 1).unwrap(), 0);
    assert_eq!(pages.raise_namespace_word(3, 5).unwrap(), u64::MAX - 1);
    assert_eq!(pages.raise_namespace_word(0, 5).unwrap(), 0);
    let again = Options::new().open(place.path()).unwrap().namespace("pages", &plain()).unwrap();
    assert_eq!([0, 1, 2, 3].map(|index| again.namespace_word(index).unwrap()), [5, 0, 0, u64::MAX - 1]);
    assert_eq!((again.namespace_words(), again.namespace_words()), (Some([5, 0, 0, u64::MAX - 1]), Some([5, 0])));
    assert_eq!((again.namespace_words::<5>(), cache.namespace_words::<1>()), (None, None));
    assert_eq!(users.namespace_word(3), Some(0));
    pages.invalidate(Invalidation::Hard).unwrap();
    assert_eq!(pages.namespace_word(0), Some(5), "an invalidation leaves words alone");
    assert_sound(&cache);
}

#[test]
fn words_need_a_namespace_an_index_and_a_writer() {
    let (place, cache) = cache();
    assert_eq!(cache.namespace_word(0), None);
    assert!(matches!(cache.raise_namespace_word(0, 1), Err(Error::BadOption { .. })));
    let pages = cache.namespace("pages", &plain()).unwrap();
    assert!(matches!(pages.raise_namespace_word(4, 1), Err(Error::BadOption { .. })));
    pages.raise_namespace_word(1, 9).unwrap();
    let reader = Options::new().open_read_only(place.path()).unwrap();
    let read_only = reader.namespace("pages", &plain()).unwrap();
    assert_eq!((read_only.namespace_word(1), read_only.namespace_words()), (Some(9), Some([0, 9])));
    assert!(matches!(read_only.raise_namespace_word(1, 10), Err(Error::ReadOnly(_))));
    assert_eq!(reader.namespace("unknown", &plain()).unwrap().namespace_word(1), None);
}

#[test]
fn words_are_zero_in_a_file_that_replaced_another() {
    let (place, cache) = cache();
    let pages = cache.namespace("pages", &plain()).unwrap();
    pages.raise_namespace_word(0, 9).unwrap();
    Options::new().destroy(place.path()).unwrap();
    let new = options().create(place.path()).unwrap();
    new.namespace("another", &plain()).unwrap();
    assert_eq!(pages.raise_namespace_word(0, 1).unwrap(), 0, "the namespace has another number there");
    assert_eq!(pages.namespace_word(0), Some(1));
    assert_eq!(new.namespace("another", &plain()).unwrap().namespace_word(0), Some(0));
}

#[test]
fn a_word_is_raised_in_the_file_of_a_lineage_and_in_no_other() {
    let (place, cache) = cache();
    let pages = cache.namespace("pages", &plain()).unwrap();
    let lineage = pages.lineage().unwrap();
    assert_eq!(pages.raise_namespace_word_of(lineage, 0, 9).unwrap(), Some(0));
    assert_eq!(pages.raise_namespace_word_of(lineage, 0, 3).unwrap(), Some(9));
    cache.resize(16 << 20, &kennel::ResizeOptions::new()).unwrap();
    assert_eq!((pages.lineage(), pages.raise_namespace_word_of(lineage, 0, 10).unwrap()), (Some(lineage), Some(9)));
    // Who has the removed file open goes on with it until it notices that.
    std::fs::remove_file(place.path()).unwrap();
    let new = options().create(place.path()).unwrap().namespace("pages", &plain()).unwrap();
    assert_eq!((new.lineage() == Some(lineage), new.raise_namespace_word_of(lineage, 0, 11).unwrap()), (false, None));
    assert_eq!(pages.raise_namespace_word_of(lineage, 0, 11).unwrap(), Some(10));
    pages.notice_removal();
    assert_eq!((pages.lineage(), pages.raise_namespace_word_of(lineage, 0, 12).unwrap()), (new.lineage(), None));
    assert_eq!((pages.namespace_word(0), pages.raise_namespace_word(0, 2).unwrap()), (Some(0), 0));
    assert!(matches!(pages.raise_namespace_word_of(new.lineage().unwrap(), 4, 1), Err(Error::BadOption { .. })));
}

#[test]
fn a_value_is_read_if_the_words_of_its_namespace_vouch_for_it() {
    let (place, cache) = cache();
    let pages = cache.namespace("pages", &plain()).unwrap();
    let how = SetOptions::new().expiry(Expiry::At(UNIX_EPOCH + Duration::from_millis(LATE)));
    pages.set_with("key", "value", &how).unwrap();
    pages.raise_namespace_word(0, 7).unwrap();
    pages.raise_namespace_word(1, 8).unwrap();
    let read_only = Options::new().open_read_only(place.path()).unwrap().namespace("pages", &plain()).unwrap();
    for pages in [&pages, &read_only] {
        let counted = || pages.stats().counters.hits + pages.stats().counters.misses;
        let before = counted();
        let mut buf = [0; 8];
        let is_read_only = std::ptr::eq(pages, &read_only);
        for at in [LATE - 1, LATE] {
            let vouch = |words: [u64; 2]| (words == [7, 8]).then_some(at);
            // A read-only handle reads the clock itself.
            let is_there = at < LATE || is_read_only;
            assert_eq!(pages.get_vouched("key", vouch), is_there.then(|| b"value".to_vec()));
            assert_eq!(pages.get_into_vouched("key", &mut buf, vouch).unwrap(), is_there.then_some(5));
            let made = pages.get_with_vouched("key", |len| vec![0; len], vouch).unwrap();
            assert_eq!(made, is_there.then(|| b"value".to_vec()));
        }
        assert_eq!(counted() - before, if is_read_only { 0 } else { 6 });
        let before = counted();
        assert_eq!(pages.get_vouched("key", |words: [u64; 2]| (words == [7, 9]).then_some(1)), None);
        assert_eq!(counted(), before, "what is not vouched for is not read");
        assert_eq!(pages.get_vouched("none", |_: [u64; 1]| Some(1)), None);
        assert_eq!(pages.get_vouched(vec![b'k'; 70_000], |_: [u64; 1]| Some(1)), None);
        assert_eq!(pages.get_vouched("key", |_: [u64; 5]| Some(1)), None);
        let small = pages.get_into_vouched("key", &mut buf[..4], |_: [u64; 0]| Some(1));
        assert!(matches!(small, Err(Error::BufferTooSmall { needed: 5, given: 4 })));
        let small = pages.get_with_vouched("key", |_| [0; 4], |_: [u64; 0]| Some(1));
        assert!(matches!(small, Err(Error::BufferTooSmall { needed: 5, given: 4 })));
    }
    assert_eq!(cache.get_vouched("key", |_: [u64; 0]| Some(1)), None, "a handle without a namespace");
    assert_eq!(reads_of_a_successor(&place, &pages), None);
}

/// What is read when the file is removed and made again after its words have vouched.
fn reads_of_a_successor(place: &Place, pages: &Cache) -> Option<Vec<u8>> {
    pages.set("late", "old").unwrap();
    let old = pages.get_vouched("late", |_: [u64; 1]| {
        std::fs::remove_file(place.path()).unwrap();
        let new = options().create(place.path()).unwrap().namespace("pages", &plain()).unwrap();
        new.set("late", "of another file").unwrap();
        pages.notice_removal();
        Some(1)
    });
    assert_eq!(old.as_deref(), Some(&b"old"[..]), "the words and the value are of one file");
    assert_eq!(pages.get("late").as_deref(), Some(&b"of another file"[..]));
    pages.get_vouched("late", |[word]| (word == 7).then_some(1))
}
