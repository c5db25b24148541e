//! Claims across processes: one process holds a key, a dead one loses it, a stopped one keeps it, and no wait is in
//! vain.

mod common;

use common::children::{self, Process, arg, say};
use common::{Place, Random, assert_sound};
use kennel::{Cache, CreateOptions, Error, Lookup, Options, Wait};
use std::path::Path;
use std::time::{Duration, Instant};

/// Another process takes over the claim of a killed one within a second of its death, scheduling aside: this machine
/// may be busy with other tests.
const TAKEN_OVER: Duration = Duration::from_millis(1_000);
const SLACK: Duration = Duration::from_millis(2_500);

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(4).mean_item(64).seats(64)
}

fn cache() -> (Place, Cache) {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    (place, cache)
}

fn patient() -> CreateOptions {
    CreateOptions::new().wait(Wait::Forever)
}

#[test]
fn child() {
    children::serve(|task, args| {
        // Many processes want one stripe at the same time, and the lock is not fair.
        let cache = Options::new().lock_wait(children::PATIENCE).open(Path::new(args[0])).unwrap();
        match task {
            "create" => {
                // Reports that it creates, and continues when told to.
                let value = cache.get_or_create(args[1], &patient(), || {
                    say("creating");
                    children::wait_for_word();
                    b"of the child".to_vec()
                });
                say(String::from_utf8(value.unwrap()).unwrap());
            }
            "lock" => {
                let lock = cache.lock(args[1], Wait::Forever).unwrap();
                say("locked");
                children::wait_for_word();
                assert!(lock.release());
            }
            "fill" => {
                // All claims of the stripe, until this process ends.
                let locks: Vec<_> = (0..4).map(|n| cache.lock(format!("filler {n}"), Wait::No).unwrap()).collect();
                say("full");
                children::wait_for_word();
                drop(locks);
            }
            "herd" => herd(&cache, args[1].parse().unwrap()),
            "many" => many(&cache, args[1].parse().unwrap()),
            "multi" => multi(&cache, args[1].parse().unwrap()),
            "exclusive" => exclusive(&cache),
            _ => panic!("no task {task}"),
        }
    });
}

fn start(task: &str, cache: &Cache, detail: impl ToString) -> Process {
    children::start(task, &[arg(cache.path()), &detail.to_string()])
}

/// Eight threads miss one key at the same time. Reports how many of them created it.
fn herd(cache: &Cache, round: u32) {
    say("ready");
    children::wait_for_word();
    let created = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let create = || {
                    created.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(200));
                    b"the value".to_vec()
                };
                assert_eq!(cache.get_or_create(format!("herd {round}"), &patient(), create).unwrap(), b"the value");
            });
        }
    });
    say(created.into_inner());
}

#[test]
fn four_processes_of_eight_threads_miss_one_key_and_one_creates_it() {
    let (_place, cache) = cache();
    let mut children: Vec<_> = (0..4).map(|_| start("herd", &cache, 0)).collect();
    children.iter_mut().for_each(|child| child.expect("ready"));
    children.iter_mut().for_each(|child| child.tell("go"));
    let created: u32 = children.iter_mut().map(|child| child.hear().unwrap().parse::<u32>().unwrap()).sum();
    children.into_iter().for_each(Process::finish);
    assert_eq!(created, 1);
    let counters = cache.stats().counters;
    assert_eq!((counters.creations, counters.unprotected, counters.takeovers), (1, 0, 0));
    assert_sound(&cache);
}

const KEYS: u64 = 1_000;

/// Fifty threads go through all keys, each in another order. Reports the number of creations.
fn many(cache: &Cache, process: u64) {
    // Under Wine one server answers every call of all threads.
    const THREADS: u64 = if cfg!(windows) { 8 } else { 50 };
    say("ready");
    children::wait_for_word();
    let created = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (created, cache) = (&created, &cache);
            scope.spawn(move || {
                let mut order: Vec<u64> = (0..KEYS).collect();
                let mut random = Random(process * 1_000 + thread);
                (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i as u64 + 1) as usize));
                for n in order {
                    children::go_on();
                    let create = || {
                        created.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        n.to_le_bytes().to_vec()
                    };
                    let value = cache.get_or_create(format!("key {n}"), &patient(), create).unwrap();
                    assert_eq!(value, n.to_le_bytes());
                }
            });
        }
    });
    say(created.into_inner());
}

