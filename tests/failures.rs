//! Creators that fail: who gets the error, who gets a stale value, and how long nobody tries again.

mod common;

use common::children::{self, arg, say};
use common::{Place, TestClock, assert_sound};
use kennel::{Cache, CreateError, CreateOptions, Error, Expiry, Invalidation, Lookup, Options, SetOptions, Wait};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(1).mean_item(64).seats(16)
}

fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    (place, cache)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Options with which a created value is stale immediately.
fn stale() -> CreateOptions {
    CreateOptions::new().soft_expiry(Expiry::After(Duration::ZERO)).wait(Wait::Forever)
}

type Failed = Result<Vec<u8>, &'static str>;

fn fails() -> Failed {
    Err("down")
}

fn never() -> Failed {
    panic!("nobody may create")
}

/// A key with a stale value.
fn make_stale(cache: &Cache, key: &str) {
    cache.set_with(key, "old", &SetOptions::new().soft_expiry(Expiry::After(Duration::ZERO))).unwrap();
}

fn rests(cache: &Cache, key: &str) -> bool {
    match cache.claim(key, &CreateOptions::new().wait(Wait::No)) {
        Err(Error::Resting { left }) => !left.is_zero(),
        Ok(Lookup::Create(_)) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn child() {
    children::serve(|task, args| {
        let cache = Options::new().open(args[0]).unwrap();
        match task {
            // Claims many keys and dies with them.
            "claim all" => {
                let keys: u32 = args[1].parse().unwrap();
                let claims: Vec<_> = (0..keys)
                    .filter_map(|i| match cache.claim(format!("key {i}"), &stale()).unwrap() {
                        Lookup::Create(claim) => Some(claim),
                        _ => None,
                    })
                    .collect();
                say(format!("claimed {}", claims.len()));
                children::wait_for_word();
            }
            // Asks for a key whose creator always fails, again and again.
            "insist" => {
                let how = CreateOptions::new().rest(ms(200), ms(800));
                let (start, mut runs, mut calls) = (Instant::now(), 0, 0);
                while start.elapsed() < ms(2_000) {
                    let got = cache.get_or_create("key", &how, || {
                        runs += 1;
                        thread::sleep(ms(5));
                        fails()
                    });
                    assert!(matches!(
                        got,
                        Err(CreateError::Creator("down") | CreateError::Cache(Error::Resting { .. }))
                    ));
                    calls += 1;
                    thread::sleep(ms(1));
                }
                say(format!("{runs} {calls}"));
            }
            "is it at rest" => say(if rests(&cache, "key") { "yes" } else { "no" }),
            "create and wait" => {
                let _ = cache.get_or_create("key", &CreateOptions::new(), || {
                    say("creating");
                    children::wait_for_word();
                    fails()
                });
            }
            _ => panic!("no task {task}"),
        }
    });
}

#[test]
fn a_stale_value_takes_the_place_of_an_error() {
    let (_place, cache) = cache();
    make_stale(&cache, "key");
    assert!(matches!(cache.get_or_create("key", &stale(), fails), Err(CreateError::Creator("down"))));
    let how = stale().stale_if_error(true);
    let before = cache.stats().counters;
    assert_eq!(cache.get_or_create("key", &how, fails).unwrap(), b"old");
    assert_eq!(
        cache.get_or_create_optional("key", &how, || Err::<Option<Vec<u8>>, _>("down")).unwrap().unwrap(),
        b"old"
    );
    let after = cache.stats().counters;
    assert_eq!((after.stale_on_error - before.stale_on_error, after.failed - before.failed), (2, 2));
    // Without a stale value the error is an error.
    assert!(matches!(cache.get_or_create("other", &how, fails), Err(CreateError::Creator("down"))));
    // The next call tries again, since no rest was asked for.
    assert_eq!(cache.get_or_create("key", &how, || "new").unwrap(), b"new");
    assert_sound(&cache);
}

/// The stale value is looked up again at the moment of the failure.
#[test]
fn what_was_ended_while_the_creator_ran_is_not_returned_after_its_failure() {
    let clock = TestClock::at(1_700_000_000_000);
    let place = Place::new();
    let cache = options().clock(clock.clone()).create(place.path()).unwrap();
    let ends: [(&str, &dyn Fn()); 5] = [
        ("deleted", &|| assert!(cache.delete("key").unwrap())),
        ("cleared", &|| cache.clear().unwrap()),
        ("replaced", &|| cache.set("key", "new").unwrap()),
        ("expired", &|| clock.set(clock.ms() + 10_000)),
        ("absent", &|| {
            let absent = CreateOptions::new().absence_expiry(Expiry::After(ms(60_000))).task(kennel::Task::unique());
            cache.delete("key").unwrap();
            let none = || None::<Vec<u8>>;
            assert_eq!(cache.get_or_create_optional("key", &absent, none).unwrap(), None);
        }),
    ];
    let how = stale().stale_if_error(true);
    for (name, end) in ends {
        let both = SetOptions::new().soft_expiry(Expiry::After(Duration::ZERO)).expiry(Expiry::After(ms(10_000)));
        cache.set_with("key", "old", &both).unwrap();
        let got = cache.get_or_create("key", &how, || {
            end();
            fails()
        });
        assert!(matches!(got, Err(CreateError::Creator("down"))), "{name}: {got:?}");
        cache.delete("key").unwrap();
    }
    // A soft invalidation leaves the value stale, and so it is used.
    make_stale(&cache, "key");
    let got = cache.get_or_create("key", &how, || {
        cache.invalidate(Invalidation::Soft).unwrap();
        fails()
    });
    assert_eq!(got.unwrap(), b"old");
}

#[test]
fn nobody_tries_while_a_key_rests_and_each_failure_makes_the_rest_longer() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().rest(ms(400), ms(60_000));
    let run = AtomicU32::new(0);
    let failing = || {
        run.fetch_add(1, Ordering::SeqCst);
        fails()
    };
    assert!(matches!(cache.get_or_create("key", &how, failing), Err(CreateError::Creator("down"))));
    let Err(CreateError::Cache(Error::Resting { left })) = cache.get_or_create("key", &how, never) else {
        panic!("it rests")
    };
    assert!(left <= ms(400), "{left:?}");
    // Other callers, and other processes, respect it; other keys are not concerned.
    assert!(matches!(
        cache.get_or_create("key", &CreateOptions::new(), never),
        Err(CreateError::Cache(Error::Resting { .. }))
    ));
    let mut other = children::start("is it at rest", &[arg(cache.path())]);
    other.expect("yes");
    assert_eq!(cache.get_or_create("other", &how, || "value").unwrap(), b"value");
    thread::sleep(ms(410));
    assert!(matches!(cache.get_or_create("key", &how, failing), Err(CreateError::Creator("down"))));
    let Err(CreateError::Cache(Error::Resting { left })) = cache.get_or_create("key", &how, never) else {
        panic!("it rests")
    };
    assert!(left > ms(500) && left <= ms(800), "{left:?}");
    // A stale value is used meanwhile, without a lock and without a try.
    assert_eq!(run.load(Ordering::SeqCst), 2);
    assert!(cache.stats().counters.rested >= 3);
    assert_sound(&cache);
}

#[test]
fn a_stale_value_is_used_while_its_key_rests() {
    let (_place, cache) = cache();
    make_stale(&cache, "key");
    let how = stale().stale_if_error(true).rest(ms(60_000), ms(60_000));
    assert_eq!(cache.get_or_create("key", &how, fails).unwrap(), b"old");
    let before = cache.stats().counters;
    for _ in 0..10 {
        assert_eq!(cache.get_or_create("key", &how, never).unwrap(), b"old");
        assert!(matches!(cache.claim("key", &stale()).unwrap(), Lookup::Stale(item) if item.value == b"old"));
    }
    let after = cache.stats().counters;
    assert_eq!((after.rested - before.rested, after.creations - before.creations, after.claim_waits), (20, 0, 0));
}

#[test]
fn a_write_a_deletion_or_an_invalidation_ends_a_rest() {
    let (_place, cache) = cache();
    let namespace = cache.namespace("n", &kennel::NamespaceOptions::new()).unwrap();
    let how = CreateOptions::new().rest(ms(60_000), ms(60_000));
    let fail = |cache: &Cache| {
        let _ = cache.get_or_create("key", &how, fails).unwrap_err();
        assert!(rests(cache, "key"));
    };
    fail(&cache);
    assert!(!cache.delete("key").unwrap());
    assert!(!rests(&cache, "key"), "a deletion of what is absent counts");
    fail(&cache);
    cache.set("key", "value").unwrap();
    assert_eq!(cache.get_or_create("key", &how, never).unwrap(), b"value");
    cache.delete("key").unwrap();
    for how in [Invalidation::Hard, Invalidation::Soft] {
        fail(&cache);
        cache.invalidate(how).unwrap();
        assert!(!rests(&cache, "key"));
        fail(&cache);
        fail(&namespace);
        namespace.invalidate(how).unwrap();
        assert!(rests(&cache, "key") && !rests(&namespace, "key"), "an invalidation of a namespace ends its own alone");
        cache.delete("key").unwrap();
    }
    assert_sound(&cache);
}

/// A stripe has 64 claims. Keys that rest take none away from keys that are created.
#[test]
fn many_keys_that_rest_leave_room_for_creations() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().rest(ms(60_000), ms(60_000)).wait(Wait::No);
    for i in 0..64 {
        let _ = cache.get_or_create(format!("key {i}"), &how, fails).unwrap_err();
    }
    assert!((0..64).all(|i| rests(&cache, &format!("key {i}"))), "all of them rest at the same time");
    let claims: Vec<_> = (0..64)
        .map(|i| match cache.claim(format!("other {i}"), &how).unwrap() {
            Lookup::Create(claim) if claim.is_protected() => claim,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(cache.stats().counters.unprotected, 0);
    assert_sound(&cache);
    drop(claims);
    // Twice as many failures as there are places: the newest rest.
    for i in 0..128 {
        let _ = cache.get_or_create(format!("third {i}"), &how, fails).unwrap_err();
    }
    assert!((64..128).all(|i| rests(&cache, &format!("third {i}"))));
    assert_sound(&cache);
}

#[test]
fn one_failing_creator_runs_a_few_times_in_many_processes() {
    let (_place, cache) = cache();
    let mut crew: Vec<_> = (0..4).map(|_| children::start("insist", &[arg(cache.path())])).collect();
    let said: Vec<Vec<u32>> = crew
        .iter_mut()
        .map(|one| one.hear().unwrap().split(' ').map(|number| number.parse().unwrap()).collect())
        .collect();
    let (runs, calls) = (said.iter().map(|one| one[0]).sum::<u32>(), said.iter().map(|one| one[1]).sum::<u32>());
    // Rests of 0.2, 0.4, 0.8 and 0.8 seconds, each up to a quarter shorter. The processes do not begin together.
    assert!((2..=9).contains(&runs), "{runs} runs in {calls} calls");
    let counters = cache.stats().counters;
    assert_eq!(counters.failed, u64::from(runs));
    assert!(calls > 40 && counters.rested >= u64::from(calls) / 2, "{counters:?}");
    assert_sound(&cache);
}

/// The waiters of one creation that fails.
fn waiters(how: &CreateOptions, create: impl Fn() -> Failed + Sync) -> Vec<Result<Vec<u8>, CreateError<&'static str>>> {
    let (_place, cache) = cache();
    let (all, runs) = (Barrier::new(9), AtomicU32::new(0));
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    all.wait();
                    cache.get_or_create("key", how, || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        fails()
                    })
                })
            })
            .collect();
        let first = cache.get_or_create("key", how, || {
            all.wait();
            let start = Instant::now();
            while cache.stats().counters.claim_waits < 8 && start.elapsed() < Duration::from_secs(20) {
                thread::sleep(ms(1));
            }
            create()
        });
        assert!(matches!(first, Err(CreateError::Creator("down"))));
        waiting.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn who_waited_for_a_creation_that_failed_shares_the_failure_if_it_wants() {
    let shared = waiters(&CreateOptions::new().share_failure(true), fails);
    let elsewhere = |got: &&Result<_, _>| matches!(got, Err(CreateError::Cache(Error::FailedElsewhere)));
    assert_eq!(shared.iter().filter(elsewhere).count(), 8, "{shared:?}");
    let alone = waiters(&CreateOptions::new(), fails);
    assert!(alone.iter().all(|got| matches!(got, Err(CreateError::Creator("down")))), "{alone:?}");
    // With a rest, too, the failure is what they waited for.
    let both = waiters(&CreateOptions::new().share_failure(true).rest(ms(60_000), ms(60_000)), fails);
    assert_eq!(both.iter().filter(elsewhere).count(), 8, "{both:?}");
    let resting = waiters(&CreateOptions::new().rest(ms(60_000), ms(60_000)), fails);
    assert!(resting.iter().all(|got| matches!(got, Err(CreateError::Cache(Error::Resting { .. })))), "{resting:?}");
}

