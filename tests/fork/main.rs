//! A forked child becomes a separate member at its next use of the cache. It shares none of its parent's locks, and
//! keeps none of them held when the parent dies.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "crash-points")]
mod inherited;
#[cfg(target_os = "linux")]
mod raw;

use common::Place;
use common::children::{self, PATIENCE, arg, say, wait_for_word};
use common::fork::Forked;
use common::stop::Stop;
use kennel::{Cache, Error, LockStrategy, Options};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn child() {
    children::serve(|task, args| match task {
        "fork and stay" => fork_and_stay(args[0], false),
        #[cfg(target_os = "linux")]
        _ if task.starts_with("raw: ") => raw::child(task, args[0]),
        "fork and stop" => fork_and_stop(args[0]),
        "open" => open_and_stay(args[0]),
        _ => panic!("no task {task}"),
    });
}

/// The strategies for several processes. The other two have their own tests, and the conformance suite forks under
/// custom strategies.
const SHARED: [LockStrategy; 3] = [LockStrategy::File, LockStrategy::Lease, LockStrategy::RwFile];

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(2)
}

#[test]
fn a_forked_child_reads_and_writes_at_once() {
    SHARED.into_iter().for_each(child_reads_and_writes);
}

fn child_reads_and_writes(locks: LockStrategy) {
    let place = Place::new();
    let cache = options().locks(locks).create(place.path()).unwrap();
    cache.set("from the parent", "1").unwrap();
    let child = Forked::start(|| {
        assert_eq!(cache.get("from the parent").as_deref(), Some(&b"1"[..]));
        cache.set("from the child", "2").unwrap();
        assert_eq!(cache.get("from the child").as_deref(), Some(&b"2"[..]));
        // The child has another seat than its parent.
        assert_eq!(cache.stats().members, 2);
    });
    child.join();
    assert_eq!(cache.get("from the child").as_deref(), Some(&b"2"[..]));
    cache.set("from the parent", "3").unwrap();
    assert!(cache.verify().is_ok());
    assert_eq!(cache.stats().counters.repairs, 0);
}

#[test]
fn children_of_children_are_members_too() {
    SHARED.into_iter().for_each(children_of_children);
}

fn children_of_children(locks: LockStrategy) {
    let place = Place::new();
    let cache = options().locks(locks).create(place.path()).unwrap();
    cache.set("depth", "0").unwrap();
    Forked::start(|| {
        cache.incr("depth", 1).unwrap().unwrap();
        Forked::start(|| {
            cache.incr("depth", 1).unwrap().unwrap();
            // This child's parent joined before the fork; the grandchild's parent never joined.
            Forked::start(|| {
                Forked::start(|| assert_eq!(cache.incr("depth", 1).unwrap(), Some(3))).join();
            })
            .join();
            assert_eq!(cache.stats().members, 4);
        })
        .join();
    })
    .join();
    assert_eq!(cache.get("depth").as_deref(), Some(&b"3"[..]));
}

#[test]
fn a_child_that_drops_the_handle_leaves_only_its_own_seat() {
    SHARED.into_iter().for_each(child_drops_the_handle);
}

fn child_drops_the_handle(locks: LockStrategy) {
    let place = Place::new();
    let handle = Mutex::new(Some(options().locks(locks).create(place.path()).unwrap()));
    let reader = options().open_read_only(place.path()).unwrap();
    let drop_it = || drop(handle.lock().unwrap().take());
    // The child did not use the cache: it must not free the parent's seat.
    Forked::start(drop_it).join();
    assert_eq!(reader.stats().members, 1);
    Forked::start(|| {
        handle.lock().unwrap().as_ref().unwrap().set("key", "value").unwrap();
        assert_eq!(reader.stats().members, 2);
        drop_it();
        assert_eq!(reader.stats().members, 1);
    })
    .join();
    let cache = handle.lock().unwrap().take().unwrap();
    cache.set("key", "other").unwrap();
    assert_eq!(cache.stats().members, 1);
}

