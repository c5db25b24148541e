//! Deaths of a process that resizes a file, and of one that takes back what such a process left.

use crate::cases::{KEY, OLD, bystanders, put_bystanders, roomy};
use crate::common::Place;
use crate::common::children::{self, arg};
#[cfg(unix)]
use crate::common::fork::Forked;
use crate::common::raw::header;
use crate::table::{self, Reached};
use crate::{STRATEGIES, dies, in_parallel, in_time};
use kennel::crash::{Plan, Step, arm, passed};
use kennel::{Cache, CreateOptions, Error, LockStrategy, Options, ResizeOptions, Wait};
use std::io::{Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// The work of a child that is killed.
pub fn work(task: &str, cache: &Cache, number: u64) {
    match task {
        "resize" => {
            let capacity = (1 + number % 3) << 20;
            assert_eq!(cache.resize(capacity, &ResizeOptions::new()).unwrap().capacity, capacity);
        }
        _ => cache.set("of the one who takes back", "x").unwrap(),
    }
}

fn open(path: &Path) -> Cache {
    Options::new().open(path).unwrap()
}

fn filled(place: &Place, locks: &LockStrategy) -> Cache {
    let cache = roomy().locks(locks.clone()).create(place.path()).unwrap();
    put_bystanders(&cache);
    cache.set(KEY, OLD).unwrap();
    cache
}

/// Everything is there; the next write and the next lock of a key go through.
fn check(cache: &Cache, told: &str) {
    assert_eq!(cache.get(KEY).as_deref(), Some(OLD), "{told}");
    for (key, value) in bystanders() {
        assert_eq!(cache.get(&key).as_ref(), Some(&value), "{told}: {key}");
    }
    in_time(told, || cache.set("the next write", told).unwrap());
    assert_eq!(cache.get("the next write").as_deref(), Some(told.as_bytes()), "{told}");
    assert!(cache.lock("a lock", Wait::No).unwrap().release(), "{told}");
    assert_eq!(cache.get_or_create("made", &CreateOptions::new(), || "made").unwrap(), b"made", "{told}");
    cache.delete("made").unwrap();
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
}

fn kill_resizers(locks: &'static LockStrategy) -> Vec<Reached> {
    let place = Place::in_memory();
    let cache = filled(&place, locks);
    let (mut reached, mut number) = (Vec::new(), 0);
    for &step in Step::ALL {
        for nth in [0, 1, 5, 50] {
            number += 1;
            let killed = dies("resize", &place.path(), "resize", Some(step), nth, number);
            let told = format!("killed at {} {nth} under {locks}: {killed}", step.name());
            check(&cache, &told);
            check(&open(&place.path()), &told);
            if !killed {
                break;
            }
            reached.push(Reached { operation: "resize", locks, step });
        }
    }
    // Nothing is left of the new files.
    let resize = || _ = cache.resize(5 << 20, &ResizeOptions::new()).unwrap();
    resize();
    check(&cache, "at the end");
    assert!(place.is_tidy(resize), "{:?}", place.lock_directories());
    // It writes records to a file that nobody else knows.
    assert_eq!(cache.stats().counters.repairs, 0);
    reached
}

#[test]
fn a_kill_at_any_step_of_a_resize_is_harmless() {
    let reached = in_parallel(STRATEGIES, kill_resizers);
    table::compare(&["resize"], &reached);
}

/// Marks a file as replaced, as a resizer does just before the new file gets its name. There is no store in between.
fn mark(path: &Path) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(header::REPLACED as u64)).unwrap();
    file.write_all(&7u64.to_le_bytes()).unwrap();
}

#[test]
fn who_takes_back_what_a_killed_resizer_left_may_be_killed_as_well() {
    for locks in STRATEGIES {
        let place = Place::in_memory();
        let cache = filled(&place, locks);
        let reader = Options::new().open_read_only(place.path()).unwrap();
        for is_marked in [false, true] {
            for step in [Step::Header, Step::Closed] {
                // All stripes are passed, and namespaces are the first thing that is copied after that.
                assert!(dies("resize", &place.path(), "resize", Some(Step::Namespace), 0, 1));
                if is_marked {
                    mark(&place.path());
                }
                let told = format!("{locks}, marked: {is_marked}, killed at {}", step.name());
                for reads in [&cache, &reader] {
                    assert_eq!(reads.get(KEY).as_deref(), Some(OLD), "{told}: a read of a closed file");
                }
                assert!(dies("write", &place.path(), "resize", Some(step), 0, 0), "{told}");
                // A writer that was there all the time, if it is its turn.
                if !is_marked {
                    arm(Some(step), 0, Plan::Unwind);
                    let died = catch_unwind(AssertUnwindSafe(|| cache.set("of the one who dies", "x")));
                    passed();
                    assert!(died.is_err(), "{told}: {died:?}");
                }
                for reads in [&cache, &reader] {
                    assert_eq!(reads.get(KEY).as_deref(), Some(OLD), "{told}: a read after the second death");
                }
                check(&cache, &told);
                assert_eq!(reader.get(KEY).as_deref(), Some(OLD), "{told}");
            }
        }
        cache.resize(2 << 20, &ResizeOptions::new()).unwrap();
        check(&cache, "at the end");
    }
}

/// A stopped process is not taken for dead, whatever it is in the middle of.
#[test]
fn while_a_resizer_is_stopped_reads_go_on_and_writes_end() {
    for locks in STRATEGIES {
        let place = Place::in_memory();
        let cache = filled(&place, locks);
        // About to claim, while it copies, about to close, closed.
        for step in ["resizer", "record-body", "closed", "namespace"] {
            let mut resizer = children::start("stop", &[arg(&place.path()), "resize", step, "0", "1"]);
            resizer.expect("armed");
            std::thread::sleep(Duration::from_millis(300));
            let told = format!("{locks}, stopped at {step}");
            let patience = cache.with_lock_wait(Duration::from_millis(100));
            assert_eq!(cache.get(KEY).as_deref(), Some(OLD), "{told}");
            let (written, _) = in_time(&told, || patience.set("meanwhile", &told));
            let is_closed = step == "namespace";
            assert_eq!(matches!(written, Err(Error::Busy { .. })), is_closed, "{told}: {written:?}");
            #[cfg(unix)]
            {
                let child = Forked::start(|| {
                    assert_eq!(cache.get(KEY).as_deref(), Some(OLD));
                    let _ = patience.set("of a child", "x");
                    assert_eq!(cache.get(KEY).as_deref(), Some(OLD));
                });
                child.join();
            }
            resizer.kill();
            check(&cache, &told);
        }
        cache.resize(2 << 20, &ResizeOptions::new()).unwrap();
        check(&cache, "at the end");
    }
}
