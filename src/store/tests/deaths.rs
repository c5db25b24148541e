//! Deaths at every step of an operation, and in the repair after it.

use super::{Engine, busy_step, die_at};
use crate::shm::layout::at;
use crate::shm::{Memory, Step};
use crate::store::NamespaceId;
use crate::store::record::NewRecord;
use crate::store::restore::Heat;
use crate::store::slot::Ring;
use std::collections::HashMap;

#[test]
fn a_death_at_every_step_is_repaired_by_the_next_holder() {
    let mut seen: HashMap<Step, u32> = HashMap::new();
    let engine = Engine::new(8 << 10, 60);
    for round in 0..4_000u64 {
        let before: Vec<_> = (0..37u64).map(|k| engine.peek(&k.to_le_bytes())).collect();
        let died = die_at(&engine, None, round % 41, |engine| busy_step(engine, round));
        if let Some(step) = died {
            *seen.entry(step).or_default() += 1;
        }
        // A second death, inside the repair.
        if let Some(step) = die_at(&engine, None, round % 13, |engine| drop(engine.enter())) {
            *seen.entry(step).or_default() += 1;
        }
        drop(engine.enter());
        engine.verify();
        let touched = (round % 37).to_le_bytes();
        for (k, old) in before.into_iter().enumerate() {
            let key = (k as u64).to_le_bytes();
            let now = engine.get(&key);
            if key != touched && now.is_some() {
                assert_eq!(now, old, "only the key being written may change");
            }
        }
    }
    for step in [Step::IntentKind, Step::Slot, Step::Head, Step::Tail, Step::Dead, Step::InPlace, Step::BucketEven] {
        assert!(seen.contains_key(&step), "no death at {}: {seen:?}", step.name());
    }
    assert!(engine.word(at!(Stripe.repaired_intent)) != 0);
}

/// An engine whose last write, `write`, died, and whose two repairs after that died too.
fn twice_repaired_in_vain(write: impl FnOnce(&Engine)) -> Engine {
    let engine = Engine::new(8 << 10, 60);
    for n in 0..40 {
        busy_step(&engine, n);
    }
    assert_eq!(die_at(&engine, Some(Step::Slot), 0, write), Some(Step::Slot));
    for _ in 0..2 {
        assert_eq!(die_at(&engine, Some(Step::Slot), 0, |engine| drop(engine.enter())), Some(Step::Slot));
    }
    engine
}

#[test]
fn the_third_repair_in_a_row_empties_the_stripe() {
    let engine = twice_repaired_in_vain(|engine| _ = engine.set(b"x", b"y"));
    drop(engine.enter());
    assert_eq!(engine.verify(), 0);
    assert_eq!(engine.word(at!(Stripe.repair_attempts)), 0);
}

/// Found by fuzzing schedules: a repair that gave up emptied the stripe, and died before it had cleared the intent that
/// it gave up. The next repair followed that intent and counted records that were gone.
#[test]
fn a_death_at_any_step_of_the_repair_that_gives_up_leaves_the_stripe_empty() {
    let mut deaths = 0;
    for nth in 0.. {
        let engine = twice_repaired_in_vain(|engine| assert!(engine.delete(&1u64.to_le_bytes())));
        let died = die_at(&engine, None, nth, |engine| drop(engine.enter()));
        drop(engine.enter());
        assert_eq!(engine.verify(), 0, "after a death at {died:?}, store {nth}");
        if died.is_none() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 20, "only {deaths} deaths");
}

#[test]
fn a_rebuild_finds_what_the_rings_hold() {
    let engine = Engine::new(32 << 10, 60);
    for n in 0..400 {
        busy_step(&engine, n);
    }
    let before: Vec<_> = (0..37u64).map(|k| engine.peek(&k.to_le_bytes())).collect();
    engine.store.mem.word(at!(unverified)).set(Step::Header, 1);
    engine.store.stripe_word(0, at!(Stripe.verify_me)).set(Step::Header, 1);
    // The next holder starts a killed rebuild again.
    assert!(die_at(&engine, Some(Step::Slot), 30, |engine| drop(engine.enter())).is_some());
    drop(engine.enter());
    engine.verify();
    let after: Vec<_> = (0..37u64).map(|k| engine.peek(&k.to_le_bytes())).collect();
    assert_eq!(before, after);
    assert_eq!(engine.store.mem.word(at!(unverified)).get(), 0);
}

/// Restores a few items into rings that are full of expired ones.
fn restore_some(engine: &Engine) {
    for n in 0..4_u64 {
        let key = (1_000 + n).to_le_bytes();
        let mut stripe = engine.enter();
        let key = engine.store.key(&key);
        let entry = stripe.find(&key);
        let epochs = stripe.epochs_now(NamespaceId::NONE);
        let heat = Heat { ring: if n % 2 == 0 { Ring::Main } else { Ring::Small }, marks: 2 };
        let value = [n as u8; 40];
        let draft = NewRecord::new(key, &value, 0, None);
        assert!(stripe.restore(&draft, entry.as_ref(), epochs, heat));
    }
}

#[test]
fn a_death_at_any_step_of_a_restore_is_repaired() {
    let mut seen: HashMap<Step, u32> = HashMap::new();
    for nth in 0.. {
        let mut engine = Engine::new(8 << 10, 60);
        for n in 0..400_u64 {
            engine.set_until(&n.to_le_bytes(), &[9; 40], engine.now_ms + 10);
        }
        engine.now_ms += 100;
        let died = die_at(&engine, None, nth, restore_some);
        drop(engine.enter());
        engine.verify();
        let found: Vec<_> = (0..4_u64).map(|n| engine.peek(&(1_000 + n).to_le_bytes())).collect();
        for (n, value) in found.iter().enumerate() {
            assert!(value.as_ref().is_none_or(|value| *value == [n as u8; 40]), "after a death at {died:?}: {value:?}");
        }
        assert!(found.is_sorted_by_key(Option::is_none), "in their order: {found:?}");
        let Some(step) = died else {
            assert!(found.iter().all(Option::is_some));
            break;
        };
        *seen.entry(step).or_default() += 1;
    }
    for step in [Step::IntentKind, Step::Slot, Step::Head, Step::Tail, Step::Dead, Step::Mark, Step::RecordBody] {
        assert!(seen.contains_key(&step), "no death at {}: {seen:?}", step.name());
    }
}