#[test]
fn a_death_a_panic_or_a_cancelled_creation_is_shared_by_nobody_and_begins_no_rest() {
    let how = CreateOptions::new().resilient();
    // A panic.
    let (_place, cache) = cache();
    let panicked = thread::scope(|scope| {
        let first = scope.spawn(|| {
            cache.get_or_create("key", &how, || -> Vec<u8> {
                while cache.stats().counters.claim_waits < 1 {
                    thread::sleep(ms(1));
                }
                std::panic::resume_unwind(Box::new("a panic of the creator"))
            })
        });
        while !cache.is_claimed("key") {
            thread::yield_now();
        }
        assert_eq!(cache.get_or_create("key", &how, || "by the waiter").unwrap(), b"by the waiter");
        first.join().is_err()
    });
    assert!(panicked && cache.stats().counters.failed == 1);
    // A claim that is dropped.
    cache.delete("key").unwrap();
    let Lookup::Create(claim) = cache.claim("key", &how).unwrap() else { panic!("it is deleted") };
    drop(claim);
    assert!(!rests(&cache, "key"));
    // A death.
    let mut creator = children::start("create and wait", &[arg(cache.path())]);
    creator.expect("creating");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| cache.get_or_create("key", &how, || "after a death"));
        while cache.stats().counters.claim_waits < 2 {
            thread::sleep(ms(1));
        }
        creator.kill();
        assert_eq!(waiter.join().unwrap().unwrap(), b"after a death");
    });
    assert_sound(&cache);
}