#[test]
fn four_processes_of_fifty_threads_create_a_thousand_keys_a_thousand_times() {
    let (_place, cache) = cache();
    let mut children: Vec<_> = (0..4).map(|process| start("many", &cache, process)).collect();
    children.iter_mut().for_each(|child| child.expect("ready"));
    children.iter_mut().for_each(|child| child.tell("go"));
    let created: u32 = children.iter_mut().map(|child| child.hear().unwrap().parse::<u32>().unwrap()).sum();
    children.into_iter().for_each(Process::finish);
    assert_eq!(u64::from(created), KEYS);
    let counters = cache.stats().counters;
    assert_eq!((counters.creations, counters.unprotected, counters.takeovers), (KEYS, 0, 0));
    assert_sound(&cache);
}

/// Rounds of creating several keys in one call, which overlap with those of other processes; each key is then deleted
/// again.
fn multi(cache: &Cache, process: u64) {
    let mut random = Random(process);
    for round in 0..1_000 {
        children::go_on();
        let keys: Vec<String> = (0..6).map(|_| format!("key {}", random.below(12))).collect();
        let values = cache.get_or_create_multi(&keys, &patient(), |missing| {
            // No other caller creates one of these.
            missing.iter().map(|key| Some(key.as_bytes().to_vec())).collect::<Vec<_>>()
        });
        for (key, value) in keys.iter().zip(values.unwrap()) {
            assert_eq!(value.as_deref(), Some(key.as_bytes()), "round {round}");
        }
        cache.delete(random.pick(&keys.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    }
    say("through");
}

#[test]
fn four_processes_that_create_overlapping_keys_at_once_do_not_wait_in_a_circle() {
    let (_place, cache) = cache();
    let mut children: Vec<_> = (0..4).map(|process| start("multi", &cache, process)).collect();
    children.iter_mut().for_each(|child| child.expect("through"));
    children.into_iter().for_each(Process::finish);
    assert!((0..12).all(|n| !cache.is_claimed(format!("key {n}"))));
    assert_sound(&cache);
}

/// Adds to a number that only the lock of a key protects.
fn exclusive(cache: &Cache) {
    for _ in 0..250 {
        children::go_on();
        let _lock = cache.lock("number", Wait::Forever).unwrap();
        let number: u64 = String::from_utf8(cache.get("unprotected").unwrap()).unwrap().parse().unwrap();
        cache.set("unprotected", (number + 1).to_string()).unwrap();
    }
    say("done");
}

#[test]
fn a_locked_key_keeps_all_others_out() {
    let (_place, cache) = cache();
    cache.set("unprotected", "0").unwrap();
    let mut children: Vec<_> = (0..4).map(|_| start("exclusive", &cache, "")).collect();
    children.iter_mut().for_each(|child| child.expect("done"));
    children.into_iter().for_each(Process::finish);
    assert_eq!(cache.get("unprotected").as_deref(), Some(&b"1000"[..]));
}

#[test]
fn a_killed_creators_waiters_go_on_within_a_second() {
    let (_place, cache) = cache();
    for n in 0..3 {
        let mut creator = start("create", &cache, "key");
        creator.expect("creating");
        let died = std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let create = || b"taken over".to_vec();
                        assert_eq!(cache.get_or_create("key", &patient(), create).unwrap(), b"taken over");
                        Instant::now()
                    })
                })
                .collect();
            while cache.stats().counters.claim_waits < (n + 1) * 4 {
                std::thread::sleep(Duration::from_millis(5));
            }
            // At different times within the second between two checks of the owner.
            std::thread::sleep(Duration::from_millis(n * 350));
            creator.kill();
            let died = Instant::now();
            waiters.into_iter().map(|waiter| waiter.join().unwrap() - died).max().unwrap()
        });
        assert!(died < TAKEN_OVER + SLACK, "the last waiter went on after {died:?}");
        assert_eq!(cache.stats().counters.takeovers, n + 1, "one takes over, the others find its value");
        assert!(cache.delete("key").unwrap());
    }
    assert_sound(&cache);
}