#[test]
fn a_fork_among_writing_threads_makes_a_child_that_can_write() {
    SHARED.into_iter().for_each(fork_among_writing_threads);
}

fn fork_among_writing_threads(locks: LockStrategy) {
    let place = Place::new();
    let cache = options().locks(locks).create(place.path()).unwrap();
    cache.set("counter", "0").unwrap();
    let stop = AtomicBool::new(false);
    let mut added = 0;
    thread::scope(|scope| {
        let write = |thread: u64| {
            let mut mine = 0;
            while !stop.load(Ordering::Relaxed) {
                cache.set(format!("thread {thread} {}", mine % 50), vec![thread as u8; 300]).unwrap();
                mine += cache.incr("counter", 1).unwrap().map(|_| 1).unwrap();
                // Also open and close files: a fork may happen in the middle of that.
                if mine % 16 == 0 {
                    drop(options().open(place.path()).unwrap());
                }
            }
            mine
        };
        let threads: Vec<_> = (0..3).map(|i| scope.spawn(move || write(i))).collect();
        let stops = Stop(&stop);
        for i in 0..25 {
            let child = Forked::start(|| {
                for _ in 0..10 {
                    cache.incr("counter", 1).unwrap().unwrap();
                }
                let key = format!("child {i}");
                cache.set(&key, &key).unwrap();
                assert_eq!(cache.get(&key), Some(key.into_bytes()));
            });
            child.join();
            added += 10;
        }
        drop(stops);
        added += threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>();
    });
    assert_eq!(cache.get("counter"), Some(added.to_string().into_bytes()));
    assert!((0..25).all(|i| cache.get(format!("child {i}")).is_some()));
    assert!(cache.verify().is_ok());
}

/// A process that forks a child, and then lives, or is killed, while the child lives on.
fn fork_and_stay(path: &str, stop: bool) {
    let cache = options().seats(3).open(path).unwrap();
    cache.set("parent", "here").unwrap();
    let child = Forked::start(|| {
        // The child has not used the cache yet, so it has no seat; it takes one when told to.
        wait_for_word();
        cache.set("child", "here").unwrap();
        say("the child wrote");
        wait_for_word();
    });
    // The child lives on after this process.
    std::mem::forget(child);
    say("forked");
    if stop {
        stop_in_a_write(&cache);
    }
    thread::sleep(PATIENCE * 2);
}

#[cfg(feature = "crash-points")]
fn stop_in_a_write(cache: &Cache) {
    kennel::crash::arm(Some(kennel::crash::Step::BucketEven), 0, kennel::crash::Plan::Stop);
    cache.set("parent", "half").unwrap();
}

#[cfg(not(feature = "crash-points"))]
fn stop_in_a_write(_: &Cache) {}

fn fork_and_stop(path: &str) {
    fork_and_stay(path, true);
}

fn open_and_stay(path: &str) {
    match options().seats(3).open(path) {
        Ok(_cache) => {
            say("served");
            wait_for_word();
        }
        Err(error) => say(error),
    }
}

#[test]
fn a_dead_parents_seat_is_free_although_its_child_lives() {
    SHARED.into_iter().for_each(dead_parents_seat);
}

fn dead_parents_seat(locks: LockStrategy) {
    let place = Place::new();
    let path = place.path();
    let cache = options().locks(locks).seats(3).create(&path).unwrap();
    let mut parent = children::start("fork and stay", &[arg(&path)]);
    parent.expect("forked");
    let mut third = children::start("open", &[arg(&path)]);
    third.expect("served");
    // Three seats, three members: while the parent lives, it keeps its seat.
    let mut fourth = children::start("open", &[arg(&path)]);
    assert!(fourth.hear().unwrap().contains("all 3 seats"));
    parent.kill();
    let mut fifth = children::start("open", &[arg(&path)]);
    fifth.expect("served");
    fifth.finish();
    parent.tell("write");
    parent.expect("the child wrote");
    assert_eq!(cache.get("child").as_deref(), Some(&b"here"[..]));
}

