//! Claims: held, ended, taken over, and left behind by a claimant that died at any step.

use super::{Engine, die_at};
use crate::shm::layout::at;
use crate::shm::{Memory, Step};
use crate::store::NamespaceEpochs;
use crate::store::claim::{ClaimId, Claimant, Claimed, End, Kind, Owner};
use crate::store::epochs::Invalidation;
use crate::store::record::NewRecord;
use crate::store::rest::Rest;
use std::collections::HashMap;

impl Engine {
    fn claim_as(&self, key: &[u8], member: u64, kind: Kind, dead: &[u64]) -> Claimed {
        let mut stripe = self.enter();
        let (epochs, namespace) = (self.store.epochs(), NamespaceEpochs::default());
        let by =
            Claimant { kind, owner: Owner { member, task: 1 }, now_ms: self.now_ms, max_age: 10, epochs, namespace };
        stripe.claim(&self.store.key(key), &by, dead)
    }

    fn claim(&self, key: &[u8], member: u64) -> Claimed {
        self.claim_as(key, member, Kind::Create, &[])
    }

    fn store_created(&self, key: &[u8], claim_id: &ClaimId, value: &[u8]) -> bool {
        let mut stripe = self.enter();
        let key = self.store.key(key);
        let epochs = stripe.epochs_for(self.store.epochs(), NamespaceEpochs::default());
        let draft = NewRecord::new(key, value, 0, None);
        let entry = stripe.find(&key);
        stripe.store_claimed(claim_id, &draft, entry.as_ref(), epochs).is_some()
    }
}

fn mine(claimed: Claimed) -> ClaimId {
    let Claimed::Mine(claim_id, _) = claimed else { panic!("no other owner claims the key: {claimed:?}") };
    claim_id
}

#[test]
fn alone_a_claim_is_held_until_it_ends() {
    let engine = Engine::new(16 << 10, 40);
    let claim_id = mine(engine.claim(b"key", 1));
    assert_eq!(engine.claim(b"key", 2), Claimed::Held(claim_id, Owner { member: 1, task: 1 }));
    assert!(engine.store_created(b"key", &claim_id, b"value"));
    assert_eq!(engine.get(b"key").unwrap(), b"value");
    assert!(!engine.store.is_claim_held(&claim_id) && !engine.store.end_claim(&claim_id, End::Failed));
    assert!(!engine.store_created(b"key", &claim_id, b"again"));
    // There are two claim slots. A third claimant learns who holds them, and the slots of dead members become free.
    let (first, second) = (mine(engine.claim(b"a", 1)), mine(engine.claim(b"b", 2)));
    assert!(matches!(engine.claim(b"c", 3), Claimed::Full(held) if held.len() == 2));
    engine.verify();
    let third = mine(engine.claim_as(b"c", 3, Kind::Lock, &[2]));
    assert!(engine.store.is_claim_held(&first) && !engine.store.is_claim_held(&second));
    engine.set(b"c", b"value");
    assert!(engine.store.is_claim_held(&third), "nothing voids a lock");
    engine.verify();
}

#[test]
fn alone_a_claim_that_grew_too_old_is_taken_over() {
    let mut engine = Engine::new(16 << 10, 40);
    let old = mine(engine.claim(b"key", 1));
    engine.now_ms += 1_000;
    assert!(matches!(engine.claim(b"key", 2), Claimed::Held(..)));
    engine.now_ms += 1;
    let new = mine(engine.claim(b"key", 2));
    assert!(!engine.store_created(b"key", &old, b"old") && engine.store_created(b"key", &new, b"new"));
}

#[test]
fn alone_a_slot_is_not_used_again_while_its_end_matters() {
    let engine = Engine::new(16 << 10, 40);
    let refused = mine(engine.claim(b"key", 1));
    engine.store.end_claim(&refused, End::NotStored);
    let other = mine(engine.claim(b"other", 1));
    assert!(engine.store.was_not_stored(&refused));
    engine.store.end_claim(&other, End::Done);
    let failed = mine(engine.claim(b"other", 1));
    engine.store.end_claim(&failed, End::Failed);
    assert!(engine.store.was_not_stored(&refused) && !engine.store.was_not_stored(&other));
    // Of two slots whose ends matter the older one is used.
    let _ = mine(engine.claim(b"third", 1));
    assert!(!engine.store.was_not_stored(&refused) && engine.store.has_failed(&failed));
}

impl Engine {
    fn rest(&self, claim_id: &ClaimId, failures: u8, length_ms: u64) -> bool {
        self.enter().rest(claim_id, Rest::new(failures, self.now_ms, length_ms))
    }

    fn left_ms(&self, key: &[u8]) -> Option<u64> {
        self.store.rest_seen(&self.store.key(key), self.now_ms)
    }
}

#[test]
fn alone_a_key_rests_and_its_failures_are_remembered() {
    let mut engine = Engine::new(16 << 10, 40);
    let failed = mine(engine.claim(b"key", 1));
    engine.rest(&failed, 1, 1_000);
    assert!(engine.store.has_failed(&failed) && !engine.store.is_claim_held(&failed));
    assert_eq!((engine.claim(b"key", 2), engine.left_ms(b"key")), (Claimed::Resting(1_000), Some(1_000)));
    assert_eq!(engine.left_ms(b"other"), None);
    // A lock does not concern creators, and a rest does not concern locks.
    let lock = mine(engine.claim_as(b"key", 1, Kind::Lock, &[]));
    engine.verify();
    assert!(engine.store.end_claim(&lock, End::Done));
    engine.verify();
    engine.now_ms += 999;
    assert_eq!(engine.claim(b"key", 2), Claimed::Resting(1));
    engine.now_ms += 1;
    assert_eq!(engine.left_ms(b"key"), None);
    let Claimed::Mine(again, 1) = engine.claim(b"key", 2) else { panic!("the rest is over, and its failure counts") };
    engine.rest(&again, 2, 2_000);
    engine.now_ms += 4_000;
    assert!(matches!(engine.claim(b"key", 2), Claimed::Mine(_, 0)), "the failures are forgotten");
    engine.verify();
}