#[test]
fn a_killed_owners_lock_goes_to_the_next() {
    let (_place, cache) = cache();
    let mut owner = start("lock", &cache, "key");
    owner.expect("locked");
    assert!(cache.is_claimed("key") && cache.try_lock("key").unwrap().is_none());
    owner.kill();
    let start = Instant::now();
    let lock = cache.lock("key", Wait::Forever).unwrap();
    assert!(start.elapsed() < TAKEN_OVER + SLACK && lock.is_protected());
    // Attempts without waiting find it out, too; they check at most once a second.
    drop(lock);
    let mut owner = self::start("lock", &cache, "key");
    owner.expect("locked");
    owner.kill();
    let start = Instant::now();
    let mut tries = 0;
    let lock = loop {
        tries += 1;
        match cache.try_lock("key").unwrap() {
            Some(lock) => break lock,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
        assert!(start.elapsed() < TAKEN_OVER + SLACK, "after {tries} tries");
    };
    assert!(lock.release());
}

#[cfg(unix)]
#[test]
fn a_stopped_owner_is_not_dead() {
    use kennel::CreateError;
    use rustix::process::Signal;
    use std::convert::Infallible;
    let (_place, cache) = cache();
    let mut creator = start("create", &cache, "key");
    creator.expect("creating");
    creator.signal(Signal::STOP);
    let short = CreateOptions::new().wait(Wait::For(Duration::from_millis(1_500)));
    let never = || -> Result<Vec<u8>, Infallible> { panic!("the owner lives") };
    let start = Instant::now();
    let error = cache.get_or_create("key", &short, never).unwrap_err();
    assert!(matches!(error, CreateError::Cache(Error::TimedOut { .. })));
    assert!(start.elapsed() >= Duration::from_millis(1_500), "longer than two tests of the owner are apart");
    let at_once = CreateOptions::new().wait(Wait::No);
    assert!(matches!(cache.claim("key", &at_once), Err(Error::TimedOut { .. })));
    let all_the_same = at_once.unprotected(true);
    let value = cache.get_or_create("key", &all_the_same, || b"all the same".to_vec()).unwrap();
    assert_eq!(value, b"all the same");
    assert_eq!(cache.stats().counters.takeovers, 0);
    creator.signal(Signal::CONT);
    creator.tell("go on");
    creator.expect("of the child");
    creator.finish();
    assert_eq!(cache.get("key").as_deref(), Some(&b"all the same"[..]), "its claim was void");
}

#[test]
fn when_all_claims_are_held_creators_go_on_and_locks_wait() {
    let place = Place::new();
    let cache = options().stripes(1).claims(4).create(place.path()).unwrap();
    let mut filler = start("fill", &cache, "");
    filler.expect("full");
    let value = cache.get_or_create("key", &patient(), || b"value".to_vec()).unwrap();
    assert_eq!((&value[..], cache.stats().counters.unprotected), (&b"value"[..], 1));
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    let short = Wait::For(Duration::from_millis(100));
    assert!(matches!(cache.lock("lock", short), Err(Error::TimedOut { .. })));
    assert!(cache.try_lock("lock").unwrap().is_none());
    let lock = cache.lock_with("lock", &kennel::LockOptions::new().unprotected_when_full(true)).unwrap();
    assert!(!lock.is_protected() && !lock.release());
    // A waiting lock takes a place that becomes free.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| cache.lock("lock", Wait::Forever).unwrap().release());
        std::thread::sleep(Duration::from_millis(50));
        filler.tell("go");
        assert!(waiter.join().unwrap());
    });
    filler.finish();
    // It also takes the place of a dead process.
    let mut filler = start("fill", &cache, "");
    filler.expect("full");
    filler.kill();
    let start = Instant::now();
    let Lookup::Create(claim) = cache.claim("other", &patient()).unwrap() else { panic!("it is missing") };
    assert!(claim.is_protected() && start.elapsed() < SLACK, "the dead are swept at the first look");
    assert_eq!(cache.stats().counters.takeovers, 4);
    assert_sound(&cache);
}

#[test]
fn a_lock_is_given_back_by_another_thread_and_passed_over_by_writes() {
    let (_place, cache) = cache();
    let lock = cache.lock("key", Wait::No).unwrap();
    assert!(matches!(cache.lock("key", Wait::Forever), Err(Error::OwnClaim)));
    cache.set("key", "value").unwrap();
    cache.clear().unwrap();
    cache.delete("key").unwrap();
    assert!(lock.is_protected(), "nothing voids a lock");
    assert!(std::thread::spawn(move || lock.release()).join().unwrap());
    assert!(!cache.is_claimed("key"));
}

