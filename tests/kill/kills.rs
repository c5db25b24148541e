//! Kills at every step of each operation, and what the survivors find afterwards.

use crate::cases::{CASES, Case, KEY, NEW_LARGE, RENAMED, bystanders, put_bystanders, roomy, small};
use crate::common::Place;
use crate::repairs::kill_one_repair;
use crate::table::{self, Reached};
use crate::{PASSINGS, PROMISED, SEATS, STRATEGIES, by_strategy, dies, in_parallel, in_time};
use kennel::crash::Step;
use kennel::{Cache, LockStrategy, Wait};
use std::collections::BTreeSet;
use std::time::Duration;

/// The invariants after any kill: see the head of this program. Returns the time that the first read and the first
/// write took.
fn check(case: &Case, cache: &Cache, told: &str) -> Duration {
    let stats = cache.stripe_stats();
    let left = stats.iter().filter(|stripe| stripe.intent.is_some()).count() as u64;
    let repairs = cache.stats().counters.repairs;
    let (found, reading) = in_time(told, || cache.get(KEY));
    case.check_state(found.as_deref(), told);
    case.check_bystanders(cache, found.as_deref(), told);
    let (_, writing) = in_time(told, || cache.set("the next write", "goes through").unwrap());
    case.check_order(found.as_deref(), cache.get(KEY).as_deref(), told);
    cache.set(KEY, "and so on").unwrap();
    assert_eq!(cache.get(KEY).as_deref(), Some(&b"and so on"[..]), "{told}");
    // Others can get every claim of the dead process.
    let lock = cache.lock(KEY, Wait::For(Duration::from_secs(20))).unwrap();
    let verification = cache.verify();
    assert!(lock.release(), "{told}");
    assert!(verification.is_ok() && verification.unchecked.is_empty(), "{told}: {:?}", verification.problems);
    assert_eq!(cache.stats().counters.repairs, repairs + left, "{told}: an intent is repaired once");
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.intent.is_none()));
    case.put_back_bystanders(cache);
    reading + writing
}

impl Case {
    /// Checks that all other keys are unchanged. `found` is the value of [`KEY`].
    pub fn check_bystanders(&self, cache: &Cache, found: Option<&[u8]>, told: &str) {
        if self.name == "rename" && found != Some(NEW_LARGE) {
            assert_eq!(cache.get(RENAMED).as_deref(), Some(NEW_LARGE), "{told}: neither key has the value");
        }
        let lost: Vec<_> = bystanders().filter(|(key, value)| cache.get(key).as_ref() != Some(value)).collect();
        if self.name == "clear" {
            // Either all keys are lost, or none.
            assert!(if found.is_none() { lost.len() == 30 } else { lost.is_empty() }, "{told}: {}", lost.len());
        } else if self.name.starts_with("set what was cleared") {
            assert_eq!(lost.len(), 30, "{told}: cleared values came back");
        } else {
            assert!(lost.is_empty(), "{told}: lost {:?}", lost.iter().map(|(key, _)| key).collect::<Vec<_>>());
        }
    }

    /// Restores the keys for the next checks.
    pub fn put_back_bystanders(&self, cache: &Cache) {
        if self.name == "clear" {
            put_bystanders(cache);
        }
    }

    fn check_state(&self, found: Option<&[u8]>, told: &str) {
        let is_state = self.states.contains(&found) || (self.may_lose && found.is_none());
        assert!(is_state, "{told}: found {:?}", found.map(String::from_utf8_lossy));
    }

    /// Once a reader has seen the later state, or that the key is lost, no reader sees the earlier state.
    fn check_order(&self, first: Option<&[u8]>, then: Option<&[u8]>, told: &str) {
        self.check_state(then, told);
        let age = |found| self.states.iter().position(|state| *state == found).unwrap_or(self.states.len());
        let shown = |found: Option<&[u8]>| found.map(|found| String::from_utf8_lossy(found).into_owned());
        assert!(age(then) >= age(first), "{told}: went back from {:?} to {:?}", shown(first), shown(then));
    }
}

/// A death and its consequences.
struct Death {
    reached: Reached,
    /// How long the survivor took to go on.
    took: Duration,
    /// Whether the process that repaired was killed, too.
    was_second: bool,
}

/// Kills a child at every step of a case; if that leaves something to repair, kills the process that repairs it, too.
fn kill_everywhere(case: &'static Case, locks: &'static LockStrategy) -> Vec<Death> {
    let place = Place::in_memory();
    let cache = (case.options)().locks(locks.clone()).create(place.path()).unwrap();
    put_bystanders(&cache);
    let mut deaths = Vec::new();
    let mut number = 0;
    for &step in Step::ALL {
        for &nth in PASSINGS {
            let mut kill = || {
                (case.before)(&cache);
                number += 1;
                dies("case", &place.path(), case.name, Some(step), nth, number)
            };
            let killed = kill();
            let told = format!("{} under {locks} killed at {} {nth}: {killed}", case.name, step.name());
            let leaves_intent = cache.stripe_stats().iter().any(|stripe| stripe.intent.is_some());
            let took = check(case, &cache, &told);
            if !killed {
                break;
            }
            // At another store of the repair each time.
            let was_second = leaves_intent && kill() && kill_one_repair(case, &cache, &told, deaths.len() as u64);
            deaths.push(Death { reached: Reached { operation: case.name, locks, step }, took, was_second });
        }
    }
    assert!(cache.stats().members <= SEATS);
    deaths
}

#[test]
fn a_kill_at_any_step_of_an_operation_is_repaired() {
    let deaths = in_parallel(&by_strategy(CASES), |(case, locks)| kill_everywhere(case, locks));
    let reached: Vec<_> = deaths.iter().map(|death| death.reached).collect();
    let operations: Vec<_> = CASES.iter().map(|case| case.name).collect();
    table::compare(&operations, &reached);
    for (locks, promised) in STRATEGIES.iter().zip(PROMISED) {
        let here: Vec<_> = deaths.iter().filter(|death| death.reached.locks.name() == locks.name()).collect();
        let mut waits: Vec<_> = here.iter().map(|death| death.took).collect();
        waits.sort();
        let (half, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        println!(
            "the next read and write after {} deaths under {locks}: half within {half:?}, all within {longest:?}",
            waits.len()
        );
        assert!(half <= promised, "under {locks}: {half:?}, not within {promised:?}");
        let seconds = here.iter().filter(|death| death.was_second).count();
        println!("after {seconds} of them the repair was killed, too");
        assert!(seconds > here.len() / 4, "{seconds} second deaths prove too little");
    }
}

#[test]
fn the_keys_of_a_bucket_that_a_killed_writer_left_are_listed() {
    let place = Place::in_memory();
    let cache = roomy().create(place.path()).unwrap();
    put_bystanders(&cache);
    small(&cache);
    assert!(dies("case", &place.path(), "overwrite large", Some(Step::Slot), 0, 0));
    // The scan comes first: no read or write has touched the bucket.
    let listed: BTreeSet<_> = cache.keys().collect();
    let expected: BTreeSet<_> =
        bystanders().map(|(key, _)| key).chain([KEY.to_owned()]).map(String::into_bytes).collect();
    let missed: Vec<_> = BTreeSet::difference(&expected, &listed).map(|key| String::from_utf8_lossy(key)).collect();
    assert!(missed.is_empty() && listed.len() == 31, "{missed:?}");
}