#[test]
#[cfg(feature = "crash-points")]
fn a_dead_parents_lock_is_given_on_although_its_child_lives() {
    SHARED.into_iter().for_each(dead_parents_lock);
}

#[cfg(feature = "crash-points")]
fn dead_parents_lock(locks: LockStrategy) {
    let place = Place::new();
    let path = place.path();
    let cache = options().locks(locks).lock_wait(Duration::from_millis(300)).seats(3).create(&path).unwrap();
    let mut parent = children::start("fork and stop", &[arg(&path)]);
    parent.expect("forked");
    let start = Instant::now();
    while cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()) || cache.get("parent").is_some() {
        assert!(start.elapsed() < PATIENCE);
        thread::yield_now();
    }
    assert!(matches!(cache.set("parent", "mine"), Err(Error::Busy { .. })));
    parent.kill();
    // The limit is 300 ms; only the death can release the lock in time, since the child still exists.
    cache.set("parent", "mine").unwrap();
    assert_eq!(cache.get("parent").as_deref(), Some(&b"mine"[..]));
    assert_eq!(cache.stats().counters.repairs, 1);
    parent.tell("write");
    parent.expect("the child wrote");
    assert!(cache.verify().is_ok());
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_started_inherits_no_descriptor() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    // Every lock file is open.
    (0..50).for_each(|i| cache.set(format!("key {i}"), "value").unwrap());
    let list = "ls -l /proc/self/fd; exit 0";
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-c", list]).stderr(std::process::Stdio::inherit());
    let listed = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    assert!(listed.lines().count() > 3, "{listed}");
    let own: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path()).collect();
    let here = own.iter().filter_map(|fd| std::fs::read_link(fd).ok()).filter(|to| to.starts_with(place.dir()));
    // A mapping holds the lease.
    assert!(here.count() >= 3, "the data file, two locks");
    assert!(!listed.contains(arg(place.dir())) && !listed.contains("deleted"), "{listed}");
}

fn wait_for_file(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < PATIENCE, "{} does not come", path.display());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn under_process_locks_a_child_reads_and_may_write_only_when_its_parent_has_left() {
    const LIMIT: Duration = Duration::from_secs(1);
    let place = Place::new();
    let (refused, left) = (place.dir().join("refused"), place.dir().join("left"));
    let options = options().locks(LockStrategy::Process).lock_wait(LIMIT);
    let handle = Mutex::new(Some(options.create(place.path()).unwrap()));
    let cache = || handle.lock().unwrap().clone().unwrap();
    cache().set("key", "value").unwrap();
    let child = Forked::start(|| {
        let start = Instant::now();
        for _ in 0..40 {
            let found = cache().get("key");
            assert!(found.is_none() || found.as_deref() == Some(b"value"));
        }
        // Not every read waited for the lock that the parent keeps.
        assert!(start.elapsed() < LIMIT * 20, "{:?}", start.elapsed());
        let set = cache().set("key", "mine");
        assert!(matches!(set, Err(Error::OpenElsewhere(_))), "{set:?}");
        assert!(matches!(cache().delete("key"), Err(Error::OpenElsewhere(_))));
        std::fs::write(&refused, "").unwrap();
        wait_for_file(&left);
        cache().set("key", "of the child").unwrap();
        assert_eq!(cache().get("key").as_deref(), Some(&b"of the child"[..]));
    });
    wait_for_file(&refused);
    // The parent's own use is not disturbed.
    cache().set("key", "value").unwrap();
    drop(handle.lock().unwrap().take());
    std::fs::write(&left, "").unwrap();
    child.join();
    let next = options.open(place.path()).unwrap();
    assert_eq!(next.get("key").as_deref(), Some(&b"of the child"[..]));
    assert!(next.verify().is_ok());
}