#[test]
fn five_hundred_stale_keys_of_dead_creators_are_taken_over_within_a_second() {
    const KEYS: u32 = 500;
    let place = Place::new();
    let cache = options().stripes(16).capacity(4 << 20).create(place.path()).unwrap();
    for i in 0..KEYS {
        make_stale(&cache, &format!("key {i}"));
    }
    let mut creator = children::start("claim all", &[arg(cache.path()), &KEYS.to_string()]);
    creator.expect(&format!("claimed {KEYS}"));
    let taken = |cache: &Cache, i: u32| match cache.claim(format!("key {i}"), &stale()).unwrap() {
        Lookup::Create(claim) => claim.store("new").is_ok(),
        Lookup::Stale(_) => false,
        other => panic!("{other:?}"),
    };
    // Every owner has just been found alive.
    assert!((0..KEYS).all(|i| !taken(&cache, i)));
    creator.kill();
    let start = Instant::now();
    let mut left: Vec<u32> = (0..KEYS).collect();
    while !left.is_empty() {
        left.retain(|&i| !taken(&cache, i));
        assert!(start.elapsed() < Duration::from_secs(20), "{} keys are left", left.len());
    }
    println!("all taken over in {:?}", start.elapsed());
    // The machine may be busy; no key waits for the tests of others.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(cache.stats().counters.takeovers, KEYS.into());
    assert_sound(&cache);
}

