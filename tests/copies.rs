//! A cache file and its copy have nothing in common any more once the copy is opened.
#![cfg(unix)]

mod common;

use common::raw::{Raw, header};
use common::{Place, assert_sound, proof, proven};
use kennel::{AfterCrash, Cache, LockStrategy, Options, SetOptions, Swap};
use std::collections::HashSet;
use std::path::PathBuf;

const KEYS: u32 = 40;
const BOOTS: [[u64; 2]; 3] = [[8, 1], [8, 2], [8, 3]];

fn options() -> Options {
    Options::new().capacity(64 << 10).stripes(4).seats(4).after_crash(AfterCrash::Verify).verify_reads(true)
}

fn key(n: u32) -> String {
    format!("key{n}")
}

fn set(cache: &Cache, n: u32, counter: u32) -> u64 {
    cache.set_with(key(n), proof(n, counter, 64), &SetOptions::new()).unwrap().0
}

/// A cache that holds all keys, and the path for a copy of it.
fn original(place: &Place, options: &Options) -> (Cache, PathBuf) {
    let cache = options.create(place.path()).unwrap();
    (0..KEYS).for_each(|n| _ = set(&cache, n, 1));
    (cache, place.dir().join("copy"))
}

/// Both counted on from the same stamp, so a token from one matched another value of the other.
#[test]
fn a_file_and_its_copy_give_out_different_stamps() {
    let place = Place::new();
    // Without lock files, which would have to move along.
    let options = || options().locks(LockStrategy::Process);
    let (cache, path) = original(&place, &options());
    std::fs::copy(place.path(), &path).unwrap();
    let copy = options().open(&path).unwrap();
    assert!((0..KEYS).all(|n| copy.get(key(n)) == cache.get(key(n))), "the copy holds what the original holds");
    let stamps = |cache: &Cache, counter| (0..KEYS).map(|n| set(cache, n, counter)).collect::<HashSet<u64>>();
    let (of_original, of_copy) = (stamps(&cache, 2), stamps(&copy, 3));
    assert!(of_original.is_disjoint(&of_copy));
    // Tokens from the original; then the copy takes its place.
    let tokens: Vec<_> = (0..KEYS).map(|n| cache.get_item(key(n)).unwrap().stamp).collect();
    drop((cache, copy));
    std::fs::rename(&path, place.path()).unwrap();
    let cache = options().open(place.path()).unwrap();
    for (n, token) in (0..KEYS).zip(tokens) {
        let swapped = cache.compare_and_swap(key(n), token, "mine", &SetOptions::new()).unwrap();
        assert!(matches!(swapped, Swap::Changed | Swap::Absent), "key {n}: {swapped:?}");
    }
    assert_sound(&cache);
}

/// After a restart with an older state of a file, the file must not issue the stamps again that it issued after that
/// state.
#[test]
fn a_file_gives_out_no_stamp_again_after_an_older_state_was_restored() {
    for after_crash in [AfterCrash::Verify, AfterCrash::Discard] {
        let place = Place::new();
        let options = options().after_crash(after_crash);
        let (cache, _) = original(&place, &options);
        assert!(cache.flush().unwrap());
        let older = Raw::load(&place.path());
        let later: HashSet<u64> = (0..KEYS).map(|n| set(&cache, n, 2)).collect();
        drop(cache);
        older.save();
        let cache = options.boot_id(BOOTS[0]).open(place.path()).unwrap();
        assert!((0..KEYS).all(|n| proven(n, &cache.get(key(n)).expect("flushed")) == 1), "the older state is back");
        let again: HashSet<u64> = (0..KEYS).map(|n| set(&cache, n, 3)).collect();
        assert!(later.is_disjoint(&again));
        assert_sound(&cache);
    }
}

/// When stamps have run out, the stripe starts anew.
#[test]
fn stamps_that_run_out_begin_again_in_an_empty_stripe() {
    let place = Place::new();
    let (cache, _) = original(&place, &options());
    assert!(cache.flush().unwrap());
    drop(cache);
    let mut raw = Raw::load(&place.path());
    let stamp_at = raw.stripe(2) + common::raw::stripe::STAMP;
    raw.set(stamp_at, u64::MAX - 1000);
    raw.save();
    let cache = options().boot_id(BOOTS[0]).open(place.path()).unwrap();
    for n in 0..KEYS {
        assert_eq!(cache.get(key(n)).is_none(), raw.stripe_of(key(n).as_bytes()) == 2, "key {n}");
        assert!(set(&cache, n, 2) < u64::MAX - (1 << 48));
        assert_eq!(proven(n, &cache.get(key(n)).unwrap()), 2);
    }
    assert_sound(&cache);
}

/// A copy got its own identity before its flush mark was cleared: after a death in between, or a loss of power, the next
/// boot trusted the flush of a file that had been written to while it was copied.
#[cfg(feature = "crash-points")]
#[test]
fn an_adopter_that_dies_does_not_make_the_next_boot_trust_the_copy() {
    use kennel::crash::{Plan, arm, passed};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let place = Place::new();
    let (cache, path) = original(&place, &options().after_crash(AfterCrash::Discard));
    assert!(cache.flush().unwrap());
    let mut deaths = 0;
    for nth in 0.. {
        let _ = std::fs::remove_file(&path);
        std::fs::copy(place.path(), &path).unwrap();
        assert_eq!(Raw::load(&path).word(header::FLUSH) & 3, 2, "it says that it was flushed");
        arm(None, nth, Plan::Unwind);
        let died = catch_unwind(AssertUnwindSafe(|| drop(options().open(&path).unwrap()))).is_err();
        passed();
        let copy = options().boot_id(BOOTS[1]).open(&path).unwrap();
        assert!((0..KEYS).all(|n| copy.get(key(n)).is_none()), "the copy is trusted after a death at store {nth}");
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 20, "{deaths}");
}
