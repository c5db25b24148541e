//! One creates, the others wait or take the stale value.

mod common;

use common::{Place, TestClock, assert_sound, must_end};
use kennel::{Cache, CreateError, CreateOptions, Error, Expiry, Invalidation, Lookup, Options, SetOptions, Stored, Wait};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const NOW: u64 = 1_700_000_000_000;

fn options() -> Options {
    Options::new().capacity(256 << 10).stripes(4).mean_item(64).seats(4)
}

fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    (place, cache)
}

fn ok(value: &str) -> Result<Vec<u8>, Infallible> {
    Ok(value.as_bytes().to_vec())
}

fn ttl(ms: u64) -> Expiry {
    Expiry::After(Duration::from_millis(ms))
}

/// Waits until so many callers wait for another's creation.
fn wait_for_waiters(cache: &Cache, waiters: u64) {
    let start = Instant::now();
    while cache.stats().counters.claim_waits < waiters {
        assert!(start.elapsed() < Duration::from_secs(30), "nobody waits");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_value_is_created_once_and_found_from_then_on() {
    let (_place, cache) = cache();
    let how = CreateOptions::new();
    assert_eq!(cache.get_or_create("key", &how, || ok("value")).unwrap(), b"value");
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    let never = || -> Result<Vec<u8>, Infallible> { panic!("it is there") };
    assert_eq!(cache.get_or_create("key", &how, never).unwrap(), b"value");
    assert_eq!(cache.stats().counters.creations, 1);
    assert!(!cache.is_claimed("key"));
    assert_sound(&cache);
}

#[test]
fn many_threads_miss_and_one_creates() {
    let (_place, cache) = cache();
    let (created, how) = (AtomicU32::new(0), CreateOptions::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let value = cache.get_or_create("key", &how, || {
                    created.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(50));
                    ok("value")
                });
                assert_eq!(value.unwrap(), b"value");
            });
        }
    });
    assert_eq!(created.load(Ordering::SeqCst), 1);
}
