//! Claims for tasks of tokio: they wait without holding a thread.
#![cfg(feature = "tokio")]

mod common;

use common::{Place, must_end};
use kennel::{Cache, CreateError, CreateOptions, Error, LockOptions, Lookup, Options, RegionOptions, Stored, Wait};
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
    });
}
