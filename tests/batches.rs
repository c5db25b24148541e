//! Batches: one time for waiting, whatever they hold, and no code of the caller's under a lock.

mod common;

use common::{Place, assert_sound};
use kennel::{Cache, LockStrategy, Options, SetOptions};
use std::time::{Duration, Instant};

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(64).mean_item(64)
}

/// A key or a value that writes to its cache whenever it is asked for its bytes.
struct Nosy<'a> {
    cache: &'a Cache,
    bytes: String,
}

impl AsRef<[u8]> for Nosy<'_> {
    fn as_ref(&self) -> &[u8] {
        self.cache.set("asked", &self.bytes).unwrap();
        self.bytes.as_bytes()
    }
}

#[test]
fn the_callers_own_code_runs_under_no_lock() {
    let shared = [LockStrategy::File, LockStrategy::Lease, LockStrategy::Process];
    for strategy in shared {
        let place = Place::new();
        let options = options().stripes(1).locks(strategy.clone()).lock_wait(Duration::from_millis(200));
        let cache = options.create(place.path()).unwrap();
        let nosy = |n: u32| Nosy { cache: &cache, bytes: format!("item {n}") };
        let items: Vec<_> = (0..8).map(|n| (nosy(n), nosy(n))).collect();
        let keys = || (0..8).map(nosy).collect::<Vec<_>>();
        for result in cache.set_multi(&items, &SetOptions::new()) {
            result.unwrap_or_else(|error| panic!("{strategy}: {error}"));
        }
        assert!(cache.get_multi(&keys()).iter().all(Option::is_some));
        let how = kennel::CreateOptions::new();
        let create = |missing: &[&Nosy<'_>]| {
            Ok::<_, std::convert::Infallible>(missing.iter().map(|key| Some(key.bytes.as_bytes().to_vec())).collect())
        };
        assert!(cache.get_or_create_multi(&keys(), &how, create).unwrap().iter().all(Option::is_some));
        let region = cache.region("r", &kennel::RegionOptions::new()).unwrap();
        assert!(region.set_multi(&items, &SetOptions::new()).iter().all(Result::is_ok));
        assert!(cache.delete_multi(&keys()).into_iter().all(Result::unwrap));
        assert_sound(&cache);
    }
}

#[test]
fn what_cannot_be_written_is_told_in_its_place() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let (large, long) = ("v".repeat(1 << 20), "k".repeat(70_000));
    let items = [("a", "1"), ("b", &large), (&long, "3"), ("a", "4")];
    let results = cache.set_multi(&items, &SetOptions::new());
    assert!(matches!(
        &results[..],
        [Ok(()), Err(kennel::Error::TooLarge { .. }), Err(kennel::Error::KeyTooLong { .. }), Ok(())]
    ));
    assert_eq!(cache.get("a").as_deref(), Some(&b"4"[..]));
}

/// All stripes have one lock, and a thread that stops in the middle of a write keeps it, as a stopped process does.
#[cfg(all(unix, feature = "crash-points"))]
#[test]
fn a_batch_waits_as_long_as_one_write() {
    use kennel::crash::{Plan, Step, arm};
    use kennel::{CreateOptions, Error, Wait};
    const LOCK_WAIT: Duration = Duration::from_millis(200);
    common::must_end("a batch beside a stopped writer", || {
        let place = Place::new();
        let cache = options().lock_regions(1).lock_wait(LOCK_WAIT).create(place.path()).unwrap();
        let keys: Vec<_> = (0..128).map(|n| format!("key {n}")).collect();
        let claims: Vec<_> =
            keys.iter().map(|key| cache.claim(format!("{key} claimed"), &CreateOptions::new())).collect();
        let stopped = cache.clone();
        std::thread::spawn(move || {
            arm(Some(Step::Head), 0, Plan::Stop);
            let _ = stopped.set("other", "value");
        });
        while cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let within = |what: &str, work: &dyn Fn()| {
            let start = Instant::now();
            work();
            let (took, each) = (start.elapsed(), LOCK_WAIT * keys.len() as u32);
            assert!(took < each / 4, "{what}: {took:?}, where a wait for each would be {each:?}");
        };
        let is_busy = |error: &Error| matches!(error, Error::Busy { waited, .. } if *waited <= LOCK_WAIT);
        within("set_multi", &|| {
            let items: Vec<_> = keys.iter().map(|key| (key, "value")).collect();
            let results = cache.set_multi(&items, &SetOptions::new());
            assert!(results.iter().all(|result| result.as_ref().is_err_and(is_busy)), "{results:?}");
        });
        within("delete_multi", &|| {
            assert!(cache.delete_multi(&keys).iter().all(|result| result.as_ref().is_err_and(is_busy)));
        });
        for wait in [Wait::No, Wait::Forever, Wait::For(Duration::from_secs(1))] {
            within("get_or_create_multi", &|| {
                let how = CreateOptions::new().wait(wait).or_uncached(true);
                let create = |missing: &[&String]| {
                    Ok::<_, std::convert::Infallible>(missing.iter().map(|_| Some(b"value".to_vec())).collect())
                };
                let found = cache.get_or_create_multi(&keys, &how, create).unwrap();
                assert!(found.iter().all(Option::is_some));
            });
        }
        within("verify", &|| assert!(!cache.verify().unchecked.is_empty()));
        assert!(cache.stats().counters.busy >= 128);
        std::mem::forget((claims, cache, place));
    });
}
