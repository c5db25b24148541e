//! Models of looks at claims and rests without the lock, beside the owner that ends them and beside the next owner of
//! the slot.

use super::{Arc, ClaimId, Claimant, Claimed, End, Engine, Kind, NamespaceEpochs, Owner, Seen, checker, thread};
use crate::store::rest::Rest;

/// A rest that lasts from 0 to its end.
const LEFT_MS: u64 = 7_000;

fn rest_of(engine: &Engine, key: &[u8]) -> Option<u64> {
    engine.store.rest_seen(&engine.store.key(key), 0)
}

fn claimant(engine: &Engine, kind: Kind, member: u64) -> Claimant {
    let (epochs, namespace) = (engine.store.epochs(), NamespaceEpochs::default());
    Claimant { kind, owner: Owner { member, task: 0 }, now_ms: 0, max_age: 0, epochs, namespace }
}

/// Locks `other`, if the slot for claims is free.
fn lock_another_key(engine: &Engine) {
    let mut stripe = engine.enter();
    let _ = stripe.claim(&engine.store.key(b"other"), &claimant(engine, Kind::Lock, 2), &[]);
}

#[test]
fn loom_a_claim_that_is_seen_without_the_lock_is_of_one_owner() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        let Some(Ok((first, _))) = engine.claim(b"key", 1) else { panic!("no other caller creates the key") };
        // There is one slot for claims. It becomes free without the lock, and is taken for another key.
        let (ender, reader, seen) = (engine.clone(), engine.clone(), in_model.clone());
        let owner = thread::spawn(move || assert!(ender.store.end_claim(&first, End::Failed)));
        let reader = thread::spawn(move || {
            let owner = reader.store.claim_seen(&reader.store.key(b"key"), 0).map(|(_, owner)| owner.member);
            assert!(owner.is_none_or(|member| member == 1), "the claim of one key with the owner of another's");
            seen.lock().unwrap().insert(owner);
        });
        lock_another_key(&engine);
        owner.join().unwrap();
        reader.join().unwrap();
    });
    assert_eq!(*seen.lock().unwrap(), [None, Some(1)].into(), "both outcomes are reached");
}

/// Claims `key`. If a reader took the claim's word `started` for that of a rest, the rest would last five seconds.
fn claim(engine: &Engine) -> ClaimId {
    let by = Claimant { now_ms: 5_000, max_age: 200, ..claimant(engine, Kind::Create, 1) };
    let claimed = engine.enter().claim(&engine.store.key(b"key"), &by, &[]);
    let Claimed::Mine(claim_id, 0) = claimed else { panic!("no other caller creates the key: {claimed:?}") };
    claim_id
}

#[test]
fn loom_who_sees_a_rest_sees_how_long_it_lasts() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        let claim_id = claim(&engine);
        let (reader, seen) = (engine.clone(), in_model.clone());
        let reader = thread::spawn(move || {
            let left = rest_of(&reader, b"key");
            assert!(left.is_none_or(|left| left == LEFT_MS), "{left:?}");
            // A claim that was seen to rest is over.
            assert!(left.is_none() || !reader.store.is_claim_held(&claim_id));
            seen.lock().unwrap().insert(left);
        });
        engine.enter().rest(&claim_id, Rest::new(1, 0, LEFT_MS));
        reader.join().unwrap();
    });
    assert_eq!(*seen.lock().unwrap(), [None, Some(LEFT_MS)].into(), "both outcomes are reached");
}

#[test]
fn loom_a_rest_that_is_seen_without_the_lock_is_of_one_key() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        let claim_id = claim(&engine);
        engine.enter().rest(&claim_id, Rest::new(1, 0, LEFT_MS));
        let (reader, seen) = (engine.clone(), in_model.clone());
        let reader = thread::spawn(move || {
            // There is one slot for claims. It is taken for the other key, which does not rest.
            assert_eq!(rest_of(&reader, b"other"), None);
            seen.lock().unwrap().insert(rest_of(&reader, b"key"));
        });
        lock_another_key(&engine);
        reader.join().unwrap();
    });
    assert_eq!(*seen.lock().unwrap(), [None, Some(LEFT_MS)].into(), "both outcomes are reached");
}
