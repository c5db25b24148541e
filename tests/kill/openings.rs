//! Kills while a process creates, opens, adopts, resets or replaces a file.

use crate::cases::{KEY, NEW, OLD, bystanders, put_bystanders, roomy};
use crate::common::Place;
use crate::table::{self, Reached};
use crate::{PASSINGS, by_strategy, dies, in_parallel, in_time};
use kennel::crash::Step;
use kennel::{AfterCrash, Cache, LockStrategy, OnMismatch, Options};
use std::path::Path;

/// A way of opening a cache file, in which a child is killed.
pub struct Opening {
    pub name: &'static str,
    pub open: fn(&Path, &LockStrategy) -> Cache,
    /// The state that the child finds.
    before: fn(&Path, &LockStrategy),
    /// The values of [`KEY`] that the next opener may find.
    allowed: &'static [Option<&'static [u8]>],
}

const BOOTS: [[u64; 2]; 2] = [[1, 1], [2, 2]];

fn booted(boot: usize) -> Options {
    roomy().boot_id(BOOTS[boot])
}

fn made_with(options: &Options, path: &Path) -> Cache {
    let cache = options.create(path).unwrap();
    put_bystanders(&cache);
    cache.set(KEY, OLD).unwrap();
    cache
}

pub const OPENINGS: &[Opening] = &[
    Opening {
        name: "create",
        open: |path, locks| roomy().locks(locks.clone()).open_or_create(path).unwrap(),
        before: |_, _| (),
        allowed: &[None],
    },
    Opening {
        name: "open",
        open: |path, _| roomy().open(path).unwrap(),
        before: |path, locks| drop(made_with(&roomy().locks(locks.clone()), path)),
        allowed: &[Some(OLD)],
    },
    // After a crash of the host without a flush, the cache is empty.
    Opening {
        name: "open after a restart",
        open: |path, _| booted(1).open(path).unwrap(),
        before: |path, locks| drop(made_with(&booted(0).locks(locks.clone()), path)),
        allowed: &[None],
    },
    Opening {
        name: "open after a restart, to verify",
        open: |path, _| booted(1).open(path).unwrap(),
        before: |path, locks| drop(made_with(&booted(0).locks(locks.clone()).after_crash(AfterCrash::Verify), path)),
        allowed: &[Some(OLD)],
    },
    // After a flush, everything is there.
    Opening {
        name: "open after a restart, flushed",
        open: |path, _| booted(1).open(path).unwrap(),
        before: |path, locks| assert!(made_with(&booted(0).locks(locks.clone()), path).flush().unwrap()),
        allowed: &[Some(OLD)],
    },
    Opening {
        name: "adopt a copy",
        open: |path, _| roomy().open(path).unwrap(),
        before: |path, locks| {
            let original = path.with_extension("original");
            drop(made_with(&roomy().locks(locks.clone()).after_crash(AfterCrash::Verify), &original));
            std::fs::copy(&original, path).unwrap();
        },
        allowed: &[Some(OLD)],
    },
    Opening {
        name: "recreate",
        open: |path, locks| {
            roomy()
                .locks(locks.clone())
                .capacity(2 << 20)
                .on_mismatch(OnMismatch::Recreate)
                .open_or_create(path)
                .unwrap()
        },
        before: |path, locks| drop(made_with(&roomy().locks(locks.clone()), path)),
        allowed: &[None],
    },
];

fn kill_openers(opening: &'static Opening, locks: &'static LockStrategy) -> Vec<Reached> {
    let mut reached = Vec::new();
    for &step in Step::ALL {
        for &nth in PASSINGS {
            let place = Place::in_memory();
            (opening.before)(&place.path(), locks);
            let told = format!("{} under {locks} killed at {} {nth}", opening.name, step.name());
            let killed = dies(opening.name, &place.path(), locks.name(), Some(step), nth, 0);
            check_opened(opening, locks, &place, &told);
            if !killed {
                break;
            }
            reached.push(Reached { operation: opening.name, locks, step });
        }
    }
    reached
}

fn check_opened(opening: &Opening, locks: &LockStrategy, place: &Place, told: &str) {
    let (cache, _) = in_time(told, || (opening.open)(&place.path(), locks));
    // Twice: reads of unverified stripes check more, and a write must find the key that a read found.
    for _ in 0..2 {
        let found = cache.get(KEY);
        assert!(opening.allowed.contains(&found.as_deref()), "{told}: {found:?}");
        for (key, value) in bystanders() {
            let found = cache.get(&key);
            assert!(found.is_none() == opening.allowed.contains(&None), "{told}: {key}");
            assert!(found.is_none_or(|found| found == value), "{told}: {key}");
        }
        cache.set("and so on", NEW).unwrap();
        assert_eq!(cache.get("and so on").as_deref(), Some(NEW), "{told}");
    }
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    // Another process opens it, too, and both use the same cache.
    let other = (opening.open)(&place.path(), locks);
    other.set("both", NEW).unwrap();
    assert_eq!(cache.get("both").as_deref(), Some(NEW), "{told}");
    assert_eq!(cache.stats().file_id, other.stats().file_id, "{told}");
}

#[test]
fn a_kill_while_a_file_is_made_or_opened_harms_nobody() {
    let reached = in_parallel(&by_strategy(OPENINGS), |(opening, locks)| kill_openers(opening, locks));
    let operations: Vec<_> = OPENINGS.iter().map(|opening| opening.name).collect();
    table::compare(&operations, &reached);
}

/// The next creator removes the files of a killed one.
#[test]
fn killed_creators_leave_nothing_for_ever() {
    let place = Place::in_memory();
    for nth in 0..4 {
        assert!(dies("create", &place.path(), "file", Some(Step::Header), nth, 0));
        assert!(!place.path().exists(), "a half-made file has a name");
    }
    let _cache = roomy().create(place.path()).unwrap();
    assert_eq!(place.names(), ["cache", "cache.locks"]);
    assert_eq!(place.lock_directories().len(), 1);
}