#[test]
fn a_lock_grows_too_old_only_if_it_was_asked_for() {
    let (_place, cache) = cache();
    let old = cache.lock_with("key", &kennel::LockOptions::new().max_age(Duration::from_millis(200))).unwrap();
    let new = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let start = Instant::now();
                let lock = loop {
                    if let Some(lock) = cache.try_lock("key").unwrap() {
                        break lock;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                };
                assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
                lock
            })
            .join()
            .unwrap()
    });
    assert!(!old.is_protected() && !old.release());
    assert!(new.is_protected() && new.release());
}

#[test]
fn a_lock_and_a_creation_of_one_key_wait_for_each_other() {
    let (_place, cache) = cache();
    let lock = cache.lock("key", Wait::No).unwrap();
    std::thread::scope(|scope| {
        let creator = scope.spawn(|| {
            let create = || b"value".to_vec();
            cache.get_or_create("key", &patient(), create).unwrap()
        });
        while cache.stats().counters.claim_waits == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(cache.get("key"), None);
        assert!(lock.release());
        assert_eq!(creator.join().unwrap(), b"value");
    });
}

/// The creator of a value cannot store it while a stopped process holds the stripe's lock.
#[cfg(all(unix, feature = "crash-points"))]
#[test]
fn a_creator_that_cannot_lock_the_stripe_stores_nothing_and_lets_the_others_go_on() {
    use kennel::crash::{Plan, Step, arm};
    let place = Place::new();
    let cache = options().stripes(1).lock_wait(Duration::from_millis(100)).create(place.path()).unwrap();
    cache.set("stale", "value").unwrap();
    cache.invalidate(kennel::Invalidation::Soft).unwrap();
    let Lookup::Create(claim) = cache.claim("key", &patient()).unwrap() else { panic!("it is missing") };
    // A thread that stops in the middle of a write keeps the lock, as a stopped process does.
    let stopped = cache.clone();
    std::thread::spawn(move || {
        arm(Some(Step::Head), 0, Plan::Stop);
        let _ = stopped.set("other", "value");
    });
    while cache.stripe_stats()[0].intent.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // A caller that waits for nothing gets the error immediately.
    let at_once = cache.with_lock_wait(Duration::ZERO);
    let start = Instant::now();
    assert!(matches!(at_once.claim("other key", &CreateOptions::new().wait(Wait::No)), Err(Error::Busy { .. })));
    assert!(matches!(at_once.try_lock("other key"), Err(Error::Busy { .. })));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    assert!(matches!(claim.store("value"), Err(Error::Busy { .. })));
    assert!(!cache.is_claimed("key"), "released without the lock");
    assert!(matches!(cache.claim("key", &CreateOptions::new().wait(Wait::No)), Err(Error::Busy { .. })));
    assert!(matches!(cache.claim("stale", &patient()).unwrap(), Lookup::Stale(_)), "there is something to use");
    let all_the_same = CreateOptions::new().wait(Wait::No).unprotected(true);
    let value = cache.get_or_create("key", &all_the_same, || b"value".to_vec()).unwrap();
    assert_eq!(value, b"value", "it is returned, and not stored");
    std::mem::forget((cache, place));
}

#[cfg(unix)]
#[test]
fn a_forked_child_holds_no_claim_of_its_parent_and_keeps_none_alive() {
    use common::fork::Forked;
    let (_place, cache) = cache();
    let lock = cache.lock("key", Wait::No).unwrap();
    let Lookup::Create(claim) = cache.claim("created", &patient()).unwrap() else { panic!("it is missing") };
    let (mut lock, mut claim) = (Some(lock), Some(claim));
    Forked::start(|| {
        assert!(!lock.take().unwrap().release());
        assert_eq!(claim.take().unwrap().store("of the child").unwrap(), kennel::Stored::Voided);
        // A forked child is a separate member: it waits for its parent like any other process.
        assert!(cache.try_lock("key").unwrap().is_none() && cache.is_claimed("created"));
        assert!(cache.lock("of the child", Wait::No).unwrap().is_protected());
    })
    .join();
    assert!(cache.get("created").is_none() && lock.unwrap().is_protected());
    assert!(matches!(claim.unwrap().store("of the parent").unwrap(), kennel::Stored::Yes(_)));
}
