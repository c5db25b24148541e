//! Models of the closing of a file, beside writers that lock a stripe and beside invalidations, which lock nothing.

use super::{Engine, FIRST, Seen, checker};
use crate::shm::atomics::checker::sync::Arc;
use crate::shm::atomics::checker::thread;
use crate::store::Invalidation;

/// What the process that closed the file copies is complete, or the other thread knows that it must repeat its change
/// in the successor.
fn beside_a_closing(change: fn(&Engine) -> bool, is_copied: fn(&Engine) -> bool) {
    let found = Seen::default();
    let in_model = found.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        let other = engine.clone();
        let changing = thread::spawn(move || change(&other));
        engine.store.close().unwrap();
        // A pass of all stripes.
        drop(engine.lock.lock());
        let (is_copied, holds) = (is_copied(&engine), changing.join().unwrap());
        assert!(is_copied || !holds, "a change of the old file that the new one lacks");
        in_model.lock().unwrap().insert(Some(u64::from(is_copied) << 1 | u64::from(holds)));
    });
    let found = found.lock().unwrap();
    assert!(found.contains(&Some(3)) && found.contains(&Some(0)), "both outcomes are reached: {found:?}");
}

#[test]
fn loom_a_write_beside_a_closing_is_copied_or_refused() {
    let write = |engine: &Engine| {
        let _lock = engine.lock.lock();
        let is_open = engine.store.mark_dirty().is_ok();
        if is_open {
            engine.store.raise_callers_word(FIRST, 0, 7);
        }
        is_open
    };
    beside_a_closing(write, |engine| engine.store.callers_word(FIRST, 0) == Some(7));
}

#[test]
fn loom_an_invalidation_beside_a_closing_is_copied_or_repeated() {
    let invalidate = |engine: &Engine| {
        assert!(engine.store.raise_epoch(0, Invalidation::Hard));
        engine.store.mark_dirty().is_ok()
    };
    beside_a_closing(invalidate, |engine| engine.store.epochs().hard() != 0);
}

#[test]
fn loom_a_word_raised_beside_a_closing_is_copied_or_raised_again() {
    let raise = |engine: &Engine| {
        engine.store.raise_callers_word(FIRST, 0, 7);
        engine.store.must_have_been_open().is_ok()
    };
    beside_a_closing(raise, |engine| engine.store.callers_word(FIRST, 0) == Some(7));
}