#[test]
fn alone_a_rest_ends_by_a_write_a_deletion_or_an_invalidation() {
    let ends: [fn(&Engine); 3] = [
        |engine| assert!(engine.set(b"key", b"value") > 0),
        |engine| engine.enter().void(&engine.store.key(b"key")),
        |engine| {
            assert!(engine.store.raise_epoch(0, Invalidation::Soft));
            engine.store.void_outdated();
        },
    ];
    for end in ends {
        let engine = Engine::new(16 << 10, 40);
        let failed = mine(engine.claim(b"key", 1));
        engine.rest(&failed, 1, 60_000);
        end(&engine);
        assert_eq!(engine.left_ms(b"key"), None);
        assert!(!engine.store.has_failed(&failed) && matches!(engine.claim(b"key", 2), Claimed::Mine(_, 0)));
        engine.verify();
    }
    // A claim that is void when its creation fails does not rest.
    let engine = Engine::new(16 << 10, 40);
    let failed = mine(engine.claim(b"key", 1));
    assert!(engine.store.raise_epoch(0, Invalidation::Hard));
    assert!(!engine.rest(&failed, 1, 60_000));
    assert_eq!(engine.left_ms(b"key"), None);
}

#[test]
fn alone_rests_give_their_slots_to_claims_the_oldest_first() {
    let engine = Engine::new(16 << 10, 40);
    for key in [&b"a"[..], b"b"] {
        engine.rest(&mine(engine.claim(key, 1)), 1, 60_000);
    }
    assert!(engine.left_ms(b"a").is_some() && engine.left_ms(b"b").is_some());
    let claim_id = mine(engine.claim(b"c", 1));
    assert!(engine.left_ms(b"a").is_none() && engine.left_ms(b"b").is_some());
    engine.store.end_claim(&claim_id, End::Done);
    engine.verify();
    // Once nothing is remembered, a write looks at no claim.
    let mut later = engine;
    later.now_ms += 200_000;
    let claim_id = mine(later.claim(b"d", 1));
    assert!(later.store_created(b"d", &claim_id, b"value"));
    assert_eq!(later.word(at!(Stripe.claims_used)), 0);
}

/// Damage, or the clock of another host, cannot keep a key at rest.
#[test]
fn alone_a_rest_without_a_sensible_end_is_over() {
    let engine = Engine::new(16 << 10, 40);
    engine.rest(&mine(engine.claim(b"key", 1)), 1, 1_000);
    let started = engine.store.geometry.claim(0, 0) + at!(Claim.started);
    for word in [u64::MAX, engine.store.mem.word(started).get() + 1_001, 0] {
        engine.store.mem.word(started).set(Step::ClaimRest, word);
        assert_eq!(engine.left_ms(b"key"), None, "{word:#x}");
    }
    engine.store.mem.word(started).set(Step::ClaimRest, u64::MAX);
    assert!(matches!(engine.claim(b"key", 2), Claimed::Mine(_, 0)));
    engine.verify();
}

/// A claimant dies at each of its steps. Once its death is known, the next claimant can claim the key.
#[test]
fn a_death_at_every_step_of_a_claim_leaves_the_key_to_the_next() {
    let mut seen: HashMap<Step, u32> = HashMap::new();
    for nth in 0.. {
        let engine = Engine::new(16 << 10, 40);
        let creates = |engine: &Engine| {
            let claim_id = mine(engine.claim(b"key", 1));
            assert!(engine.store_created(b"key", &claim_id, b"of the dead"));
            let claim_id = mine(engine.claim(b"other", 1));
            engine.set(b"other", b"voided");
            assert!(!engine.store.end_claim(&claim_id, End::Failed));
            let claim_id = mine(engine.claim(b"failing", 1));
            engine.rest(&claim_id, 1, 60_000);
        };
        let Some(step) = die_at(&engine, None, nth, creates) else { break };
        *seen.entry(step).or_default() += 1;
        drop(engine.enter());
        engine.verify();
        let found = engine.get(b"key");
        assert!(found.is_none() || found.as_deref() == Some(b"of the dead"));
        if !matches!(engine.claim_as(b"failing", 2, Kind::Create, &[1]), Claimed::Resting(60_000)) {
            assert_eq!(engine.left_ms(b"failing"), None);
        }
        for key in [&b"key"[..], b"other"] {
            let claim_id = mine(engine.claim_as(key, 2, Kind::Create, &[1, 2]));
            assert!(engine.store_created(key, &claim_id, b"of the next"));
            assert_eq!(engine.get(key).unwrap(), b"of the next");
        }
        engine.verify();
    }
    for step in [Step::ClaimCount, Step::ClaimFields, Step::ClaimTake, Step::ClaimEnd, Step::ClaimRest, Step::Slot] {
        assert!(seen.contains_key(&step), "no death at {step:?}: {seen:?}");
    }
}
