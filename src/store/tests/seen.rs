//! Writes that look at the index before they have the lock, and that check the ends of the rings only if they use them.

use super::super::find::Entry;
use super::super::record::RecordEpochs;
use super::*;

/// The entry that a writer finds if it looked at the index before `meanwhile` ran, and got the lock after it.
fn found_after(engine: &Engine, key: &[u8], meanwhile: impl FnOnce(&Engine)) -> Option<Entry> {
    let key = engine.store.key(key);
    let seen = engine.store.see_record(engine.store.bucket_view(&key));
    meanwhile(engine);
    let stripe = engine.enter();
    let found = stripe.find_seen(&seen, engine.store.bucket_of(&key), &key);
    let now = stripe.find(&key);
    assert_eq!(
        found.map(|entry| (entry.slot_at, entry.slot, entry.at)),
        now.map(|now| (now.slot_at, now.slot, now.at))
    );
    found
}

/// A `set` as the interface makes it.
fn set_seen(engine: &Engine, key: &[u8], value: &[u8]) {
    let key = engine.store.key(key);
    let seen = engine.store.see_record(engine.store.bucket_view(&key));
    let seats = Seats { mem: &engine.store.mem, geometry: &engine.store.geometry };
    let lock = engine.locks.lock(seats, 0, Duration::ZERO).unwrap();
    let who = HolderId { seat: 7, pid: 8, nonce: 9 };
    let put = |stripe: &mut StripeGuard<'_, Arc<Heap>>| {
        let entry = stripe.find_seen(&seen, engine.store.bucket_of(&key), &key);
        stripe.put(&NewRecord::new(key, value, 0, None), entry.as_ref(), RecordEpochs { cache: 0, namespace: 0 });
    };
    StripeGuard::within_to_put(&engine.store, engine.store.stripe_head(0), &engine.now_ms, &who, lock, put).unwrap();
}

#[test]
fn a_look_from_before_the_lock_finds_what_is_there_under_it() {
    let engine = Engine::new(8 << 10, 40);
    assert!(found_after(&engine, b"key", |_| {}).is_none());
    assert!(found_after(&engine, b"key", |engine| _ = engine.set(b"key", b"new")).is_some());
    let old = found_after(&engine, b"key", |_| {}).unwrap();
    let marked = found_after(&engine, b"key", |engine| _ = engine.get(b"key")).unwrap();
    assert!(
        marked.slot != old.slot && marked.slot.same(old.slot),
        "the mark of a read is seen, and changes nothing else"
    );
    let same = found_after(&engine, b"key", |engine| _ = engine.set(b"key", b"due"));
    assert_eq!(same.unwrap().at, old.at, "overwritten in place");
    let moved = found_after(&engine, b"key", |engine| _ = engine.set(b"key", &[1; 300])).unwrap();
    assert_ne!(moved.at, old.at, "overwritten elsewhere");
    // The record lies at the first position of the ring, to which an empty slot points, too.
    let engine = Engine::new(8 << 10, 40);
    engine.set(b"key", b"value");
    assert!(found_after(&engine, b"key", |engine| assert!(engine.delete(b"key"))).is_none(), "its record is dead");
    engine.set(b"key", b"value");
    assert!(found_after(&engine, b"key", |engine| engine.enter().empty()).is_none());
}

#[test]
fn a_look_from_before_the_lock_at_a_bucket_whose_writer_died_does_not_serve() {
    let engine = Engine::new(8 << 10, 40);
    engine.set(b"key", b"value");
    let version = engine.store.mem.word(engine.store.bucket_of(&engine.store.key(b"key")));
    version.set(Step::BucketOdd, version.get() | 1);
    assert!(found_after(&engine, b"key", |_| {}).is_some());
    assert_eq!(version.get() & 1, 0, "the writer made the bucket even");
}

/// A position behind the head belongs to no ring, so the first write after the damage makes room; in the other ring
/// nothing needs room before the second one.
#[test]
fn ends_of_rings_that_cannot_be_right_matter_when_room_is_made() {
    for (field, end, left) in [(at!(Stripe.small_tail), 1 << 40, true), (at!(Stripe.main_head), u64::MAX, false)] {
        let engine = Engine::new(8 << 10, 40);
        set_seen(&engine, b"before", b"value");
        set_seen(&engine, b"key", b"value");
        engine.store.stripe_word(0, field).set(Step::Head, end);
        set_seen(&engine, b"key", b"other");
        assert_eq!(engine.get(b"key").as_deref(), Some(&b"other"[..]));
        set_seen(&engine, b"new", b"value");
        assert_eq!(engine.get(b"new").as_deref(), Some(&b"value"[..]));
        assert_eq!((engine.get(b"before"), engine.get(b"key").is_some()), (None, left), "the stripe was emptied");
        engine.verify();
    }
}
