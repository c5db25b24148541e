//! Claims for tasks of tokio: they wait without holding a thread.
#![cfg(feature = "tokio")]

mod common;

use common::{Place, must_end};
use kennel::{
    Cache, CreateError, CreateOptions, Error, Expiry, LockOptions, Lookup, Options, RegionOptions, Stored, Wait,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Threads of the runtime for blocking work.
const BLOCKING_THREADS: usize = 8;

/// One thread runs all tasks: whoever blocks it blocks everybody.
fn on_one_thread<F: Future<Output = ()>>(work: impl FnOnce(Cache) -> F + Send + 'static) {
    must_end("a task", move || {
        let place = Place::new();
        let cache = Options::new().capacity(256 << 10).create(place.path()).unwrap();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().max_blocking_threads(BLOCKING_THREADS).build().unwrap().block_on(work(cache));
    });
}

async fn ok(value: &str) -> Result<Vec<u8>, Infallible> {
    Ok(value.as_bytes().to_vec())
}

#[test]
fn many_tasks_miss_and_one_creates() {
    on_one_thread(|cache| async move {
        let created = Arc::new(AtomicU32::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (cache, created) = (cache.clone(), created.clone());
                tokio::spawn(async move {
                    let create = || async {
                        created.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        ok("value").await
                    };
                    cache.get_or_create_async("key", &CreateOptions::new(), create).await.unwrap()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), b"value");
        }
        assert_eq!(created.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn two_calls_of_one_task_wait_for_each_other_and_not_for_themselves() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ok("value").await
        };
        let (a, b) =
            tokio::join!(cache.get_or_create_async("key", &how, slow), cache.get_or_create_async("key", &how, slow));
        assert_eq!((a.unwrap(), b.unwrap()), (b"value".to_vec(), b"value".to_vec()));
        assert_eq!(cache.stats().counters.creations, 1);
    });
}

#[test]
fn a_creator_may_create_other_keys_but_not_its_own() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().wait(Wait::Forever);
        let outer = cache.get_or_create_async("outer", &how, || async {
            let inner = cache.get_or_create_async("inner", &how, || async {
                let own = cache.get_or_create_async("outer", &how, || ok("never")).await;
                assert!(matches!(own, Err(CreateError::Cache(Error::OwnClaim))));
                ok("inner").await
            });
            inner.await.map_err(|error| error.to_string())
        });
        assert_eq!(outer.await.unwrap(), b"inner");
    });
}

#[test]
fn a_stale_value_is_refreshed_in_the_background() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().soft_expiry(Expiry::After(Duration::ZERO)).wait(Wait::No);
        assert_eq!(cache.get_or_refresh_async("key", &how, || ok("first")).await.unwrap(), b"first");
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let slow = || async {
            wait.await.unwrap();
            ok("second").await
        };
        assert_eq!(cache.get_or_refresh_async("key", &how, slow).await.unwrap(), b"first");
        // The same task may ask again meanwhile.
        let never = || async { panic!("somebody creates it") };
        let again = cache.get_or_refresh_async::<Infallible, _>("key", &how, never).await;
        assert_eq!(again.unwrap(), b"first");
        go.send(()).unwrap();
        while cache.is_claimed("key") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(cache.get("key").as_deref(), Some(&b"second"[..]));
        // A background creator that fails or panics harms nobody: the next one tries.
        let fails = || async { Err("no") };
        assert_eq!(cache.get_or_refresh_async("key", &how, fails).await.unwrap(), b"second");
        while cache.is_claimed("key") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(cache.get_or_create_async("key", &how, || ok("third")).await.unwrap(), b"third");
    });
}

#[test]
fn a_refresh_in_the_background_ends_with_its_runtime() {
    must_end("a runtime", || {
        let place = Place::new();
        let cache = Options::new().capacity(256 << 10).create(place.path()).unwrap();
        let how = CreateOptions::new().soft_expiry(Expiry::After(Duration::ZERO));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            cache.get_or_create_async("key", &how, || ok("first")).await.unwrap();
            let never = std::future::pending::<Result<Vec<u8>, Infallible>>;
            assert_eq!(cache.get_or_refresh_async("key", &how, never).await.unwrap(), b"first");
            assert!(cache.is_claimed("key"));
        });
        drop(runtime);
        assert!(!cache.is_claimed("key"));
    });
}

#[test]
fn an_absence_is_remembered() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().absence_expiry(Expiry::After(Duration::from_secs(60)));
        let none = || async { Ok::<_, Infallible>(None) };
        assert_eq!(cache.get_or_create_optional_async("key", &how, none).await.unwrap(), None);
        let never = || async { panic!("it is known that there is none") };
        assert_eq!(cache.get_or_create_optional_async::<Infallible, _>("key", &how, never).await.unwrap(), None);
        // Who needs a value creates it for all, as a missing one.
        assert_eq!(cache.get_or_create_async("key", &how, || ok("value")).await.unwrap(), b"value");
        assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
        assert_eq!(cache.stats().counters.creations, 2);
    });
}

