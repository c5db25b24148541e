//! Children of forks that run no handlers. Each test forks in a process of its own, in which no other thread runs: if
//! the main thread of the test runner held a lock of the C library during the fork, the child would wait for that lock
//! for ever.

use crate::common::children::{self, PATIENCE, arg, say, wait_for_word};
use crate::common::fork::Forked;
use crate::common::{self, Place};
use crate::{SHARED, options};
use kennel::{LockStrategy, Wait};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ADDITIONS: u64 = 3_000;

/// Waits until the main thread, whose id is that of the process, sleeps.
fn wait_for_main_thread() {
    let stat = format!("/proc/self/task/{}/stat", std::process::id());
    let sleeps = || std::fs::read_to_string(&stat).unwrap().rsplit(") ").next().unwrap().starts_with('S');
    while !sleeps() {
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn child(task: &str, path: &str) {
    wait_for_main_thread();
    match task {
        "raw: use" => use_together(path),
        "raw: stay" => stay(path),
        "raw: in the first open" => fork_in_the_first_open(path),
        _ => panic!("no task {task}"),
    }
    say("done");
}

fn done(task: &str, path: &Path) {
    let mut process = children::start(task, &[arg(path)]);
    process.expect("done");
    process.finish();
}

fn use_together(path: &str) {
    let cache = options().open(path).unwrap();
    let add = || {
        for _ in 0..ADDITIONS {
            cache.incr("sum", 1).unwrap().unwrap();
            // The read may miss while others write all the time.
            let _ = cache.get("sum");
        }
    };
    cache.set("sum", "0").unwrap();
    let child = Forked::start_raw(|| {
        // A read is its first use, and gives it a seat.
        let _ = cache.get("sum");
        assert_eq!(cache.stats().members, 3);
        let child = Forked::start_raw(add);
        add();
        child.join();
        Forked::start(|| assert!(cache.incr("sum", 1).unwrap().is_some())).join();
    });
    add();
    child.join();
    assert_eq!(cache.get("sum"), Some((3 * ADDITIONS + 1).to_string().into_bytes()));
    let counters = cache.stats().counters;
    let reads = counters.hits + counters.misses;
    assert_eq!((reads, counters.sets), (3 * ADDITIONS + 2, 3 * ADDITIONS + 2), "a count was lost");
    assert_eq!(counters.repairs, 0);
    drop(cache);
}

#[test]
fn a_child_that_no_handler_is_told_of_is_a_member_of_its_own() {
    for locks in SHARED {
        let place = Place::new();
        let cache = options().locks(locks).create(place.path()).unwrap();
        done("raw: use", &place.path());
        assert_eq!(cache.stats().members, 1 + 2, "of two children, which did not leave");
        assert!(cache.verify().is_ok());
    }
}

/// Like `fork_and_stay`.
fn stay(path: &str) {
    let cache = options().seats(3).open(path).unwrap();
    let lock = Mutex::new(Some(cache.lock("held by the parent", Wait::No).unwrap()));
    let child = Forked::start_raw(|| {
        assert!(!lock.lock().unwrap().as_ref().unwrap().is_protected(), "its parent's lock");
        cache.set("child", "here").unwrap();
        say("the child wrote");
        wait_for_word();
        // The child must not release what belonged to its parent.
        drop(lock.lock().unwrap().take());
        cache.set("child", "still here").unwrap();
        say("the child wrote again");
        wait_for_word();
    });
    std::mem::forget(child);
    thread::sleep(PATIENCE * 2);
}

#[test]
fn a_dead_parent_is_seen_to_be_dead_although_such_a_child_lives() {
    for locks in SHARED {
        let place = Place::new();
        let path = place.path();
        let cache = options().locks(locks).seats(3).create(&path).unwrap();
        let mut parent = children::start("raw: stay", &[arg(&path)]);
        parent.expect("the child wrote");
        assert_eq!(cache.stats().members, 3);
        assert!(cache.try_lock("held by the parent").unwrap().is_none());
        parent.kill();
        parent.tell("drop it");
        parent.expect("the child wrote again");
        let lock = cache.lock("held by the parent", Wait::For(PATIENCE / 2)).unwrap();
        assert!(lock.release());
        let mut next = children::start("open", &[arg(&path)]);
        next.expect("served");
        next.finish();
        assert_eq!(cache.get("child").as_deref(), Some(&b"still here"[..]));
    }
}

static OPEN_NOW: AtomicBool = AtomicBool::new(false);
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Waits until another thread has opened the cache, in the middle of a fork that began before.
extern "C" fn open_in_the_fork() {
    let start = Instant::now();
    OPEN_NOW.store(true, Ordering::SeqCst);
    while !IS_OPEN.load(Ordering::SeqCst) && start.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn fork_in_the_first_open(path: &str) {
    let options = options().locks(LockStrategy::Process).lock_wait(Duration::from_millis(300));
    common::fork::before_forks(open_in_the_fork);
    let opener = thread::spawn({
        let (options, path) = (options.clone(), path.to_owned());
        move || {
            while !OPEN_NOW.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            let cache = options.create(path).unwrap();
            IS_OPEN.store(true, Ordering::SeqCst);
            cache
        }
    });
    let child = Forked::start(|| drop(wait_for_word()));
    let cache = opener.join().unwrap();
    cache.set("key", "value").unwrap();
    drop(cache);
    // The child has never used the cache, and only one process at a time may have it under this strategy.
    assert!(options.open(path).unwrap().get("key").is_some());
    say("opened again");
    child.join();
}

/// A fork runs only the handlers that existed when it began.
#[test]
fn a_fork_during_the_first_open_of_a_process_keeps_no_lock() {
    let place = Place::new();
    let mut process = children::start("raw: in the first open", &[arg(&place.path())]);
    process.expect("opened again");
    process.tell("end");
    process.expect("done");
    process.finish();
}
