//! Many callers of one key: one creates it in spite of a remembered absence, each is counted once, and a value created
//! without a claim is never older than a later write of the key.

mod common;

use common::{Place, assert_sound, small_cache as cache, small_options as options};
use kennel::{Cache, CreateOptions, Expiry, Invalidation, Lookup, NamespaceOptions, SetOptions, Stored, Wait};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn ok(value: &str) -> Result<Vec<u8>, Infallible> {
    Ok(value.as_bytes().to_vec())
}

const MINUTE: Expiry = Expiry::After(Duration::from_secs(60));

fn wait_for_waiters(cache: &Cache, waiters: u64) {
    let start = Instant::now();
    while cache.stats().counters.claim_waits < waiters {
        assert!(start.elapsed() < Duration::from_secs(30), "no caller waits");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// This many threads ask for a key, and the creator waits until all others wait for it. Returns how many created.
fn herd(cache: &Cache, how: &CreateOptions, threads: u64) -> u32 {
    let created = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let create = || {
                    created.fetch_add(1, Ordering::SeqCst);
                    wait_for_waiters(cache, threads - 1);
                    ok("value")
                };
                assert_eq!(cache.get_or_create("key", how, create).unwrap(), b"value");
            });
        }
    });
    created.into_inner()
}

#[test]
fn a_remembered_absence_is_created_by_one_for_all_who_need_a_value() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().absence_expiry(MINUTE);
    assert_eq!(cache.get_or_create_optional("key", &how, || None::<Vec<u8>>).unwrap(), None);
    assert!(matches!(cache.claim("key", &how).unwrap(), Lookup::Absent), "for others it is remembered");
    assert_eq!(herd(&cache, &how, 8), 1);
    let counters = cache.stats().counters;
    assert_eq!((counters.creations, counters.claim_waits, counters.unprotected), (2, 7, 0));
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    // A call of `claim` must ask for this itself.
    assert_eq!(cache.get_or_create_optional("none", &how, || None::<Vec<u8>>).unwrap(), None);
    assert!(matches!(cache.claim("none", &how.clone().needs_value(true)).unwrap(), Lookup::Create(_)));
    let how = how.soft_expiry(Expiry::After(Duration::ZERO));
    assert_eq!(cache.get_or_refresh("none", &how, || ok("refreshed")).unwrap(), b"refreshed");
    assert_eq!(cache.get("none").as_deref(), Some(&b"refreshed"[..]));
    assert_sound(&cache);
}

#[test]
fn one_call_is_one_hit_or_one_miss_and_one_waiter_waits_once() {
    let (_place, cache) = cache();
    let how = CreateOptions::new();
    assert_eq!(herd(&cache, &how, 32), 1);
    let counters = cache.stats().counters;
    assert_eq!((counters.misses, counters.hits, counters.claim_waits), (32, 0, 31));
    for _ in 0..3 {
        cache.get_or_create("key", &how, || ok("never")).unwrap();
    }
    assert_eq!((cache.stats().counters.misses, cache.stats().counters.hits), (32, 3));
}

#[test]
fn who_gets_a_stale_value_is_a_hit_and_no_waiter() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().soft_expiry(Expiry::After(Duration::ZERO));
    cache.get_or_create("key", &how, || ok("stale")).unwrap();
    let Lookup::Create(_claim) = cache.claim("key", &how).unwrap() else { panic!("it is stale") };
    let before = cache.stats().counters;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                assert_eq!(cache.get_or_create("key", &how, || ok("never")).unwrap(), b"stale");
            }
        });
    });
    let counters = cache.stats().counters;
    assert_eq!((counters.hits - before.hits, counters.misses, counters.claim_waits), (100, before.misses, 0));
}

#[test]
fn who_waits_for_a_free_claim_waits_once() {
    let place = Place::new();
    let cache = options().stripes(1).claims(1).create(place.path()).unwrap();
    let held = cache.lock("other", Wait::No).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| cache.lock("key", Wait::Forever).unwrap().release());
        wait_for_waiters(&cache, 1);
        // It polls meanwhile.
        std::thread::sleep(Duration::from_millis(200));
        assert!(held.release() && waiter.join().unwrap());
    });
    assert_eq!(cache.stats().counters.claim_waits, 1);
}

/// All claims of the only stripe are held, so that others create without protection.
fn full() -> (Place, Cache, kennel::KeyLock) {
    let place = Place::new();
    let cache = options().stripes(1).claims(1).create(place.path()).unwrap();
    let held = cache.lock("other", Wait::No).unwrap();
    (place, cache, held)
}