#[test]
fn many_keys_are_created_at_once_in_whatever_order_they_are_named() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().wait(Wait::Forever);
        let create = |missing: Vec<&&str>| {
            let values = missing.iter().map(|key| Some(key.as_bytes().to_vec())).collect::<Vec<_>>();
            async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok::<_, Infallible>(values)
            }
        };
        let there = cache.get_or_create_multi_async(&["a", "b", "c", "a"], &how, create);
        let back = cache.get_or_create_multi_async(&["d", "c", "b", "a"], &how, create);
        let (there, back) = tokio::join!(there, back);
        let some = |key: &str| Some(key.as_bytes().to_vec());
        assert_eq!(there.unwrap(), ["a", "b", "c", "a"].map(some));
        assert_eq!(back.unwrap(), ["d", "c", "b", "a"].map(some));
        assert_eq!(cache.stats().counters.creations, 4);
        let short = cache.get_or_create_multi_async(&["x", "y"], &how, |_| async { Ok::<_, Infallible>(vec![None]) });
        assert!(matches!(short.await, Err(CreateError::Cache(Error::BadOption { .. }))));
        assert!(!cache.is_claimed("x") && !cache.is_claimed("y"));
    });
}

/// A thread that stops in the middle of a write keeps the lock, as a stopped process does. Under `rw-file` reads wait
/// for it, too.
#[cfg(all(unix, feature = "crash-points"))]
#[test]
fn what_waits_for_a_stopped_writer_waits_elsewhere() {
    use kennel::crash::{Plan, Step, arm};
    use kennel::{LockStrategy, SetOptions};
    use std::time::Instant;
    for locks in [LockStrategy::File, LockStrategy::RwFile] {
        on_one_thread(move |_| async move {
            const LOCK_WAIT: Duration = Duration::from_millis(1_500);
            let place = Place::new();
            let options = Options::new().capacity(256 << 10).stripes(1).locks(locks).lock_wait(LOCK_WAIT);
            let cache = options.create(place.path()).unwrap();
            cache.set("there", "value").unwrap();
            let stopped = cache.clone();
            std::thread::spawn(move || {
                arm(Some(Step::Head), 0, Plan::Stop);
                let _ = stopped.set_with("other", "value", &SetOptions::new());
            });
            while cache.stripe_stats()[0].intent.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let longest = Arc::new(AtomicU32::new(0));
            let noted = longest.clone();
            let ticking = tokio::spawn(async move {
                loop {
                    let start = Instant::now();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    noted.fetch_max(start.elapsed().as_millis() as u32, Ordering::SeqCst);
                }
            });
            let how = CreateOptions::new().wait(Wait::For(Duration::from_millis(200)));
            for key in ["there", "missing"] {
                let _ = cache.get_or_create_async(key, &how, || ok("created")).await;
                let _ = cache.claim_async(key, &how).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            ticking.abort();
            let longest = longest.load(Ordering::SeqCst);
            assert!(longest < LOCK_WAIT.as_millis() as u32 / 2, "the other task stood still for {longest} ms");
            std::mem::forget((cache, place));
        });
    }
}

#[test]
fn a_dropped_future_lets_the_next_one_try() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().wait(Wait::Forever);
        let never = cache.get_or_create_async("key", &how, std::future::pending::<Result<Vec<u8>, Infallible>>);
        assert!(tokio::time::timeout(Duration::from_millis(100), never).await.is_err());
        assert!(!cache.is_claimed("key"));
        assert_eq!(cache.get_or_create_async("key", &how, || ok("value")).await.unwrap(), b"value");
    });
}

#[test]
fn locks_are_waited_for_without_a_thread() {
    on_one_thread(|cache| async move {
        let forever = LockOptions::new().wait(Wait::Forever);
        let lock = cache.lock_async("key", &forever).await.unwrap();
        // Did each of them keep a thread, none would be left for the one that does not wait for long.
        let waiters: Vec<_> = (0..5 * BLOCKING_THREADS)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.lock_async("key", &forever).await.unwrap().release() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let short = LockOptions::new().wait(Wait::For(Duration::from_millis(20)));
        assert!(matches!(cache.lock_async("key", &short).await, Err(Error::TimedOut { .. })));
        assert!(lock.release());
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
    });
}

#[test]
fn regions_have_tasks_too() {
    on_one_thread(|cache| async move {
        let region = cache.region("r", &RegionOptions::new().ttl(Duration::from_secs(60))).unwrap();
        let how = CreateOptions::new();
        assert_eq!(region.get_or_create_async("key", &how, || ok("value")).await.unwrap(), b"value");
        assert!(region.get_item("key").unwrap().expires.is_some() && !cache.contains("key"));
        let Lookup::Create(claim) = region.claim_async("other", &how).await.unwrap() else { panic!("it is missing") };
        assert!(region.is_claimed("other"));
        assert!(matches!(claim.store("value").unwrap(), Stored::Yes(_)));
        assert!(region.lock_async("key", &LockOptions::new()).await.unwrap().release());
        let none = || async { Ok::<_, Infallible>(None) };
        assert_eq!(region.get_or_create_optional_async("none", &how, none).await.unwrap(), None);
        assert_eq!(region.get_or_refresh_async("new", &how, || ok("new")).await.unwrap(), b"new");
        let two = |missing: Vec<&&str>| {
            assert_eq!(missing, [&"two"]);
            async { Ok::<_, Infallible>(vec![Some(b"two".to_vec())]) }
        };
        let found = region.get_or_create_multi_async(&["new", "two"], &how, two).await.unwrap();
        assert_eq!(found, [Some(b"new".to_vec()), Some(b"two".to_vec())]);
        assert!(region.contains("two") && !cache.contains("two"));
    });
}
