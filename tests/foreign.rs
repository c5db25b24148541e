//! What the bindings of other languages ask of the engine: numbers that begin, values with their metadata in memory of
//! the caller, removal by stamp, and claims that are asked for without a wait.

mod common;

use common::{Place, must_end};
use kennel::{
    Cache, Clock, CreateOptions, Created, Error, Expiry, Lookup, NamespaceOptions, Options, SetOptions, Stamp, Stored,
    Wait,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn small() -> Options {
    Options::new().capacity(1 << 20).stripes(2)
}

fn cache(place: &Place) -> Cache {
    small().create(place.path()).unwrap()
}

struct Set(AtomicU64);

impl Clock for Set {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

#[test]
fn a_number_begins_once_and_keeps_its_expiry() {
    let place = Place::new();
    let clock = Arc::new(Set(AtomicU64::new(1000)));
    let cache = small().clock(clock.clone()).create(place.path()).unwrap();
    let minute = SetOptions::new().expiry(Expiry::After(Duration::from_secs(60))).flags(3);
    assert_eq!(cache.incr_or("n", 5, 1, &minute).unwrap(), 1);
    clock.0.store(1059, Ordering::Relaxed);
    assert_eq!(cache.incr_or("n", 5, 1, &minute).unwrap(), 6);
    let item = cache.get_item("n").unwrap();
    assert_eq!((item.value.as_slice(), item.flags), (&b"6"[..], 3));
    assert_eq!(item.expires, Some(UNIX_EPOCH + Duration::from_secs(1060)));
    clock.0.store(1060, Ordering::Relaxed);
    assert_eq!(cache.incr("n", 1).unwrap(), None, "it has expired");
    assert_eq!(cache.decr_or("n", 5, 7, &SetOptions::new()).unwrap(), 7);
    assert_eq!(cache.decr_or("n", 5, 7, &SetOptions::new()).unwrap(), 2);
    assert!(matches!(cache.decr_or("n", 5, 7, &SetOptions::new()), Err(Error::Overflow { value: 2, .. })));
    cache.set("text", "abc").unwrap();
    assert!(matches!(cache.incr_or("text", 1, 1, &SetOptions::new()), Err(Error::NotANumber { .. })));
    assert!(matches!(cache.incr_or([0; 70_000], 1, 1, &SetOptions::new()), Err(Error::KeyTooLong { .. })));
}

#[test]
fn a_number_begins_with_the_defaults_of_its_namespace() {
    let place = Place::new();
    let cache = cache(&place).namespace("limits", &NamespaceOptions::new().ttl(Duration::from_secs(60))).unwrap();
    cache.incr_or("n", 1, 1, &SetOptions::new()).unwrap();
    assert!(cache.get_item("n").unwrap().expires.is_some());
    cache.clear().unwrap();
    assert_eq!(cache.incr_or("n", 1, 9, &SetOptions::new()).unwrap(), 9, "a cleared number begins anew");
}

#[test]
fn no_first_number_is_lost() {
    must_end("four threads begin a number", || {
        let place = Place::new();
        let cache = cache(&place);
        for round in 0..200 {
            let key = format!("n{round}");
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| cache.incr_or(&key, 1, 1, &SetOptions::new()).unwrap());
                }
            });
            assert_eq!(cache.get(&key).as_deref(), Some(&b"4"[..]));
        }
    });
}

#[test]
fn an_item_lies_in_the_callers_memory() {
    let place = Place::new();
    let plain = cache(&place);
    let checked = Options::new().verify_reads(true).open(place.path()).unwrap();
    let soft = SetOptions::new().flags(7).soft_expiry(Expiry::After(Duration::from_secs(60)));
    let soft = soft.expiry(Expiry::After(Duration::from_secs(90)));
    plain.set_with("key", "value", &soft).unwrap();
    for cache in [&plain, &checked] {
        let whole = cache.get_item("key").unwrap();
        let mut buf = [0; 8];
        let item = cache.get_item_into("key", &mut buf).unwrap().unwrap();
        assert_eq!(&buf, b"value\0\0\0");
        assert_eq!((item.value, item.flags, item.stamp), (5, 7, whole.stamp));
        assert_eq!((item.expires, item.soft_expires), (whole.expires, whole.soft_expires));
        assert_eq!((item.created, item.is_stale), (whole.created, false));
        let made = cache.get_item_with("key", |len| vec![0; len + 1]).unwrap().unwrap();
        assert_eq!((made.value.as_slice(), made.flags, made.stamp), (&b"value\0"[..], 7, whole.stamp));
        let mut short = [9; 4];
        let refused = cache.get_item_into("key", &mut short);
        assert!(matches!(refused, Err(Error::BufferTooSmall { needed: 5, given: 4 })) && short == [9; 4]);
        let refused = cache.get_item_with("key", |_| [9; 4]);
        assert!(matches!(refused, Err(Error::BufferTooSmall { needed: 5, given: 4 })));
        assert!(cache.get_item_into("none", &mut []).unwrap().is_none());
        assert!(cache.get_item_with("none", |len| vec![0; len]).unwrap().is_none());
    }
}