/// Changes a key while it is being created without protection.
fn comes_to(what: impl Fn(&Cache)) {
    let (_place, cache, _held) = full();
    let Lookup::Create(claim) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    assert!(!claim.is_protected());
    what(&cache);
    let found = cache.get("key");
    assert_eq!(claim.store("older").unwrap(), Stored::Voided);
    assert_eq!(cache.get("key"), found);
    assert_sound(&cache);
}

#[test]
fn what_is_created_without_protection_is_not_stored_over_what_came_to_the_key() {
    comes_to(|cache| cache.set("key", "newer").unwrap());
    comes_to(|cache| assert!(cache.add("key", "newer", &SetOptions::new()).unwrap()));
    // The key is absent before and after.
    comes_to(|cache| {
        cache.set("key", "newer").unwrap();
        assert!(cache.delete("key").unwrap());
    });
    comes_to(|cache| {
        assert!(cache.set_multi(&[("key", "newer")], &SetOptions::new())[0].is_ok());
        assert!(*cache.delete_multi(&["key"])[0].as_ref().unwrap());
    });
    // The key is absent all the time: the delete says that the source of its value has changed.
    comes_to(|cache| assert!(!cache.delete("key").unwrap()));
    comes_to(|cache| assert!(!*cache.delete_multi(&["key"])[0].as_ref().unwrap()));
    // Another creator without protection was faster, and its value is already gone.
    comes_to(|cache| {
        let Lookup::Create(other) = cache.claim("key", &CreateOptions::new()).unwrap() else { panic!("it is missing") };
        assert!(matches!(other.store("newer").unwrap(), Stored::Yes(_)));
        assert!(cache.delete("key").unwrap());
    });
    comes_to(|cache| cache.clear().unwrap());
    comes_to(|cache| cache.invalidate(Invalidation::Soft).unwrap());
}

#[test]
fn what_is_created_without_protection_is_stored_when_nothing_came_to_the_key() {
    let (_place, cache, _held) = full();
    let how = CreateOptions::new();
    let Lookup::Create(claim) = cache.claim("key", &how).unwrap() else { panic!("it is missing") };
    assert_eq!((cache.get("key"), cache.get("another")), (None, None));
    assert!(matches!(claim.store("value").unwrap(), Stored::Yes(_)));
    let namespace = cache.namespace("r", &NamespaceOptions::new()).unwrap();
    assert_eq!(namespace.get_or_create("key", &how, || ok("value")).unwrap(), b"value");
    assert_eq!(namespace.get("key").as_deref(), Some(&b"value"[..]));
}

/// After a crash, and after 16 million invalidations, an invalidation goes stripe by stripe and raises no epoch.
#[test]
fn an_invalidation_stripe_by_stripe_is_seen_by_a_creation_without_protection() {
    let options = options().claims(1).seed(11);
    let scratch = Place::new();
    let scratch = options.create(scratch.path()).unwrap();
    let stripe_of = |key: &[u8]| {
        let sets = || scratch.stripe_stats().iter().map(|stripe| stripe.counters.sets).collect::<Vec<_>>();
        let before = sets();
        scratch.set(key, "value").unwrap();
        sets().iter().zip(before).position(|(now, before)| *now != before).unwrap()
    };
    // Both keys are in the stripe whose lock protects the namespaces, so that the other stripes stay as the crash left
    // them.
    let in_first = |key: &String| stripe_of(key.as_bytes()) == 0;
    let other = (0..).map(|n| format!("other {n}")).find(in_first).unwrap();
    let stored = (0..).map(|n| format!("r\0key {n}")).find(in_first).unwrap();
    let key = &stored["r\0".len()..];

    let place = Place::new();
    drop(options.clone().boot_id([1, 1]).create(place.path()).unwrap());
    let cache = options.boot_id([2, 2]).open(place.path()).unwrap();
    let namespace = cache.namespace("r", &NamespaceOptions::new()).unwrap();
    let _held = cache.lock(&other, Wait::No).unwrap();
    let Lookup::Create(claim) = namespace.claim(key, &CreateOptions::new()).unwrap() else { panic!("it is missing") };
    assert!(!claim.is_protected() && cache.stripe_stats().iter().any(|stripe| stripe.verify_me));
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert_eq!(claim.store("older").unwrap(), Stored::Voided);
    assert_eq!(namespace.get(key), None);
}
