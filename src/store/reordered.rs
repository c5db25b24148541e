//! Deaths between two barriers: any subset of the stores between them may have been executed.
//!
//! For repairs, the release fences of a write bound what may be lost; `docs/orderings.md` lists each fence, including
//! those for readers on other cores. Each fence was removed once, and one of these tests failed.

use super::epochs::Invalidation;
use super::intent::Intent;
use super::read::Look;
use super::tests::{Copied, Engine, Random, busy_step};
use crate::shm::layout::at;
use crate::shm::reorder::observe_barriers;
use crate::shm::{Memory, Step};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Keys of [`busy_step`].
const KEYS: u64 = 37;

/// The payload of a death at a barrier.
struct DiedAtBarrier;

/// Which of the stores between two barriers are lost.
#[derive(Clone, Copy)]
enum Lost {
    /// Each is lost with even odds.
    Some,
    /// All but about one in eight are lost: late stores were executed early.
    Most,
    /// About one in eight is lost: an early store was delayed.
    Few,
}

impl Lost {
    fn of(random: &mut Random) -> Self {
        [Lost::Some, Lost::Most, Lost::Few][random.next(3) as usize]
    }

    fn is_lost(self, random: &mut Random) -> bool {
        match self {
            Lost::Some => random.next(2) == 0,
            Lost::Most => random.next(8) != 0,
            Lost::Few => random.next(8) == 0,
        }
    }
}

/// Runs `work`, which dies before its barrier number `nth`, and returns whether it reached that barrier.
fn die_before_barrier(engine: &Engine, nth: u64, seed: u64, work: impl FnOnce(&Engine)) -> bool {
    let (mem, mut random) = (engine.store.mem.clone(), Random(seed));
    let (mut left, mut before) = (nth, (nth == 0).then(|| engine.store.mem.contents()));
    observe_barriers(Some(Box::new(move || {
        if left == 0 {
            let lost = Lost::of(&mut random);
            mem.take_back(before.as_ref().unwrap(), || lost.is_lost(&mut random));
            resume_unwind(Box::new(DiedAtBarrier));
        }
        left -= 1;
        if left == 0 {
            before = Some(mem.contents());
        }
    })));
    let end = catch_unwind(AssertUnwindSafe(|| work(engine)));
    observe_barriers(None);
    end.is_err_and(|death| death.downcast_ref::<DiedAtBarrier>().is_some() || resume_unwind(death))
}

/// The key of one `busy_step`, and its value before that step.
struct Touched {
    key: [u8; 8],
    before: Option<Vec<u8>>,
}

impl Touched {
    /// The value that a reader may have got before the repair, if a lookup gives an answer at all.
    fn seen(&self, engine: &Engine) -> Option<Vec<u8>> {
        match engine.store.lookup(&engine.store.key(&self.key), || 0, &mut Copied, false) {
            Look::Hit(value) => Some(value),
            Look::Miss | Look::Changing => None,
        }
    }

    /// Checks the value after the repair: a new value that a reader saw must not be replaced by the old one.
    fn check(&self, engine: &Engine, seen: Option<Vec<u8>>, round: u64) {
        let Some(now) = engine.peek(&self.key) else { return };
        let is_new = now.iter().all(|&byte| byte == round as u8);
        assert!(is_new || Some(&now) == self.before.as_ref(), "round {round}: neither the old value nor the new");
        let was_replaced = seen.is_some_and(|seen| Some(&seen) != self.before.as_ref());
        assert!(is_new || !was_replaced, "round {round}: the old value came back");
    }
}

/// The workload, sometimes after a clear, so that live records are counted anew.
fn work(engine: &Engine, round: u64) {
    if round.is_multiple_of(50) {
        assert!(engine.store.raise_epoch(0, Invalidation::Hard));
    }
    busy_step(engine, round);
}

