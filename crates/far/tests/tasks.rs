//! Calls of tasks of tokio: they hold no thread while they wait, and a future that is dropped leaves nothing half done.
#![cfg(unix)]

// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
// The test `schedules` uses all of it.
#[allow(dead_code)]
#[path = "common/played.rs"]
mod played;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::resp::Value;
use kennel_far::{AsyncFar, Create, CreateError, Error, Expiry, Fetched, Options, Reply, Result, Store};
use patience::until;
use played::{PlayedStore, Stage};
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

/// A gate before and after each call to the far tier, and a count of those that stand at it.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn shut(&self, shut: bool) {
        *self.is_shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut is_shut = self.is_shut.lock().unwrap();
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(waiting, Ordering::SeqCst);
        while *is_shut {
            is_shut = self.opened.wait(is_shut).unwrap();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

struct Gated(PlayedStore, Arc<Gate>);

impl Store for Gated {
    fn fetch(&self, keys: &[&[u8]]) -> Result<Fetched> {
        self.1.pass();
        self.0.fetch(keys)
    }

    fn call(&self, command: &[&[u8]]) -> Result<Reply> {
        let done = self.0.call(command);
        self.1.pass();
        done
    }

    fn renew(&self) {}
}

/// A far tier that is proved, and whose calls stop at a gate.
fn gated() -> (Stage, AsyncFar, Arc<Gate>) {
    let (stage, gate) = (Stage::new(), Arc::<Gate>::default());
    let (store, of_store) = (stage.store(), Arc::clone(&gate));
    // A busy machine must not take the proof away.
    let options = stage.options().fetch_wait(Duration::from_secs(20)).max_staleness(Duration::from_secs(20));
    let options = options.store(move || Ok(Box::new(Gated(store.clone(), Arc::clone(&of_store)))));
    let far = options.open(stage.near()).unwrap();
    stage.set_silently("k-first", "0");
    stage.until_trusted(&far);
    (stage, far.to_async(), gate)
}

fn current_thread() -> Runtime {
    counted(&mut Builder::new_current_thread()).0
}

/// A runtime, and how many threads it has beside that which runs it.
fn counted(builder: &mut Builder) -> (Runtime, Arc<AtomicUsize>) {
    let threads = Arc::<AtomicUsize>::default();
    let (begun, ended) = (Arc::clone(&threads), Arc::clone(&threads));
    builder.on_thread_start(move || {
        begun.fetch_add(1, Ordering::SeqCst);
    });
    builder.on_thread_stop(move || {
        ended.fetch_sub(1, Ordering::SeqCst);
    });
    (builder.enable_time().build().unwrap(), threads)
}

/// Lets other tasks run until something is so.
async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Polls a future until `is_so`, and drops it.
async fn dropped(what: &str, future: impl Future, is_so: impl Fn() -> bool) {
    tokio::select! {
        biased;
        _ = future => panic!("{what} was ready"),
        () = soon(what, is_so) => {}
    }
}

async fn get(far: &AsyncFar, key: &str) -> Option<String> {
    far.get(key).await.unwrap().map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn a_thousand_tasks_that_miss_a_key_fetch_once_and_hold_one_thread() {
    for (mut builder, most) in [(Builder::new_current_thread(), 1), (Builder::new_multi_thread(), 3)] {
        let (runtime, threads) = counted(builder.worker_threads(2));
        let (stage, far, gate) = gated();
        stage.set_silently("k", "v");
        let fetches = stage.fetches();
        gate.shut(true);
        runtime.block_on(async {
            let tasks: Vec<_> = (0..1000)
                .map(|_| far.clone())
                .map(|far| tokio::spawn(async move { far.get("k").await.unwrap() }))
                .collect();
            soon("the fetch", || gate.waiting() == 1).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!((gate.waiting(), tasks.iter().filter(|task| task.is_finished()).count()), (1, 0));
            assert!(threads.load(Ordering::SeqCst) <= most, "{threads:?} threads");
            gate.shut(false);
            for task in tasks {
                assert_eq!(task.await.unwrap().as_deref(), Some(&b"v"[..]));
            }
        });
        assert_eq!(stage.fetches() - fetches, 1, "{:?}", far.far().stats());
    }
}

#[test]
fn a_near_hit_needs_no_thread_and_calls_to_the_server_take_turns() {
    let (stage, far, gate) = gated();
    stage.set_silently("k", "v");
    let (runtime, threads) = counted(&mut Builder::new_current_thread());
    runtime.block_on(async {
        assert_eq!(get(&far, "k").await.as_deref(), Some("v"));
        gate.shut(true);
        let before = threads.load(Ordering::SeqCst);
        for _ in 0..100 {
            // The first poll is enough.
            let mut future = Box::pin(far.get("k"));
            let ready = std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await;
            assert!(matches!(ready, std::task::Poll::Ready(Ok(Some(_)))));
        }
        assert_eq!(threads.load(Ordering::SeqCst), before);
        let reads: Vec<_> =
            (0..200).map(|_| far.clone()).map(|far| tokio::spawn(async move { far.get_fresh("k").await })).collect();
        soon("32 calls", || gate.waiting() == 32).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(gate.most.load(Ordering::SeqCst), 32);
        gate.shut(false);
        for read in reads {
            assert!(read.await.unwrap().unwrap().is_some());
        }
    });
}

#[test]
fn a_write_whose_future_is_dropped_is_executed_and_deletes_near() {
    let (stage, far, gate) = gated();
    current_thread().block_on(async {
        for step in ["sent", "queued"] {
            stage.set("k", "old");
            soon("the push to be applied", || far.far().get("k").unwrap().as_deref() == Some(b"old")).await;
            assert_eq!(get(&far, "k").await.as_deref(), Some("old"));
            gate.shut(true);
            // With all turns taken, a write has not begun: then it does nothing at all.
            let others: Vec<_> = (0..if step == "queued" { 32 } else { 0 })
                .map(|_| far.clone())
                .map(|far| tokio::spawn(async move { far.get_fresh("k-first").await }))
                .collect();
            soon("the others", || gate.waiting() == others.len()).await;
            let at_gate = others.len() + usize::from(step == "sent");
            dropped(step, far.set("k", "new", Expiry::Never), || gate.waiting() == at_gate).await;
            yield_now().await;
            gate.shut(false);
            for other in others {
                other.await.unwrap().unwrap();
            }
            let expected = if step == "sent" { "new" } else { "old" };
            soon("the near value", || far.far().get("k").unwrap().as_deref() == Some(expected.as_bytes())).await;
        }
    });
}

#[test]
fn a_read_whose_future_is_dropped_stores_what_it_fetched_or_leaves_the_key_to_others() {
    let (stage, far, gate) = gated();
    stage.set_silently("k", "v");
    stage.set_silently("k2", "w");
    current_thread().block_on(async {
        // While it fetches: the value arrives all the same.
        gate.shut(true);
        dropped("a fetch", far.get("k"), || gate.waiting() == 1).await;
        let fetches = stage.fetches();
        // While it waits for another's fetch: that one goes on.
        dropped("a wait", far.get("k"), || far.far().stats().hits > 0).await;
        dropped("a batch", far.get_multi(&["k", "k2"]), || gate.waiting() == 2).await;
        gate.shut(false);
        assert_eq!(get(&far, "k").await.as_deref(), Some("v"));
        assert_eq!(get(&far, "k2").await.as_deref(), Some("w"));
        assert_eq!(stage.fetches() - fetches, 2, "one for each of the dropped calls that fetched");
    });
}

#[test]
fn a_runtime_that_ends_leaves_no_claim_behind() {
    let (stage, far, gate) = gated();
    stage.set_silently("k", "v");
    let runtime = current_thread();
    gate.shut(true);
    let of_task = far.clone();
    runtime.spawn(async move { of_task.get("k").await });
    runtime.block_on(soon("the fetch", || gate.waiting() == 1));
    runtime.shutdown_background();
    gate.shut(false);
    assert_eq!(far.far().get("k").unwrap().as_deref(), Some(&b"v"[..]));
    let mut future = Box::pin(far.get("k"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_ready(), "a hit needs no runtime at all");
}

#[test]
fn batches_share_fetches_and_errors_and_panics_reach_their_callers() {
    let (stage, far, gate) = gated();
    for (key, value) in [("k1", "1"), ("k2", "2"), ("k3", "3"), ("kl", "no string")] {
        stage.set_silently(key, value);
    }
    current_thread().block_on(async {
        gate.shut(true);
        let other = tokio::spawn({
            let far = far.clone();
            async move { far.get("k2").await }
        });
        soon("the fetch of another task", || gate.waiting() == 1).await;
        let fetches = stage.fetches();
        let batch = tokio::spawn({
            let far = far.clone();
            async move { far.get_multi(&["k1", "k2", "kn", "k1", "o", "k3"]).await }
        });
        soon("the batch's fetch", || gate.waiting() == 2).await;
        gate.shut(false);
        let values = batch.await.unwrap().unwrap();
        let texts: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
        let of = |text: &'static str| Some(text.as_bytes());
        assert_eq!(texts, [of("1"), of("2"), None, of("1"), None, of("3")]);
        assert_eq!(other.await.unwrap().unwrap().as_deref(), of("2"));
        assert_eq!(stage.fetches() - fetches, 3, "the other's, one for the free claims, one for what is outside");
        assert!(matches!(far.get("kl").await, Err(Error::Server(_))));
        assert!(matches!(far.get_multi(&["k1", "kl"]).await, Err(Error::Server(_))));
        let panicking = tokio::spawn({
            let far = far.clone();
            async move { far.call(&["BOOM"], &["k1"]).await }
        });
        assert!(panicking.await.unwrap_err().is_panic());
        stage.fail_calls(true);
        assert!(matches!(far.set("k1", "x", Expiry::Never).await, Err(Error::Connection(_))));
        stage.fail_calls(false);
        assert_eq!(get(&far, "k1").await.as_deref(), Some("x"), "the near value is gone after an error, too");
    });
}

/// A far tier in front of a real server.
fn real(test: &str) -> Option<(server::Server, tempfile::TempDir, AsyncFar)> {
    let Some(program) = server::program() else {
        println!("{test}: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return None;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = server::Server::start(&program, folder.path());
    let options = Options::new(server.url()).prefix("app:").max_staleness(Duration::from_millis(500));
    let far = options.near(kennel::Options::new().capacity(1 << 20)).open(folder.path().join("near")).unwrap();
    until("the near tier to be proved", || {
        let hits = far.stats().absent_hits;
        far.get("app:nothing").unwrap();
        far.stats().absent_hits > hits
    });
    Some((server, folder, far.to_async()))
}

#[test]
fn every_call_of_a_task_does_what_its_command_does() {
    let Some((server, _folder, far)) = real("every_call_of_a_task_does_what_its_command_does") else { return };
    current_thread().block_on(async {
        far.set("app:a", "1", Expiry::After(Duration::from_secs(60))).await.unwrap();
        assert!(matches!(server.ask(&["PTTL", "app:a"]), Value::Int(1..=60_000)));
        assert_eq!((far.incr("app:a", 41).await.unwrap(), get(&far, "app:a").await), (42, Some("42".into())));
        assert_eq!((far.delete("app:a").await.unwrap(), far.delete("app:a").await.unwrap()), (true, false));
        assert_eq!(far.call(&["APPEND", "app:a", "xy"], &["app:a"]).await.unwrap(), Value::Int(2));
        assert_eq!(far.get_fresh("app:a").await.unwrap().as_deref(), Some(&b"xy"[..]));
        assert_eq!(far.get_multi(&["app:a", "app:b"]).await.unwrap(), [Some(b"xy".to_vec()), None]);
        assert!(matches!(far.call(&["NOSUCH"], &[] as &[&str]).await, Err(Error::Server(_))));
    });
}

#[test]
fn one_creator_of_many_tasks_and_a_dropped_one_gives_its_lease_back() {
    let Some((server, _folder, far)) = real("one_creator_of_many_tasks") else { return };
    let how = Create::new().expiry(Expiry::After(Duration::from_secs(60)));
    let lease = |key: &str| server.ask(&["EXISTS", &format!("kennel-far:lease:{key}")]) == Value::Int(1);
    current_thread().block_on(async {
        let created = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|_| (far.clone(), Arc::clone(&created)))
            .map(|(far, created)| {
                let create = async move || {
                    created.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok::<_, String>(b"made".to_vec())
                };
                tokio::spawn(async move { far.get_or_create("app:report", &how, create).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), b"made");
        }
        assert_eq!((created.load(Ordering::SeqCst), lease("app:report")), (1, false));
        assert!(matches!(server.ask(&["PTTL", "app:report"]), Value::Int(1..=60_000)));

        let failed = far.get_or_create("app:none", &how, async || Err::<Vec<u8>, _>("no rows")).await;
        assert!(matches!(failed, Err(CreateError::Creator("no rows"))));
        soon("the lease of a creator that failed", || !lease("app:none")).await;

        let began = AtomicBool::new(false);
        let never = far.get_or_create("app:never", &how, async || {
            began.store(true, Ordering::SeqCst);
            pending::<std::result::Result<Vec<u8>, String>>().await
        });
        dropped("a creation", never, || began.load(Ordering::SeqCst)).await;
        soon("the lease of a creator that was dropped", || !lease("app:never")).await;
        let next = far.get_or_create("app:never", &how, async || Ok::<_, String>(b"next".to_vec())).await;
        assert_eq!(next.unwrap(), b"next");

        // A creator that reads its own key asks the server in place of waiting for itself.
        let own = far.get_or_create("app:own", &how, async || {
            let found = far.get("app:own").await.map_err(|error| error.to_string())?;
            Ok::<_, String>(format!("{found:?}").into_bytes())
        });
        let own = tokio::time::timeout(Duration::from_millis(150), own).await.expect("no wait for itself");
        assert_eq!(own.unwrap(), b"None");

        let short = Create::new().lease(Duration::from_millis(20));
        let slow = far.get_or_create("app:slow", &short, async || {
            tokio::time::sleep(Duration::from_millis(60)).await;
            server.ask(&["SET", "app:slow", "newer"]);
            Ok::<_, String>(b"older".to_vec())
        });
        assert_eq!((slow.await.unwrap(), get(&far, "app:slow").await), (b"older".to_vec(), Some("newer".into())));
        assert_eq!(far.far().stats().lost_leases, 1);
    });
}

#[test]
fn a_creator_that_creates_its_own_key_fails_in_place_of_waiting_for_itself() {
    let Some((_server, _folder, far)) = real("a_creator_that_creates_its_own_key") else { return };
    let how = Create::new();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        for key in ["app:own", "other:own"] {
            let own = far.get_or_create(key, &how, async || {
                let inner = far.get_or_create(key, &how, async || Ok::<_, String>(Vec::new())).await;
                let is_own = matches!(inner, Err(CreateError::Far(Error::Near(kennel::Error::OwnClaim))));
                assert!(is_own, "{key}: {inner:?}");
                Ok::<_, String>(b"outer".to_vec())
            });
            let own = tokio::time::timeout(Duration::from_secs(10), own).await.expect("no wait for itself");
            assert_eq!(own.unwrap(), b"outer");
        }
    });
}

#[test]
fn a_caller_waits_for_the_creator_of_another_host_without_a_thread_and_not_for_ever() {
    let Some((server, _folder, far)) = real("a_caller_waits_for_the_creator_of_another_host") else { return };
    server.ask(&["SET", "kennel-far:lease:app:k", "of another host"]);
    let (runtime, threads) = counted(&mut Builder::new_current_thread());
    runtime.block_on(async {
        let tasks: Vec<_> = (0..50)
            .map(|_| far.clone())
            .map(|far| {
                let how = Create::new().wait(Duration::from_secs(20));
                tokio::spawn(async move { far.get_or_create("app:k", &how, async || Err("nobody creates")).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        // One of the host asks the server now and then; the others wait for its claim.
        assert!(threads.load(Ordering::SeqCst) <= 2 && tasks.iter().all(|task| !task.is_finished()));
        server.ask(&["SET", "app:k", "created there"]);
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), b"created there");
        }
        server.ask(&["DEL", "app:k"]);
        soon("the end of the near value", || far.far().get("app:k").unwrap().is_none()).await;
        let how = Create::new().wait(Duration::from_millis(30));
        let late = far.get_or_create("app:k", &how, async || Ok::<_, String>(b"here".to_vec())).await;
        assert_eq!((late.unwrap(), get(&far, "app:k").await), (b"here".to_vec(), None), "returned, and not stored");
    });
}

/// The futures can be spawned.
#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: &T) {}
    let stage = Stage::new();
    let far = stage.options().open(stage.near()).unwrap().to_async();
    is_send(&far.get("k"));
    is_send(&far.get_multi(&["k"]));
    is_send(&far.set("k", "v", Expiry::Never));
    is_send(&far.get_or_create("k", &Create::new(), async || Ok::<_, String>(Vec::new())));
}