#[test]
fn a_resilient_caller_rests_although_it_would_create_without_the_cache() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().resilient();
    let _ = cache.get_or_create("key", &how, fails).unwrap_err();
    let Err(CreateError::Cache(Error::Resting { left })) = cache.get_or_create("key", &how, never) else {
        panic!("a rest is no failure of the cache")
    };
    assert!(left <= ms(1_000));
    let reader = options().open_read_only(cache.path()).unwrap();
    assert!(matches!(reader.get_or_create("key", &how, never), Err(CreateError::Cache(Error::Resting { .. }))));
    assert_eq!(reader.get_or_create("other", &how, || "made without the cache").unwrap(), b"made without the cache");
    let longer = CreateOptions::new().rest(ms(60_000), ms(60_000)).resilient();
    let _ = cache.get_or_create("third", &longer, fails).unwrap_err();
    let Err(CreateError::Cache(Error::Resting { left })) = cache.get_or_create("third", &longer, never) else {
        panic!("it rests")
    };
    assert!(left > ms(40_000), "the times that were set stay: {left:?}");
}

/// A rest is written under the stripe's lock. Where that is held, the creation just fails.
#[test]
fn a_failure_beside_a_held_lock_does_not_wait() {
    let (_place, cache) = cache();
    let how = CreateOptions::new().rest(ms(60_000), ms(60_000));
    let Lookup::Create(claim) = cache.claim("key", &how).unwrap() else { panic!("the key is absent") };
    let start = Instant::now();
    cache.while_locked(0, || assert!(claim.fail().is_none())).unwrap();
    assert!(start.elapsed() < ms(2_000), "{:?}", start.elapsed());
    assert!(cache.stats().counters.failed == 1 && !rests(&cache, "key"));
}

