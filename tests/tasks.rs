//! Claims for tasks of tokio, which wait without blocking a thread.
#![cfg(feature = "tokio")]

mod common;

use common::{Place, must_end};
use kennel::{
    Cache, CreateError, CreateOptions, Created, Error, Expiry, Invalidation, LockOptions, Lookup, NamespaceOptions,
    Options, SetOptions, Source, Stamp, Stored, Swap, Task, Wait,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;

/// One thread runs all tasks, so a task that blocks it blocks all others. The only thread for blocking work is busy, so
/// nothing may depend on it.
fn on_one_thread<F: Future<Output = ()>>(work: impl FnOnce(Cache) -> F + Send + 'static) {
    must_end("a task", move || {
        let place = Place::new();
        let cache = Options::new().capacity(256 << 10).create(place.path()).unwrap();
        let runtime = one_thread();
        let (end, until) = std::sync::mpsc::channel::<()>();
        let busy = runtime.spawn_blocking(move || until.recv());
        runtime.block_on(work(cache));
        drop(end);
        assert!(runtime.block_on(busy).unwrap().is_err());
    });
}

fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap()
}

async fn ok(value: &str) -> Result<Vec<u8>, Infallible> {
    Ok(value.as_bytes().to_vec())
}

/// A creator of what is there already.
async fn never() -> Vec<u8> {
    panic!("the key has a value")
}

#[test]
fn an_item_says_how_its_task_came_to_it() {
    on_one_thread(|cache| async move {
        let (tasks, plain) = (cache.to_async(), CreateOptions::new());
        let stale = plain.clone().soft_expiry(Expiry::After(Duration::ZERO));
        let made = async || Created::new("value").flags(7);
        let mut got = tasks.get_or_create_item("key", &stale, made).await.unwrap();
        assert_eq!((got.source, &got.item.value[..], got.item.flags), (Source::Created, &b"value"[..], 7));
        let found = cache.get_item("key").unwrap();
        got.item.is_stale = true;
        assert_eq!(got.item, found);
        let Lookup::Create(claim) = cache.claim("key", &stale).unwrap() else { panic!("it is stale") };
        let got = tasks.get_or_create_item("key", &stale, never).await.unwrap();
        assert_eq!((got.source, &got.item), (Source::Stale, &found));
        drop(claim);
        let fails = async || Err::<Vec<u8>, _>("down");
        let got = tasks.get_or_create_item("key", &stale.clone().stale_if_error(true), fails).await.unwrap();
        assert_eq!((got.source, got.item), (Source::Failed, found));
        let failed = tasks.get_or_create_item("other", &stale, fails).await;
        assert!(matches!(failed, Err(CreateError::Creator("down"))));
        let got = tasks.get_or_create_item("key", &plain, async || "new").await.unwrap();
        assert_eq!((got.source, got.item.soft_expires), (Source::Created, None));
        let hit = tasks.get_or_create_item("key", &plain, never).await.unwrap();
        assert_eq!((hit.source, hit.item), (Source::Hit, got.item));
        let late = async || {
            cache.clear().unwrap();
            "late"
        };
        let got = tasks.get_or_create_item("other", &plain, late).await.unwrap();
        assert_eq!((got.source, &got.item.value[..], got.item.stamp), (Source::NotStored, &b"late"[..], Stamp(0)));
    });
}

#[test]
fn an_item_that_another_task_created_was_waited_for() {
    on_one_thread(|cache| async move {
        let (of_creator, begun) = (cache.clone(), Arc::new(AtomicBool::new(false)));
        let begins = begun.clone();
        let creator = tokio::spawn(async move {
            let create = async || {
                begins.store(true, Ordering::SeqCst);
                // The other one waits soon; if it does not, the test fails.
                for _ in 0..10_000 {
                    if of_creator.stats().counters.claim_waits > 0 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                "value"
            };
            of_creator.to_async().get_or_create("key", &CreateOptions::new(), create).await
        });
        while !begun.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let got = cache.to_async().get_or_create_item("key", &CreateOptions::new(), never).await.unwrap();
        assert_eq!((got.source, &got.item.value[..]), (Source::Waited, &b"value"[..]));
        assert_eq!(creator.await.unwrap().unwrap(), b"value");
    });
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
                    cache.to_async().get_or_create("key", &CreateOptions::new(), create).await.unwrap()
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
        let tasks = cache.to_async();
        let (a, b) = tokio::join!(tasks.get_or_create("key", &how, slow), tasks.get_or_create("key", &how, slow));
        assert_eq!((a.unwrap(), b.unwrap()), (b"value".to_vec(), b"value".to_vec()));
        assert_eq!(cache.stats().counters.creations, 1);
    });
}

