//! Copies of changed buckets under the lock of their stripe.

use super::Engine;
use crate::store::stripe_guard::HolderId;
use crate::store::transfer::Transfer;

const KEYS: u32 = 40;

#[test]
fn changed_buckets_of_a_locked_stripe_are_copied_a_few_at_a_time() {
    let (old, new) = (Engine::new(8192, 64), Engine::new(16384, 64));
    let set = |n: u32, value: &[u8]| _ = old.set(&n.to_le_bytes(), value);
    (0..KEYS).for_each(|n| set(n, b"first"));
    let who = HolderId { seat: 0, pid: 1, nonce: 2 };
    let mut transfer = Transfer::new(&old.store, &new.store, &old.now_ms, &who);
    transfer.copy_all().unwrap();
    (0..KEYS).filter(|n| n % 2 == 0).for_each(|n| set(n, b"second"));
    assert!(old.delete(&1u32.to_le_bytes()));

    let (mut bucket, mut holds) = (0, Vec::new());
    while bucket < old.store.geometry.buckets {
        holds.push(transfer.copy_locked(&old.enter(), &mut bucket, || true).unwrap());
    }
    // The last hold may find that nothing is left.
    assert!(holds.len() > 3 && holds[..holds.len() - 1].iter().all(|&copied| copied == 1), "{holds:?}");
    for n in 0..KEYS {
        assert_eq!(new.get(&n.to_le_bytes()), old.get(&n.to_le_bytes()), "key {n}");
    }
    let mut again = 0;
    assert_eq!(transfer.copy_locked(&old.enter(), &mut again, || true).unwrap(), 0, "all of it is copied");
    assert_eq!(again, old.store.geometry.buckets);
}