#[test]
fn many_keys_are_all_stale_or_an_error() {
    let (_place, cache) = cache();
    let how = stale().stale_if_error(true).rest(ms(60_000), ms(60_000));
    make_stale(&cache, "a");
    make_stale(&cache, "b");
    let down = |_: &[&&str]| Err::<Vec<Option<Vec<u8>>>, _>("down");
    let got = cache.get_or_create_multi(&["b", "a", "b"], &how, down).unwrap();
    assert_eq!(got, vec![Some(b"old".to_vec()); 3]);
    assert!(matches!(cache.get_or_create_multi(&["a", "c"], &how, down), Err(CreateError::Creator("down"))));
    assert!(rests(&cache, "c"));
    assert_eq!(cache.stats().counters.stale_on_error, 2);
}

#[cfg(all(feature = "typed", feature = "tokio"))]
mod tasks {
    use super::*;

    #[test]
    fn typed_handles_and_tasks_do_the_same() {
        let (_place, cache) = cache();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let how = stale().stale_if_error(true).rest(ms(60_000), ms(60_000));
        let numbers = cache.typed::<u32>();
        let local = numbers.local(&kennel::LocalOptions::new());
        let (tasks, typed, near) = (cache.to_async(), numbers.to_async(), local.to_async());
        let old = SetOptions::new().soft_expiry(Expiry::After(Duration::ZERO));
        for i in 0..10 {
            numbers.set_with(format!("n{i}"), &7, &old).unwrap();
            make_stale(&cache, &format!("b{i}"));
        }
        let down = || Err::<u32, _>("down");
        assert_eq!(numbers.get_or_create("n0", &how, down).unwrap(), 7);
        assert_eq!(numbers.get_or_create_optional("n1", &how, || Err::<Option<u32>, _>("down")).unwrap(), Some(7));
        assert_eq!(*local.get_or_create("n2", &how, down).unwrap(), 7);
        runtime.block_on(async {
            assert_eq!(typed.get_or_create("n3", &how, async || Err::<u32, _>("down")).await.unwrap(), 7);
            let none = async || Err::<Option<u32>, _>("down");
            assert_eq!(typed.get_or_create_optional("n4", &how, none).await.unwrap(), Some(7));
            assert_eq!(*near.get_or_create("n5", &how, async || Err::<u32, _>("down")).await.unwrap(), 7);
            assert_eq!(tasks.get_or_create("b0", &how, async || fails()).await.unwrap(), b"old");
            let none = async || Err::<Option<Vec<u8>>, _>("down");
            assert_eq!(tasks.get_or_create_optional("b1", &how, none).await.unwrap().unwrap(), b"old");
            let many = async |_: Vec<&&str>| Err::<Vec<Option<Vec<u8>>>, _>("down");
            let got = tasks.get_or_create_multi(&["b2", "b3"], &how, many).await.unwrap();
            assert_eq!(got, vec![Some(b"old".to_vec()); 2]);
            // A task gets the error of a rest, and does not wait.
            assert!(matches!(
                tasks.get_or_create("x", &how, async || fails()).await,
                Err(CreateError::Creator("down"))
            ));
            let got = tasks.get_or_create("x", &how, async || never()).await;
            assert!(matches!(got, Err(CreateError::Cache(Error::Resting { .. }))));
        });
        let counters = cache.stats().counters;
        assert_eq!((counters.stale_on_error, counters.failed), (10, 11), "{counters:?}");
        assert!(
            ["n0", "n1", "n2", "n3", "n4", "n5", "b0", "b1", "b2", "b3"]
                .iter()
                .all(|key| { matches!(cache.claim(key, &stale()).unwrap(), Lookup::Stale(_)) }),
            "all of them rest"
        );
    }

    #[test]
    fn a_task_that_is_cancelled_has_not_failed() {
        let (_place, cache) = cache();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = cache.to_async();
        let how = CreateOptions::new().resilient();
        runtime.block_on(async {
            let pending = async || {
                std::future::pending::<()>().await;
                fails()
            };
            let creation = tasks.get_or_create("key", &how, pending);
            assert!(tokio::time::timeout(ms(20), creation).await.is_err());
            let made = tasks.get_or_create("key", &how, async || "value").await.unwrap();
            assert_eq!(made, b"value");
        });
    }
}