#[test]
fn a_creator_may_create_other_keys_but_not_its_own() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().wait(Wait::Forever);
        let tasks = cache.to_async();
        let outer = tasks.get_or_create("outer", &how, || async {
            let inner = tasks.get_or_create("inner", &how, || async {
                let own = tasks.get_or_create("outer", &how, || ok("never")).await;
                assert!(matches!(own, Err(CreateError::Cache(Error::OwnClaim))));
                ok("inner").await
            });
            inner.await.map_err(|error| error.to_string())
        });
        assert_eq!(outer.await.unwrap(), b"inner");
    });
}

#[test]
fn a_task_that_took_a_claim_by_hand_does_not_wait_for_itself() {
    on_one_thread(|cache| async move {
        let (tasks, task) = (cache.to_async(), Task::unique());
        let how = CreateOptions::new().wait(Wait::Forever);
        let Lookup::Create(claim) = tasks.claim("key", &how.clone().task(task)).await.unwrap() else {
            panic!("a claim")
        };
        let own = task.run_async(|| tasks.get_or_create("key", &how, || ok("never"))).await;
        assert!(matches!(own, Err(CreateError::Cache(Error::OwnClaim))));
        drop(claim);
        assert_eq!(tasks.get_or_create("key", &how, || ok("value")).await.unwrap(), b"value");
    });
}

#[test]
fn a_stale_value_is_refreshed_in_the_background() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().soft_expiry(Expiry::After(Duration::ZERO)).wait(Wait::No);
        assert_eq!(cache.to_async().get_or_refresh("key", &how, || ok("first")).await.unwrap(), b"first");
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let slow = || async {
            wait.await.unwrap();
            ok("second").await
        };
        assert_eq!(cache.to_async().get_or_refresh("key", &how, slow).await.unwrap(), b"first");
        // The same task may ask again meanwhile.
        let never = async || -> Vec<u8> { panic!("another caller creates it") };
        let again = cache.to_async().get_or_refresh("key", &how, never).await;
        assert_eq!(again.unwrap(), b"first");
        go.send(()).unwrap();
        while cache.is_claimed("key") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(cache.get("key").as_deref(), Some(&b"second"[..]));
        // A background creator that fails harms no caller: the next one tries again. A caller that finds the stripe's
        // lock held returns the stale value and leaves the key alone for some milliseconds.
        let has_run = Arc::new(AtomicU32::new(0));
        while has_run.load(Ordering::SeqCst) == 0 || cache.is_claimed("key") {
            let run = has_run.clone();
            let fails = || async move {
                run.fetch_add(1, Ordering::SeqCst);
                Err::<Vec<u8>, _>("no")
            };
            assert_eq!(cache.to_async().get_or_refresh("key", &how, fails).await.unwrap(), b"second");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(cache.to_async().get_or_create("key", &how, || ok("third")).await.unwrap(), b"third");
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
            cache.to_async().get_or_create("key", &how, || ok("first")).await.unwrap();
            let never = std::future::pending::<Result<Vec<u8>, Infallible>>;
            assert_eq!(cache.to_async().get_or_refresh("key", &how, never).await.unwrap(), b"first");
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
        let none = || async { None::<Vec<u8>> };
        assert_eq!(cache.to_async().get_or_create_optional("key", &how, none).await.unwrap(), None);
        let never = async || -> Option<Vec<u8>> { panic!("the absence is remembered") };
        assert_eq!(cache.to_async().get_or_create_optional("key", &how, never).await.unwrap(), None);
        // A caller that needs a value creates it for all, like a missing one.
        assert_eq!(cache.to_async().get_or_create("key", &how, || ok("value")).await.unwrap(), b"value");
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
                values
            }
        };
        let tasks = cache.to_async();
        let there = tasks.get_or_create_multi(&["a", "b", "c", "a"], &how, create);
        let back = tasks.get_or_create_multi(&["d", "c", "b", "a"], &how, create);
        let (there, back) = tokio::join!(there, back);
        let some = |key: &str| Some(key.as_bytes().to_vec());
        assert_eq!(there.unwrap(), ["a", "b", "c", "a"].map(some));
        assert_eq!(back.unwrap(), ["d", "c", "b", "a"].map(some));
        assert_eq!(cache.stats().counters.creations, 4);
        let short = tasks.get_or_create_multi(&["x", "y"], &how, |_| async { vec![None::<Vec<u8>>] });
        assert!(matches!(short.await, Err(Error::BadOption { .. })));
        assert!(!cache.is_claimed("x") && !cache.is_claimed("y"));
    });
}

