//! Models of tags: an invalidation beside a write, a read, and a creator that names its tags at the end.

use super::{Arc, AtomicU64, Engine, Ordering, checker, thread, value};
use crate::shm::layout::{Geometry, NAMESPACE_LEN, Shape, at};
use crate::shm::memory::Heap;
use crate::store::claim::{Claimant, Claimed, Kind, Owner};
use crate::store::epochs::{Invalidation, NamespaceEpochs};
use crate::store::record::{Metadata, NewRecord, RecordEpochs};
use crate::store::table::Store;
use crate::sync::locks::ModelLock;
use std::collections::BTreeSet;
use std::sync::Mutex;

const KEY: &[u8] = b"key";
const TAG: u16 = 7;
const EPOCHS: RecordEpochs = RecordEpochs { cache: 0, namespace: 0 };

/// What was seen over all interleavings: a model that misses an outcome has not tried everything.
type Seen = std::sync::Arc<Mutex<BTreeSet<(u64, bool)>>>;

fn tagged_engine() -> Arc<Engine> {
    let shape = Shape { capacity: 2048, mean_item: 130, tags: 64, ..Shape::SMALL };
    let geometry = Geometry::new(shape).unwrap();
    let parts = [
        (at!(boot_id), 64),
        (at!(tag_clock), 64),
        (geometry.namespaces_at, NAMESPACE_LEN),
        (geometry.tags_at + u64::from(TAG) * 8, 8),
        (geometry.stripe(0), geometry.stripe_len),
        (geometry.bucket(0, 0), geometry.buckets * 64),
        (geometry.arena(0), shape.capacity),
    ];
    Arc::new(Engine { store: Store { mem: Heap::of_parts(&parts), geometry, seed: 11 }, lock: ModelLock::new() })
}

impl Engine {
    fn tagged<'a>(&self, value: &'a [u8], tag_clock: u64) -> NewRecord<'a> {
        let tags = [TAG].into_iter().collect();
        let metadata = Metadata { tags, tag_clock, ..Metadata::default() };
        NewRecord::new(self.store.key(KEY), value, 0, metadata.if_any())
    }

    /// Stores a value as a write does: it loads the clock before it locks the stripe. Returns the clock.
    fn set_tagged(&self, word: u64) -> u64 {
        let (clock, value) = (self.store.tag_clock(), value(word, 1));
        let mut stripe = self.enter();
        let draft = self.tagged(&value, clock);
        let entry = stripe.find(&draft.key);
        stripe.put(&draft, entry.as_ref(), EPOCHS);
        clock
    }

    fn invalidate(&self) {
        self.store.invalidate_tags(&[TAG], Invalidation::Hard);
    }

    /// The value that a look finds; `None` as well while a writer is at work.
    fn found(&self) -> Option<u64> {
        self.lookup(KEY).flatten().map(|(word, _)| word)
    }
}

#[test]
fn loom_an_invalidation_of_a_tag_covers_what_was_begun_before_it() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = tagged_engine();
        engine.set_tagged(1);
        let other = engine.clone();
        // A read in this thread beside the write would take a hundred times as many executions.
        let invalidator = thread::spawn(move || other.invalidate());
        let clock = engine.set_tagged(2);
        invalidator.join().unwrap();
        let found = engine.lookup(KEY).expect("nobody writes");
        assert_eq!(found, (clock == 1).then_some((2, 2)), "found if and only if it was begun after the invalidation");
        in_model.lock().unwrap().insert((clock, found.is_some()));
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([(0, false), (1, true)]));
}

/// The creator claims the key, and learns the tag of its value only when it has one.
#[test]
fn loom_a_creator_that_names_its_tags_at_the_end_stores_nothing_old() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = tagged_engine();
        let other = engine.clone();
        let invalidator = thread::spawn(move || other.invalidate());
        let (epochs, clock, namespace) = (engine.store.epochs(), engine.store.tag_clock(), NamespaceEpochs::default());
        let owner = Owner { member: 1, task: 0 };
        let by = Claimant { kind: Kind::Create, owner, now_ms: 0, max_age: 0, epochs, namespace };
        let claimed = engine.enter().claim(&engine.store.key(KEY), &by, &[]);
        let Claimed::Mine(claim_id, _) = claimed else { panic!("nobody else creates the key") };
        let made = value(1, 1);
        let is_stored = engine.enter().store_claimed(&claim_id, &engine.tagged(&made, clock), None, EPOCHS).is_some();
        assert!(is_stored || clock == 0, "only an invalidation voids it");
        invalidator.join().unwrap();
        assert!(!engine.store.is_claim_held(&claim_id), "waiters go on");
        assert_eq!(engine.found().is_some(), clock == 1);
        in_model.lock().unwrap().insert((clock, is_stored));
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([(0, false), (0, true), (1, true)]));
}

/// The creator reads from elsewhere what it makes the value from.
#[test]
fn loom_a_creator_that_loads_the_new_clock_sees_what_came_before_the_invalidation() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let (engine, elsewhere) = (tagged_engine(), Arc::new(AtomicU64::new(1)));
        let (other, source) = (engine.clone(), elsewhere.clone());
        let invalidator = thread::spawn(move || {
            source.store(2, Ordering::Relaxed);
            other.invalidate();
        });
        let clock = engine.store.tag_clock();
        let read = elsewhere.load(Ordering::Relaxed);
        assert!(clock == 0 || read == 2, "an old value with the new clock");
        invalidator.join().unwrap();
        in_model.lock().unwrap().insert((clock, read == 2));
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([(0, false), (0, true), (1, true)]));
}

#[test]
fn loom_who_finds_a_value_invalidated_stores_one_that_lives() {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = tagged_engine();
        engine.set_tagged(1);
        let other = engine.clone();
        let invalidator = thread::spawn(move || other.invalidate());
        let is_gone = engine.found().is_none();
        let clock = engine.set_tagged(2);
        assert!(!is_gone || clock == 1, "the clock is older than the invalidation that was seen");
        invalidator.join().unwrap();
        assert_eq!(engine.found(), (clock == 1).then_some(2));
        in_model.lock().unwrap().insert((clock, is_gone));
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([(0, false), (1, false), (1, true)]));
}
