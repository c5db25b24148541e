//! Kills during the repair of a killed process's changes.

use crate::cases::{CASES, Case, KEY, bystanders, put_bystanders, set};
use crate::common::Place;
use crate::{STRATEGIES, by_strategy, dies, in_parallel, in_time};
use kennel::crash::Step;
use kennel::{Cache, LockStrategy};

/// Kills one child in an operation, and the next one at each store of the repair in turn. With `further`, kills one
/// more in the repair of that.
fn kill_the_repair(case: &Case, locks: &LockStrategy, step: Step, further: bool) -> Vec<u64> {
    let place = Place::in_memory();
    let cache = (case.options)().locks(locks.clone()).create(place.path()).unwrap();
    put_bystanders(&cache);
    for nth in 0.. {
        (case.before)(&cache);
        assert!(dies("case", &place.path(), case.name, Some(step), 0, 0), "{} at {}", case.name, step.name());
        assert!(cache.stripe_stats().iter().any(|stripe| stripe.intent.is_some()));
        let told = format!("{} under {locks} killed at {}, its repair at {nth}", case.name, step.name());
        let killed = dies("repair", &place.path(), "repair", None, nth, 0);
        if further && killed && cache.stripe_stats().iter().any(|stripe| stripe.intent.is_some()) {
            dies("repair", &place.path(), "repair", None, nth, 0);
        }
        check_after_repairs(case, &cache, &told, further);
        if !killed {
            return vec![nth];
        }
    }
    unreachable!()
}

/// Approximate number of stores in the repair of one slot; the process is killed at one of these.
const STORES: u64 = 14;

/// Kills the process that repairs a killed process's changes at a store of the repair. Returns whether it reached that
/// store.
pub fn kill_one_repair(case: &Case, cache: &Cache, told: &str, nth: u64) -> bool {
    let nth = nth % STORES;
    let killed = dies("repair", cache.path(), "repair", None, nth, 0);
    let told = format!("{told}, its repair at {nth}");
    check_after_repairs(case, cache, &told, false);
    case.put_back_bystanders(cache);
    killed
}

/// Like [`check`](crate::kills::check), but the process that repaired may have died before or after it counted the
/// repair.
fn check_after_repairs(case: &Case, cache: &Cache, told: &str, may_be_empty: bool) {
    let (found, _) = in_time(told, || cache.get(KEY));
    // The second of two repairs begins where the first one ended: with the old value, the new value, or none.
    assert!(found.is_none() || case.states.contains(&found.as_deref()), "{told}: {found:?}");
    if !case.may_lose && !case.states.contains(&None) && !may_be_empty {
        assert!(found.is_some(), "{told}: lost");
    }
    let lost = bystanders().filter(|(key, value)| cache.get(key).as_ref() != Some(value)).count();
    let is_emptied = may_be_empty && lost == 30;
    if !is_emptied {
        case.check_bystanders(cache, found.as_deref(), told);
    }
    in_time(told, || set(cache, b"and so on"));
    assert_eq!(cache.get(KEY).as_deref(), Some(&b"and so on"[..]), "{told}");
    let verification = cache.verify();
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    if is_emptied {
        put_bystanders(cache);
    }
}

/// Where the first child dies: after it has recorded its intent, with or without readers shut out.
const HALF_WAY: &[(&str, Step)] = &[
    ("set a new key", Step::Stamp),
    ("set a new key", Step::Live),
    ("overwrite large", Step::BucketOdd),
    ("overwrite large", Step::BucketEven),
    ("overwrite large", Step::Dead),
    ("delete", Step::Dead),
    ("delete", Step::Slot),
    ("overwrite in place", Step::BucketEven),
    ("overwrite in place", Step::IntentClear),
];

fn case_named(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

#[test]
fn a_kill_in_the_middle_of_a_repair_is_repaired() {
    let stores = in_parallel(&by_strategy(HALF_WAY), |((name, step), locks)| {
        kill_the_repair(case_named(name), locks, *step, false)
    });
    // Attempts, slot, version twice, live, notes, intent: with fewer stores the repair has done nothing.
    assert!(stores.iter().all(|&stores| stores >= 9), "{stores:?}");
}

#[test]
fn a_stripe_whose_repair_is_killed_twice_may_be_emptied_and_goes_on() {
    let some = [HALF_WAY[1], HALF_WAY[3], HALF_WAY[6], HALF_WAY[7]];
    in_parallel(&by_strategy(&some), |((name, step), locks)| kill_the_repair(case_named(name), locks, *step, true));
}

#[test]
fn a_repair_has_its_own_step() {
    for locks in STRATEGIES {
        let place = Place::in_memory();
        let case = case_named("overwrite large");
        let cache = (case.options)().locks(locks.clone()).create(place.path()).unwrap();
        put_bystanders(&cache);
        (case.before)(&cache);
        assert!(dies("case", &place.path(), case.name, Some(Step::Dead), 0, 0));
        assert!(dies("repair", &place.path(), "repair", Some(Step::Repair), 0, 0));
        check_after_repairs(case, &cache, &format!("the repair under {locks} killed at its first store"), false);
    }
}

/// A complete repair, killed before it had reset the number of attempts, was counted against the next repair in that
/// stripe: one more death was then enough for the stripe to be emptied.
#[test]
fn a_repair_that_was_killed_at_its_end_is_not_counted_against_the_next() {
    let place = Place::in_memory();
    let case = case_named("overwrite large");
    let cache = (case.options)().create(place.path()).unwrap();
    put_bystanders(&cache);
    for nth in 0.. {
        (case.before)(&cache);
        assert!(dies("case", &place.path(), case.name, Some(Step::Dead), 0, 0));
        if !dies("repair", &place.path(), "repair", Some(Step::Repair), nth, 0) {
            assert!(nth >= 5, "an attempt, three notes, and the count again: {nth}");
            break;
        }
        // This completes the rest of that repair; then the next repair is killed immediately.
        (case.before)(&cache);
        assert!(dies("case", &place.path(), case.name, Some(Step::Head), 0, 0));
        assert!(dies("repair", &place.path(), "repair", Some(Step::Slot), 0, 0));
        check_after_repairs(case, &cache, &format!("killed at store {nth} of a repair, and in the next one"), false);
    }
}