/// A thread that stops in the middle of a write keeps the lock, as a stopped process does. Under `rw-file` reads wait
/// for it, too.
#[cfg(all(unix, feature = "crash-points"))]
#[test]
fn a_task_that_meets_a_stopped_writer_lets_the_others_run() {
    use kennel::LockStrategy;
    use kennel::crash::{Plan, Step, arm};
    use std::time::Instant;
    for locks in [LockStrategy::File, LockStrategy::RwFile] {
        on_one_thread(move |_| async move {
            let is_file = locks.name() == "file";
            const LOCK_WAIT: Duration = Duration::from_millis(1_500);
            let place = Place::new();
            let options = Options::new().capacity(256 << 10).stripes(1).locks(locks).lock_wait(LOCK_WAIT);
            let cache = options.create(place.path()).unwrap();
            cache.set("there", "value").unwrap();
            let stale = SetOptions::new().soft_expiry(Expiry::After(Duration::ZERO));
            cache.set_with("stale", "old", &stale).unwrap();
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
                let _ = cache.to_async().get_or_create(key, &how, || ok("created")).await;
                let _ = cache.to_async().claim(key, &how).await;
                let _ = cache.to_async().lock_with(key, &LockOptions::new().wait(Wait::No)).await;
            }
            let set = cache.to_async().set("there", "new").await;
            assert!(matches!(set, Err(Error::Busy { waited: LOCK_WAIT, .. })), "{set:?}");
            if is_file {
                let missing = cache.to_async().claim("missing", &how).await;
                assert!(matches!(missing, Err(Error::Busy { waited, .. }) if !waited.is_zero()), "{missing:?}");
                let all_the_same = how.clone().unprotected(true);
                assert_eq!(
                    cache.to_async().get_or_create("missing", &all_the_same, || ok("made")).await.unwrap(),
                    b"made"
                );
                assert_eq!(cache.to_async().get_or_create("stale", &how, || ok("new")).await.unwrap(), b"old");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            ticking.abort();
            let longest = longest.load(Ordering::SeqCst);
            assert!(longest < LOCK_WAIT.as_millis() as u32 / 2, "the other task stood still for {longest} ms");
            std::mem::forget((cache, place));
        });
    }
}

/// In the only thread of the pool, in which a runtime with other tasks waits.
#[test]
fn a_wait_in_the_only_thread_for_blocking_work_ends() {
    must_end("a wait", || {
        let place = Place::new();
        let cache = Options::new().capacity(256 << 10).create(place.path()).unwrap();
        let runtime = one_thread();
        let inside = cache.clone();
        let waits = move || {
            let (cache, how) = (inside, CreateOptions::new());
            tokio::runtime::Handle::current().block_on(async {
                let created = cache.to_async().get_or_create("one", &how, || ok("value")).await.unwrap();
                let found = cache.to_async().get_or_create("one", &how, || ok("other")).await.unwrap();
                let none = || async { None::<Vec<u8>> };
                assert_eq!(cache.to_async().get_or_create_optional("none", &how, none).await.unwrap(), None);
                let many = |_| async { vec![Some(b"many".to_vec())] };
                let many = cache.to_async().get_or_create_multi(&["many"], &how, many).await.unwrap();
                assert!(cache.to_async().lock_with("two", &LockOptions::new()).await.unwrap().release());
                let held = cache.lock("held", Wait::No).unwrap();
                let short = how.clone().wait(Wait::For(Duration::from_millis(20)));
                assert!(matches!(cache.to_async().claim("held", &short).await, Err(Error::TimedOut { .. })));
                drop(held);
                (created, found, many)
            })
        };
        let ended = runtime.block_on(runtime.spawn_blocking(waits)).unwrap();
        assert_eq!(ended, (b"value".to_vec(), b"value".to_vec(), vec![Some(b"many".to_vec())]));
    });
}

