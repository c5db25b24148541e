//! A model of a value that says in which namespace a key lies, and of a word with that value's number, as a near tier
//! of a cluster uses them. A thread that changes the value flushes the namespaces that the change concerns, stores the
//! new value, and raises the word.

use super::{
    Arc, ClaimId, Claimant, Engine, FIRST, Invalidation, Kind, Metadata, NamespaceEpochs, NewRecord, Owner,
    RecordEpochs, checker, thread, value,
};
use std::collections::BTreeSet;
use std::sync::Mutex;

const MAP: &[u8] = b"map";
const KEY: &[u8] = b"key";
/// The first map, by which the key lies elsewhere, and the second, by which it lies in the namespace.
const ELSEWHERE: u64 = 1;
const HERE: u64 = 2;
const NAMESPACE: u16 = 1;

/// The map that a read used, and the number that the read had loaded before; `None`: the map was being written.
type Seen = std::sync::Arc<Mutex<BTreeSet<Option<(u64, u64)>>>>;

/// What the namespace has from the time when the key lay in it once before.
#[derive(Clone, Copy)]
enum Old {
    Value,
    /// A fill that is not stored yet.
    Fill,
}

impl Engine {
    fn number(&self) -> u64 {
        self.store.callers_word(FIRST, 0).unwrap()
    }

    fn store_map(&self, map: u64) {
        self.set(MAP, &value(map, 1));
        self.store.raise_callers_word(FIRST, 0, map);
    }

    fn of_namespace<'a>(&self, value: &'a [u8]) -> NewRecord<'a> {
        NewRecord::new(self.store.key(KEY), value, 0, Some(Metadata { namespace: NAMESPACE, ..Metadata::default() }))
    }

    /// Leaves an old value, or the claim of a fill that has fetched one.
    fn leave(&self, old: Old) -> Option<(ClaimId, RecordEpochs)> {
        let (cache, namespace) = (self.store.epochs(), self.store.namespace_now(NAMESPACE));
        let epochs = RecordEpochs { cache: cache.current(), namespace: namespace.epochs().current() };
        let mut stripe = self.enter();
        let by = Claimant {
            kind: Kind::Create,
            owner: Owner { member: 1, task: 0 },
            now_ms: 0,
            max_age: 0,
            epochs: cache,
            namespace,
        };
        match old {
            Old::Value => {
                stripe.put(&self.of_namespace(&value(7, 1)), None, epochs);
                None
            }
            Old::Fill => match stripe.claim(&self.store.key(KEY), &by, &[]) {
                super::Claimed::Mine(claim_id, _) => Some((claim_id, epochs)),
                other => panic!("{other:?}"),
            },
        }
    }

    fn store_fill(&self, claim_id: &ClaimId, epochs: RecordEpochs) {
        let mut stripe = self.enter();
        let entry = stripe.find(&self.store.key(KEY));
        stripe.store_claimed(claim_id, &self.of_namespace(&value(7, 1)), entry.as_ref(), epochs);
    }

    /// The map changes: the key lies in the namespace from now on.
    fn move_here(&self) {
        assert!(self.store.raise_epoch(NAMESPACE, Invalidation::Hard));
        self.store_map(HERE);
    }

    /// A process without a copy of the map reads the key.
    fn route(&self, seen: &Seen) {
        let number = self.number();
        let Some(found) = self.lookup(MAP) else {
            seen.lock().unwrap().insert(None);
            return;
        };
        let (map, _) = found.expect("a map is stored before its number");
        assert!(map >= number, "the map {map} after the number {number}");
        // The writer of the map may have been killed before it raised the word, or may be about to raise it.
        self.store.raise_callers_word(FIRST, 0, map);
        if map == HERE {
            let value = self.lookup(KEY).flatten();
            assert_eq!(value, None, "a value from before the key came here");
        }
        seen.lock().unwrap().insert(Some((map, number)));
    }
}

fn readers_beside_a_change(old: Old) {
    let seen = Seen::default();
    let in_model = seen.clone();
    let mut checker = checker();
    checker.preemption_bound = Some(2);
    checker.check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        engine.store_map(ELSEWHERE);
        let fill = engine.leave(old);
        let (changing, reading, seen) = (engine.clone(), engine.clone(), in_model.clone());
        let changer = thread::spawn(move || changing.move_here());
        let of_reader = seen.clone();
        let reader = thread::spawn(move || reading.route(&of_reader));
        if let Some((claim_id, epochs)) = fill {
            engine.store_fill(&claim_id, epochs);
        }
        changer.join().unwrap();
        reader.join().unwrap();
        engine.route(&seen);
    });
    let seen = seen.lock().unwrap();
    for outcome in [None, Some((ELSEWHERE, ELSEWHERE)), Some((HERE, ELSEWHERE)), Some((HERE, HERE))] {
        assert!(seen.contains(&outcome), "{outcome:?} was not reached, only {seen:?}");
    }
}

#[test]
fn loom_who_goes_by_a_new_map_finds_no_value_from_before_it() {
    readers_beside_a_change(Old::Value);
}

#[test]
fn loom_who_goes_by_a_new_map_finds_no_fill_from_before_it() {
    readers_beside_a_change(Old::Fill);
}

impl Engine {
    /// Adds a bit to the map; the number of the map in which it is. A map is `number << 8 | bits`.
    fn add_to_map(&self, bit: u64) -> u64 {
        loop {
            let number = self.number();
            let Some(found) = self.lookup(MAP) else {
                thread::yield_now();
                continue;
            };
            let (map, _) = found.unwrap();
            let next = (map >> 8).max(number) + 1;
            let mut stripe = self.enter();
            let entry = stripe.find(&self.store.key(MAP));
            if self.lookup(MAP) == Some(found) {
                let text = value(next << 8 | map & 0xff | bit, 1);
                let record = NewRecord::new(self.store.key(MAP), &text, 0, None);
                stripe.put(&record, entry.as_ref(), RecordEpochs { cache: 0, namespace: 0 });
                drop(stripe);
                if self.store.raise_callers_word(FIRST, 0, next).unwrap() < next {
                    return next;
                }
            }
        }
    }
}

#[test]
fn loom_two_who_change_a_map_lose_nothing() {
    let mut checker = checker();
    checker.preemption_bound = Some(2);
    checker.check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        engine.set(MAP, &value(1 << 8, 1));
        engine.store.raise_callers_word(FIRST, 0, 1);
        let other = engine.clone();
        let other = thread::spawn(move || other.add_to_map(1));
        let mine = engine.add_to_map(2);
        assert_ne!(mine, other.join().unwrap(), "two maps of one number");
        let (map, _) = engine.lookup(MAP).unwrap().unwrap();
        assert_eq!((map & 0xff, map >> 8), (3, engine.number()), "the last map has both changes and the number");
    });
}
