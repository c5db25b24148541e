//! Claims: held, ended, taken over, and left behind by a claimant that died at any step.

use super::{Engine, die_at};
use crate::shm::Step;
use crate::store::NamespaceEpochs;
use crate::store::claim::{ClaimId, Claimant, Claimed, End, Kind, Owner};
use crate::store::record::NewRecord;
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
    let Claimed::Mine(claim_id) = claimed else { panic!("no other owner claims the key: {claimed:?}") };
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
    engine.store.end_claim(&other, End::Failed);
    let _ = mine(engine.claim(b"other", 1));
    assert!(engine.store.was_not_stored(&refused) && !engine.store.was_not_stored(&other));
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
        };
        let Some(step) = die_at(&engine, None, nth, creates) else { break };
        *seen.entry(step).or_default() += 1;
        drop(engine.enter());
        engine.verify();
        let found = engine.get(b"key");
        assert!(found.is_none() || found.as_deref() == Some(b"of the dead"));
        for key in [&b"key"[..], b"other"] {
            let claim_id = mine(engine.claim_as(key, 2, Kind::Create, &[1]));
            assert!(engine.store_created(key, &claim_id, b"of the next"));
            assert_eq!(engine.get(key).unwrap(), b"of the next");
        }
        engine.verify();
    }
    for step in [Step::ClaimCount, Step::ClaimFields, Step::ClaimTake, Step::ClaimEnd, Step::Slot] {
        assert!(seen.contains_key(&step), "no death at {step:?}: {seen:?}");
    }
}