#[test]
fn a_call_is_one_hit_or_one_miss() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new();
        let counts = || {
            let counters = cache.stats().counters;
            (counters.hits, counters.misses, counters.creations, counters.claim_waits)
        };
        cache.to_async().get_or_create("key", &how, || ok("value")).await.unwrap();
        assert_eq!(counts(), (0, 1, 1, 0));
        cache.to_async().get_or_create("key", &how, || ok("value")).await.unwrap();
        assert_eq!(counts(), (1, 1, 1, 0));
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ok("value").await
        };
        let tasks = cache.to_async();
        let (a, b) = tokio::join!(tasks.get_or_create("two", &how, slow), tasks.get_or_create("two", &how, slow));
        assert_eq!((a.unwrap(), b.unwrap()), (b"value".to_vec(), b"value".to_vec()));
        assert_eq!(counts(), (1, 3, 2, 1));
    });
}

/// Other threads write to the same stripe, so that its lock is sometimes held.
#[test]
fn a_future_that_is_dropped_at_whatever_point_leaves_no_claim() {
    on_one_thread(|cache| async move {
        let is_over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..2)
            .map(|i| {
                let (cache, is_over) = (cache.clone(), is_over.clone());
                std::thread::spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        cache.set(format!("other {i}"), vec![7; 30_000]).unwrap();
                    }
                })
            })
            .collect();
        let how = CreateOptions::new();
        let (mut dropped, mut finished) = (0, 0);
        for polls in (0..12).cycle().take(600) {
            let slow = || async {
                tokio::task::yield_now().await;
                ok("value").await
            };
            let keys = ["key", "two"];
            let create = |missing: Vec<&&str>| {
                let values = vec![Some(b"value".to_vec()); missing.len()];
                async move {
                    tokio::task::yield_now().await;
                    values
                }
            };
            if poll_so_often(cache.to_async().get_or_create("key", &how, slow), polls).await.is_none() {
                dropped += 1;
            } else {
                finished += 1;
            }
            let _ = poll_so_often(cache.to_async().get_or_create_multi(&keys, &how, create), polls).await;
            let _ = poll_so_often(cache.to_async().claim("two", &how), polls).await;
            let _ = poll_so_often(cache.to_async().lock_with("three", &LockOptions::new()), polls).await;
            for key in ["key", "two", "three"] {
                assert!(!cache.is_claimed(key), "{key} after {polls} polls");
                cache.delete(key).unwrap();
            }
        }
        is_over.store(true, Ordering::SeqCst);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert!(dropped > 50 && finished > 50, "{dropped} dropped, {finished} finished");
    });
}

/// Polls a future a number of times, and drops it if it is not ready by then.
async fn poll_so_often<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let (mut future, mut left) = (Box::pin(future), polls);
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[test]
fn a_creator_says_how_its_value_is_stored() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().flags(1);
        let made = || async { Created::new("value").flags(7) };
        assert_eq!(cache.to_async().get_or_create("key", &how, made).await.unwrap(), b"value");
        assert_eq!(cache.get_item("key").unwrap().flags, 7);
        let unstored = || async { Created::new("value").stored(false) };
        assert_eq!(cache.to_async().get_or_refresh("other", &how, unstored).await.unwrap(), b"value");
        assert!(!cache.contains("other"));
    });
}

#[test]
fn a_dropped_future_lets_the_next_one_try() {
    on_one_thread(|cache| async move {
        let how = CreateOptions::new().wait(Wait::Forever);
        let tasks = cache.to_async();
        let never = tasks.get_or_create("key", &how, std::future::pending::<Result<Vec<u8>, Infallible>>);
        assert!(tokio::time::timeout(Duration::from_millis(100), never).await.is_err());
        assert!(!cache.is_claimed("key"));
        assert_eq!(cache.to_async().get_or_create("key", &how, || ok("value")).await.unwrap(), b"value");
    });
}