/// Dies in a repair, and checks that the repair counted its attempt before anything else: otherwise a repair that kills
/// its process would be tried for ever.
fn repair_and_die(engine: &Engine, nth: u64, round: u64) {
    let attempts = at!(Stripe.repair_attempts);
    let (before, attempted) = (engine.store.mem.contents(), engine.word(attempts));
    let died = die_before_barrier(engine, nth, round, |engine| drop(engine.enter()));
    // Only at the first two barriers: later ones come after the count was reset.
    let is_begun = died && nth < 2 && before != engine.store.mem.contents();
    let is_halfway = is_begun && Intent::is_in_flight(engine.word(at!(Stripe.intent)));
    assert!(!is_halfway || engine.word(attempts) != attempted, "round {round}: an attempt was not counted");
}

#[test]
fn whatever_of_the_stores_between_two_barriers_a_death_leaves_is_repaired() {
    // Rings of several lengths and fill levels, so that ends of laps, pads and tight moves coincide in many ways.
    for (shape, (capacity, mean_item)) in
        [(8 << 10, 60), (4 << 10, 200), (6 << 10, 40), (5 << 10, 90)].into_iter().enumerate()
    {
        deaths_between_barriers(&Engine::new(capacity, mean_item), shape as u64, 1_500);
    }
}

fn deaths_between_barriers(engine: &Engine, seed: u64, rounds: u64) {
    let (mut deaths, mut random) = (0, Random(seed));
    for round in 0..rounds {
        let before: Vec<_> = (0..KEYS).map(|key| engine.peek(&key.to_le_bytes())).collect();
        let died = die_before_barrier(engine, random.next(30), round ^ seed << 32, |engine| work(engine, round));
        let touched = Touched { key: (round % KEYS).to_le_bytes(), before: before[(round % KEYS) as usize].clone() };
        let seen = touched.seen(engine);
        if died {
            deaths += 1;
            // A second death, inside the repair.
            repair_and_die(engine, random.next(10), round);
        }
        drop(engine.enter());
        engine.verify();
        touched.check(engine, seen.filter(|_| died), round);
        for (key, old) in (0..KEYS).zip(before).filter(|(key, _)| *key != round % KEYS) {
            let now = engine.peek(&key.to_le_bytes());
            assert!(now.is_none() || now == old, "round {round}: only the key being written may change, not {key}");
        }
    }
    assert!(deaths > rounds / 8, "only {deaths} deaths in {rounds} rounds");
}

/// The test above hits this window only by chance.
#[test]
fn whatever_of_a_new_count_of_live_records_a_death_leaves_is_counted_anew() {
    let engine = Engine::new(8 << 10, 60);
    let mut deaths = 0;
    for (seed, nth) in (0..8).flat_map(|nth| [nth; 40]).enumerate() {
        (0..KEYS).for_each(|round| busy_step(&engine, round));
        assert!(engine.word(at!(Stripe.live)) > 0, "no live record to forget");
        assert!(engine.store.raise_epoch(0, Invalidation::Hard));
        // The first operation after the clear restarts the count, and then does its own work.
        deaths += u64::from(die_before_barrier(&engine, nth, seed as u64, |engine| busy_step(engine, 3)));
        drop(engine.enter());
        engine.verify();
    }
    assert!(deaths > 200, "only {deaths} deaths in 320 tries");
}

#[test]
fn whatever_of_a_rebuild_a_death_leaves_the_next_one_rebuilds() {
    let engine = Engine::new(8 << 10, 60);
    (0..400).for_each(|round| busy_step(&engine, round));
    let values = || (0..KEYS).map(|key| engine.peek(&key.to_le_bytes())).collect::<Vec<_>>();
    let before = values();
    let all = engine.store.geometry.buckets * 2 + 8;
    for nth in (0..all).flat_map(|nth| [nth; 4]).enumerate().map(|(seed, nth)| (nth, seed as u64)) {
        engine.store.mem.word(at!(unverified)).set(Step::Header, 1);
        engine.store.stripe_word(0, at!(Stripe.verify_me)).set(Step::Header, 1);
        die_before_barrier(&engine, nth.0, nth.1, |engine| drop(engine.enter()));
        drop(engine.enter());
        engine.verify();
        assert_eq!(values(), before, "a death at barrier {} of the rebuild", nth.0);
    }
}
