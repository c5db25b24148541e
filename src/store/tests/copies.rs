//! Copies of changed buckets under the lock of their stripe.

use super::Engine;
use crate::store::stripe_guard::HolderId;
use crate::store::transfer::Transfer;
use crate::store::verify::check;

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

/// The file is opened to writers in between, so what was finished may change again.
#[test]
fn a_stripe_is_finished_in_as_many_turns_as_its_changes_need() {
    let (old, new) = (Engine::new(8192, 64), Engine::new(16384, 64));
    let set = |n: u32, value: &[u8]| _ = old.set(&n.to_le_bytes(), value);
    (0..KEYS).for_each(|n| set(n, b"first"));
    let who = HolderId { seat: 0, pid: 1, nonce: 2 };
    let mut transfer = Transfer::new(&old.store, &new.store, &old.now_ms, &who);
    transfer.copy_all().unwrap();
    (0..KEYS).for_each(|n| set(n, b"second"));

    let (mut turns, mut left) = (1, 3);
    while !transfer.finish_stripe(&old.enter(), &mut left).unwrap() {
        assert_eq!(left, 0, "it ends early for one reason only");
        set(turns, b"third");
        (turns, left) = (turns + 1, 3);
    }
    assert!(turns > 3, "in {turns} turns");
    for n in 0..KEYS {
        assert_eq!(new.get(&n.to_le_bytes()), old.get(&n.to_le_bytes()), "key {n}");
    }
}

/// Beside writers that never pause a bucket is copied many times. No other item may leave the new file for that.
#[test]
fn a_value_that_is_copied_again_takes_the_place_of_the_one_before() {
    let (old, new) = (Engine::new(8192, 64), Engine::new(8192, 64));
    let set = |n: u32, value: &[u8]| _ = old.set(&n.to_le_bytes(), value);
    (0..KEYS).for_each(|n| set(n, b"first"));
    let who = HolderId { seat: 0, pid: 1, nonce: 2 };
    let mut transfer = Transfer::new(&old.store, &new.store, &old.now_ms, &who);
    transfer.copy_all().unwrap();
    for round in 0..200 {
        set(0, format!("{round:05}").as_bytes());
        assert!(transfer.copy_changed().unwrap() > 0);
    }
    for n in 0..KEYS {
        assert_eq!(new.get(&n.to_le_bytes()), old.get(&n.to_le_bytes()), "key {n}");
    }
    let (records, mut problems) = check(&new.store.snapshot(0), 0);
    // They come last, with the other counters.
    problems.retain(|problem| problem.invariant != "stamps");
    assert_eq!((new.store.live(0), records), (u64::from(KEYS), u64::from(KEYS)));
    assert!(problems.is_empty(), "{problems:#?}");
}