#[test]
fn locks_are_waited_for_without_a_thread() {
    on_one_thread(|cache| async move {
        let forever = LockOptions::new().wait(Wait::Forever);
        let lock = cache.to_async().lock_with("key", &forever).await.unwrap();
        let waiters: Vec<_> = (0..40)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.to_async().lock_with("key", &forever).await.unwrap().release() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let short = LockOptions::new().wait(Wait::For(Duration::from_millis(20)));
        assert!(matches!(cache.to_async().lock_with("key", &short).await, Err(Error::TimedOut { .. })));
        assert!(lock.release());
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
    });
}

#[test]
fn a_task_writes_as_a_thread_does() {
    on_one_thread(|cache| async move {
        let tasks = cache.to_async().namespace("n", &NamespaceOptions::new()).await.unwrap();
        let how = SetOptions::new().flags(5);
        tasks.set("key", "1").await.unwrap();
        assert_eq!((tasks.get("key"), cache.get("key")), (Some(b"1".to_vec()), None));
        assert!(!tasks.add("key", "2", &how).await.unwrap() && tasks.add("new", "2", &how).await.unwrap());
        assert!(tasks.replace("key", "3", &how).await.unwrap() && !tasks.replace("none", "3", &how).await.unwrap());
        assert_eq!((tasks.incr("key", 4).await.unwrap(), tasks.decr("key", 1).await.unwrap()), (Some(7), Some(6)));
        let item = tasks.get_item("key").unwrap();
        assert_eq!((item.flags, &item.value[..]), (5, &b"6"[..]));
        assert!(matches!(tasks.compare_and_swap("key", item.stamp, "7", &how).await.unwrap(), Swap::Stored(_)));
        assert_eq!(tasks.compare_and_swap("key", item.stamp, "8", &how).await.unwrap(), Swap::Changed);
        assert!(tasks.touch("key", Expiry::After(Duration::from_secs(60))).await.unwrap());
        assert!(tasks.get_item("key").unwrap().expires.is_some());
        assert!(tasks.delete("key").await.unwrap() && !tasks.contains("key"));
        assert!(tasks.set_multi(&[("x", "1"), ("y", "2")], &how).await.iter().all(Result::is_ok));
        assert_eq!(tasks.get_multi(&["x", "y", "z"]), [Some(b"1".to_vec()), Some(b"2".to_vec()), None]);
        let gone: Vec<_> = tasks.delete_multi(&["x", "z"]).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(gone, [true, false]);
        let lock = tasks.lock("y", Wait::No).await.unwrap();
        assert!(tasks.is_claimed("y") && !cache.is_claimed("y") && lock.release());
        cache.set("y", "stays").unwrap();
        tasks.invalidate(Invalidation::Soft).await.unwrap();
        assert!(tasks.get_item("y").unwrap().is_stale && !cache.get_item("y").unwrap().is_stale);
        tasks.clear().await.unwrap();
        assert!(!tasks.contains("y") && cache.contains("y"));
    });
}

#[test]
fn namespaces_have_tasks_too() {
    on_one_thread(|cache| async move {
        let namespace = cache.namespace("r", &NamespaceOptions::new().ttl(Duration::from_secs(60))).unwrap();
        let how = CreateOptions::new();
        assert_eq!(namespace.to_async().get_or_create("key", &how, || ok("value")).await.unwrap(), b"value");
        assert!(namespace.get_item("key").unwrap().expires.is_some() && !cache.contains("key"));
        let Lookup::Create(claim) = namespace.to_async().claim("other", &how).await.unwrap() else {
            panic!("it is missing")
        };
        assert!(namespace.is_claimed("other"));
        assert!(matches!(claim.store("value").unwrap(), Stored::Yes(_)));
        assert!(namespace.to_async().lock_with("key", &LockOptions::new()).await.unwrap().release());
        let none = || async { None::<Vec<u8>> };
        assert_eq!(namespace.to_async().get_or_create_optional("none", &how, none).await.unwrap(), None);
        assert_eq!(namespace.to_async().get_or_refresh("new", &how, || ok("new")).await.unwrap(), b"new");
        let two = |missing: Vec<&&str>| {
            assert_eq!(missing, [&"two"]);
            async { vec![Some(b"two".to_vec())] }
        };
        let found = namespace.to_async().get_or_create_multi(&["new", "two"], &how, two).await.unwrap();
        assert_eq!(found, [Some(b"new".to_vec()), Some(b"two".to_vec())]);
        assert!(namespace.contains("two") && !cache.contains("two"));
    });
}