#[test]
fn a_key_is_removed_by_its_stamp_alone() {
    let place = Place::new();
    let cache = cache(&place);
    let first = cache.set_with("lock", "owner a", &SetOptions::new()).unwrap();
    let second = cache.set_with("lock", "owner b", &SetOptions::new()).unwrap();
    assert!(!cache.compare_and_delete("lock", first).unwrap());
    assert_eq!(cache.get("lock").as_deref(), Some(&b"owner b"[..]));
    assert!(cache.compare_and_delete("lock", second).unwrap());
    assert_eq!(cache.get("lock"), None);
    assert!(!cache.compare_and_delete("lock", second).unwrap());
    assert!(!cache.compare_and_delete("lock", Stamp(0)).unwrap());
    let past = SetOptions::new().expiry(Expiry::After(Duration::ZERO));
    let expired = cache.set_with("lock", "owner c", &past).unwrap();
    assert!(!cache.compare_and_delete("lock", expired).unwrap(), "an expired value is none");
}

#[test]
fn a_removal_by_stamp_voids_a_creation() {
    let place = Place::new();
    let cache = cache(&place);
    let stale = SetOptions::new().soft_expiry(Expiry::After(Duration::ZERO));
    let stamp = cache.set_with("key", "old", &stale).unwrap();
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is stale") };
    assert!(!cache.compare_and_delete("key", Stamp(stamp.0 + 1)).unwrap());
    assert!(claim.is_protected(), "nothing was removed");
    assert!(cache.compare_and_delete("key", stamp).unwrap());
    assert!(!claim.is_protected());
    assert_eq!(claim.store("new").unwrap(), kennel::Stored::Voided);
}