/// Without locks, the caller must ensure that only one process writes at a time. A child may be that process.
#[test]
fn without_locks_a_child_may_write_while_its_parent_does_not() {
    let place = Place::new();
    let cache = options().locks(LockStrategy::None).create(place.path()).unwrap();
    cache.set("from the parent", "1").unwrap();
    for round in 0..3 {
        Forked::start(|| {
            assert_eq!(cache.get("from the parent").as_deref(), Some(&b"1"[..]));
            (0..50).for_each(|n| cache.set(format!("child {round} {n}"), [round; 300]).unwrap());
        })
        .join();
        assert!((0..50).all(|n| cache.get(format!("child {round} {n}")) == Some(vec![round; 300])));
        (0..50).for_each(|n| cache.set(format!("parent {round} {n}"), [round; 300]).unwrap());
    }
    assert_eq!(cache.stats().counters.repairs, 0);
    assert!(cache.verify().is_ok());
}

#[test]
fn when_all_seats_are_taken_a_child_reads_all_the_same() {
    let place = Place::new();
    let cache = options().seats(1).create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    Forked::start(|| {
        for _ in 0..100 {
            assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
        }
        assert!(matches!(cache.set("key", "mine"), Err(Error::SeatsFull { seats: 1, .. })));
    })
    .join();
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
}

/// After the cache's file has lost its name, a child still finds the file that it inherited.
#[test]
#[cfg(target_os = "linux")]
fn a_child_joins_a_file_without_a_name() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    std::fs::remove_file(place.path()).unwrap();
    Forked::start(|| cache.set("from the child", "1").unwrap()).join();
    assert_eq!(cache.get("from the child").as_deref(), Some(&b"1"[..]));
}

/// A daemon closes all descriptors that it has inherited, and opens other files, which get their numbers. The cache
/// locked these files, and closed them at its end; and a child of the daemon could not become a member.
#[test]
#[cfg(target_os = "linux")]
fn a_daemons_own_files_are_neither_locked_nor_closed_and_its_children_are_members() {
    SHARED.into_iter().chain([LockStrategy::Process]).for_each(daemon_with_files_of_its_own);
}

#[cfg(target_os = "linux")]
fn daemon_with_files_of_its_own(locks: LockStrategy) {
    let is_shared = !matches!(locks, LockStrategy::Process);
    let place = Place::new();
    let cache = options().locks(locks).create(place.path()).unwrap();
    cache.set("sum", "0").unwrap();
    let own = |n: u32| place.dir().join(format!("own {n}"));
    let handle = Mutex::new(Some(cache));
    let cache = || handle.lock().unwrap().clone().unwrap();
    let add = || {
        assert_eq!(cache().incr("sum", 1).unwrap().map(|sum| sum > 0), Some(true));
        (0..20).for_each(|n| cache().set(format!("key {n}"), "in every stripe").unwrap());
    };
    Forked::start(|| {
        let open_log = |n| std::fs::OpenOptions::new().create(true).append(true).open(own(n)).unwrap();
        if is_shared {
            add();
        }
        // With all of them closed, and other files in their places.
        let mut files = Vec::new();
        for round in 0..2 {
            common::fork::close_all_above_two();
            std::mem::forget(std::mem::take(&mut files));
            if round == 1 {
                files.extend((0..64).map(open_log));
            }
            if is_shared {
                Forked::start(add).join();
                add();
            }
        }
        let is_free = |n| fs2::FileExt::try_lock_exclusive(&open_log(n)).is_ok();
        assert!((0..64).all(is_free), "a file of the daemon's is locked");
        drop(handle.lock().unwrap().take());
        assert!(files.iter().all(|file| file.metadata().is_ok()), "a file of the daemon's was closed");
    })
    .join();
    let expected = if is_shared { "5" } else { "0" };
    assert_eq!(cache().get("sum").as_deref(), Some(expected.as_bytes()));
    cache().set("sum", "6").unwrap();
    assert!(cache().verify().is_ok());
}
