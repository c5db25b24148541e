//! Kills during evictions: in a full cache, and at the last position of a ring.

use crate::cases::{Case, ending, tight};
use crate::common::Place;
use crate::table::{self, Reached};
use crate::{PASSINGS, STRATEGIES, dies, in_parallel, in_time};
use kennel::crash::Step;
use kennel::{Cache, LockStrategy};
use std::collections::BTreeSet;

/// In a full cache, keys leave even without a kill.
pub const FULL: Case =
    Case { name: "set into a full cache", options: tight, before: |_| (), work: churn, states: &[], may_lose: true };

/// Positions run out during the test, which empties the stripe.
pub const ENDING: Case = Case {
    name: "set beyond the last position",
    options: ending,
    before: |_| (),
    work: |cache, number| (number..number + 20).for_each(|number| churn(cache, number)),
    states: &[],
    may_lose: true,
};

/// Writes new keys that evict others, and reads some of the older ones, so that eviction moves them.
fn churn(cache: &Cache, number: u64) {
    for i in 0..30 {
        let key = format!("churn {number} {i}");
        cache.set(&key, proof(&key)).unwrap();
        for older in (0..number).rev().take(3) {
            let _ = (cache.get(format!("churn {older} {i}")), cache.get(format!("churn {older} {i}")));
        }
    }
}

/// A value that identifies its key, with a length that depends on the key.
fn proof(key: &str) -> Vec<u8> {
    let times = 1 + key.bytes().map(usize::from).sum::<usize>() % 9;
    key.repeat(times).into_bytes()
}

/// The keys that are there; the value of each must be right.
fn proven_keys(cache: &Cache, told: &str) -> BTreeSet<Vec<u8>> {
    let present = cache.keys().filter(|key| {
        let Some(value) = cache.get(key) else { return false };
        assert_eq!(value, proof(std::str::from_utf8(key).unwrap()), "{told}: a foreign value");
        true
    });
    present.collect()
}

/// The invariants of a cache that evicts keys.
fn check_full(cache: &Cache, told: &str) {
    proven_keys(cache, told);
    cache.set("churn", proof("churn")).unwrap();
    assert_eq!(cache.get("churn"), Some(proof("churn")), "{told}");
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()), "{told}");
}

#[test]
fn a_kill_while_room_is_made_loses_no_more_than_was_in_hand() {
    let reached = in_parallel(STRATEGIES, kill_while_room_is_made);
    table::compare(&[FULL.name], &reached);
}

/// A cache that evicts keys. Numbers continue from child to child: each child evicts the keys of the one before.
fn full(locks: &LockStrategy) -> (Place, Cache, u64) {
    let place = Place::in_memory();
    let cache = tight().locks(locks.clone()).create(place.path()).unwrap();
    let mut number = 0;
    while cache.stats().counters.evictions() < 100 {
        churn(&cache, number);
        number += 1;
    }
    (place, cache, number)
}

fn kill_while_room_is_made(locks: &'static LockStrategy) -> Vec<Reached> {
    let (place, cache, mut number) = full(locks);
    let mut reached = Vec::new();
    for &step in Step::ALL {
        for &nth in PASSINGS {
            number += 1;
            let told = format!("killed under {locks} at {} {nth}", step.name());
            let (before, counted) = (proven_keys(&cache, &told), cache.stats().counters);
            let killed = dies("case", &place.path(), FULL.name, Some(step), nth, number);
            // A read after the kill shows what is left, without a write in between.
            let (after, _): (BTreeSet<_>, _) =
                in_time(&told, || before.iter().filter(|key| cache.contains(key)).cloned().collect());
            let now = cache.stats().counters;
            let (lost, left) = (before.difference(&after).count() as u64, now.evictions() - counted.evictions());
            // The losses: keys that left and were counted before the death, one that was not counted yet, and the two
            // that contract 3 allows, the record being written and the one being moved.
            assert!(lost <= left + 3, "{told}: {lost} lost, {left} evicted");
            assert_eq!(now.dropped, counted.dropped, "{told}");
            check_full(&cache, &told);
            if !killed {
                break;
            }
            reached.push(Reached { operation: FULL.name, locks, step });
        }
    }
    reached
}

#[test]
fn a_kill_while_a_stripe_is_emptied_at_its_last_position_is_repaired() {
    let reached = in_parallel(STRATEGIES, kill_while_a_stripe_is_emptied);
    assert!(reached.iter().all(|&times| times >= 5), "four ends of two rings, and the stamps: {reached:?}");
}

/// How often a child reached a step of the emptying.
fn kill_while_a_stripe_is_emptied(locks: &LockStrategy) -> Vec<u64> {
    for nth in 0.. {
        let place = Place::in_memory();
        let cache = ending().locks(locks.clone()).create(place.path()).unwrap();
        churn(&cache, 0);
        let killed = dies("case", &place.path(), ENDING.name, Some(Step::RingReset), nth, 1);
        check_full(&cache, &format!("killed at ring-reset {nth}"));
        if !killed {
            return vec![nth];
        }
        assert_eq!(cache.stats().counters.repairs, 1);
    }
    unreachable!("an endless count")
}

/// Like [`repairs`](crate::repairs), but for evictions: one more process dies at each store of such a repair in turn.
fn kill_repairs(locks: &LockStrategy) -> Vec<String> {
    let (place, cache, mut number) = full(locks);
    let mut repaired = Vec::new();
    for (step, passing) in [(Step::Dead, 10), (Step::Slot, 11), (Step::BucketEven, 12)] {
        for nth in 0.. {
            number += 1;
            assert!(dies("case", &place.path(), FULL.name, Some(step), passing, number));
            repaired.extend(cache.stripe_stats()[0].intent.clone());
            let killed = dies("repair", &place.path(), "repair", None, nth, 0);
            let told = format!("killed under {locks} at {} {passing}, and its repair at {nth}", step.name());
            in_time(&told, || check_full(&cache, &told));
            if !killed {
                break;
            }
        }
    }
    repaired
}

#[test]
fn a_kill_in_the_repair_of_what_makes_room_is_repaired() {
    let repaired: BTreeSet<_> = in_parallel(STRATEGIES, kill_repairs).into_iter().collect();
    assert!(["move", "evict"].iter().all(|intent| repaired.contains(*intent)), "only {repaired:?} were repaired");
}

/// Emptying a stripe starts again from the beginning, wherever the process before was killed.
#[test]
fn a_kill_in_the_repair_of_an_emptying_is_repaired() {
    for (locks, nth) in STRATEGIES.iter().flat_map(|locks| [0, 1, 2, 20, 100, 200].map(|nth| (locks, nth))) {
        let place = Place::in_memory();
        let cache = ending().locks(locks.clone()).create(place.path()).unwrap();
        churn(&cache, 0);
        assert!(dies("case", &place.path(), ENDING.name, Some(Step::RingReset), 2, 1));
        assert_eq!(cache.stripe_stats()[0].intent.as_deref(), Some("empty"));
        assert!(dies("repair", &place.path(), "repair", None, nth, 0), "{nth}");
        check_full(&cache, &format!("emptying under {locks}, its repair killed at {nth}"));
    }
}