#[test]
fn a_request_is_asked_again_until_there_is_an_answer() {
    let place = Place::new();
    let cache = cache(&place);
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    let mut request = cache.request_claim("key", &CreateOptions::new()).unwrap();
    for _ in 0..50 {
        assert!(request.poll().unwrap().is_pending());
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(cache.stats().counters.claim_waits, 1, "one wait is counted once");
    claim.fail();
    let Poll::Ready(Lookup::Create(claim)) = request.poll().unwrap() else { panic!("the creation failed") };
    assert!(claim.is_protected());
    let mut other = cache.request_claim("key", &CreateOptions::new()).unwrap();
    assert!(!other.has_waited());
    assert!(other.poll().unwrap().is_pending() && other.has_waited());
    claim.store("made").unwrap();
    assert!(matches!(other.poll().unwrap(), Poll::Ready(Lookup::Hit(item)) if item.value == b"made"));
    let mut last = cache.request_claim("key", &CreateOptions::new()).unwrap();
    assert!(matches!(last.poll().unwrap(), Poll::Ready(Lookup::Hit(_))) && !last.has_waited());
}

#[test]
fn a_request_ends_with_its_time_and_waits_for_no_lock() {
    let place = Place::new();
    let cache = small().stripes(1).create(place.path()).unwrap();
    let _held = cache.claim("key", &CreateOptions::new()).unwrap();
    let how = CreateOptions::new().wait(Wait::For(Duration::from_millis(30)));
    let mut request = cache.request_claim("key", &how).unwrap();
    assert!(request.poll().unwrap().is_pending());
    thread::sleep(Duration::from_millis(40));
    assert!(matches!(request.poll(), Err(Error::TimedOut { .. })));
    let mut impatient = cache.request_claim("key", &CreateOptions::new().wait(Wait::No)).unwrap();
    assert!(matches!(impatient.poll(), Err(Error::TimedOut { .. })));
    // While another thread holds the stripe's lock, a request returns at once all the same.
    let mut request = cache.request_claim("other", &CreateOptions::new()).unwrap();
    let asked = cache.while_locked(0, || {
        let began = std::time::Instant::now();
        let pending = thread::scope(|scope| scope.spawn(|| request.poll().unwrap().is_pending()).join().unwrap());
        (pending, began.elapsed() < Duration::from_secs(1))
    });
    assert_eq!(asked.unwrap(), (true, true));
    thread::sleep(Duration::from_millis(20));
    assert!(matches!(request.poll().unwrap(), Poll::Ready(Lookup::Create(_))));
    let bad = CreateOptions::new().early_refresh(-1.0);
    assert!(matches!(cache.request_claim("key", &bad), Err(Error::BadOption { .. })));
}

#[test]
fn a_claim_for_an_item_says_whether_its_caller_waited() {
    let place = Place::new();
    let cache = cache(&place);
    let (found, has_waited) = cache.claim_for_item("key", &CreateOptions::new()).unwrap();
    let Lookup::Create(claim) = found else { panic!("it is missing") };
    assert!(!has_waited);
    must_end("a wait", {
        let cache = cache.clone();
        move || {
            let waiter = cache.clone();
            let waiter = thread::spawn(move || waiter.claim_for_item("key", &CreateOptions::new()).unwrap());
            while cache.stats().counters.claim_waits == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            let (item, _) = claim.store_as_item(Created::new("value"));
            let (found, has_waited) = waiter.join().unwrap();
            assert!(matches!(found, Lookup::Hit(found) if found == item) && has_waited);
        }
    });
    let (found, has_waited) = cache.claim_for_item("key", &CreateOptions::new()).unwrap();
    assert!(matches!(found, Lookup::Hit(_)) && !has_waited);
}

/// The claim of a key that has no value.
fn claim(cache: &Cache, key: &str, how: &CreateOptions) -> kennel::Claim {
    let Lookup::Create(claim) = cache.claim(key, how).unwrap() else { panic!("{key} has a value") };
    claim
}

#[test]
fn a_created_value_is_stored_as_the_item_that_is_handed_back() {
    let place = Place::new();
    let cache = cache(&place).namespace("pages", &NamespaceOptions::new().ttl(Duration::from_secs(60))).unwrap();
    let how = CreateOptions::new().flags(3).soft_expiry(Expiry::After(Duration::from_secs(20)));
    let (item, stored) = claim(&cache, "key", &how).store_as_item(Created::new("value").flags(7));
    assert_eq!((stored.unwrap(), item.flags), (Stored::Yes(item.stamp), 7));
    assert!(item.expires.is_some() && item.soft_expires.is_some());
    assert_eq!(cache.get_item("key"), Some(item));
    // What is not stored has the flags and times all the same.
    let (item, stored) = claim(&cache, "other", &how).store_as_item(Created::new("value").stored(false));
    assert_eq!((stored.unwrap(), item.stamp, item.flags), (Stored::Refused, Stamp(0), 3));
    assert!(item.expires.is_some() && item.soft_expires.is_some());
    let large = vec![1; 2 << 20];
    let (item, stored) = claim(&cache, "other", &how).store_as_item(Created::new(large.clone()));
    assert!(matches!(stored, Err(Error::TooLarge { .. })));
    assert_eq!((item.value, item.stamp, item.flags), (large, Stamp(0), 3));
    let voided = claim(&cache, "other", &how);
    cache.set("other", "newer").unwrap();
    let (item, stored) = voided.store_as_item(Created::new("value"));
    assert_eq!((stored.unwrap(), item.stamp), (Stored::Voided, Stamp(0)));
}

#[test]
fn an_item_is_stored_without_a_wait_for_the_lock() {
    let place = Place::new();
    let cache = small().stripes(1).create(place.path()).unwrap();
    let (held, made) = (claim(&cache, "key", &CreateOptions::new()), Created::new("value").flags(7));
    let tried =
        cache.while_locked(0, || thread::scope(|scope| scope.spawn(|| held.try_store_as_item(&made)).join().unwrap()));
    let held = tried.unwrap().unwrap_err();
    assert!(held.is_protected());
    let (item, stored) = held.try_store_as_item(&made).unwrap();
    assert_eq!((stored.unwrap(), item.flags), (Stored::Yes(item.stamp), 7));
    assert_eq!(cache.get_item("key"), Some(item));
    let refused = claim(&cache, "other", &CreateOptions::new()).try_store_as_item(&Created::new("value").stored(false));
    let (item, stored) = refused.unwrap();
    assert_eq!((stored.unwrap(), item.stamp), (Stored::Refused, Stamp(0)));
    let large = claim(&cache, "other", &CreateOptions::new()).try_store_as_item(&Created::new(vec![1; 2 << 20]));
    assert!(matches!(large.unwrap().1, Err(Error::TooLarge { .. })));
}
