//! Models of the protocols on words for the model checkers: a lock-free reader beside one holder of the lock.
//!
//! loom runs the engine's own code through every interleaving of its loads and stores, and through every value that a
//! relaxed load may return, up to a bound of preemptions. A file far smaller than any real one keeps that finite: one
//! stripe, one bucket, rings of a few records.

use super::claim::{ClaimId, Claimant, Claimed, End, Kind, Owner};
use super::epochs::{Epochs, Invalidation, NamespaceEpochs, NamespaceId};
use super::namespace::Defaults;
use super::read::{Extract, Look, RecordRef};
use super::record::{Metadata, NewRecord, RecordEpochs};
use super::slot::Ring;
use super::stripe_guard::{HolderId, StripeGuard};
use super::table::Store;
use crate::shm::atomics::checker::{sync::Arc, thread};
use crate::shm::atomics::{AtomicU64, Ordering};
use crate::shm::layout::{Geometry, NAMESPACE_LEN, Shape, at};
use crate::shm::memory::{Heap, Row, Words};
use crate::shm::{Memory, Step};
use crate::sync::locks::ModelLock;

#[cfg(test)]
mod closing;
#[cfg(test)]
mod flushes;
#[cfg(test)]
mod looks;
#[cfg(test)]
mod maps;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod removals;
#[cfg(test)]
mod rests;
#[cfg(all(test, shuttle))]
mod schedules;
#[cfg(test)]
mod tags;

/// The first namespace, which no model but those of removals removes.
const FIRST: NamespaceId = NamespaceId::of_bits(1);

struct Engine<M = Heap> {
    store: Store<M>,
    lock: ModelLock,
}

impl Engine {
    fn new(capacity: u64, mean_item: u64) -> Self {
        Self::within(capacity, mean_item, |heap| heap)
    }
}

impl<M: Memory> Engine<M> {
    fn within(capacity: u64, mean_item: u64, memory: fn(Heap) -> M) -> Self {
        let shape = Shape { capacity, mean_item, ..Shape::SMALL };
        let geometry = Geometry::new(shape).unwrap();
        // Only the words that the engine touches: the line of the header, the stripe, its bucket and arena.
        let parts = [
            (at!(boot_id), 64),
            (geometry.namespaces_at, NAMESPACE_LEN),
            (geometry.stripe(0), geometry.stripe_len),
            (geometry.bucket(0, 0), geometry.buckets * 64),
            (geometry.arena(0), capacity),
        ];
        Self { store: Store { mem: memory(Heap::of_parts(&parts)), geometry, seed: 11 }, lock: ModelLock::new() }
    }

    fn enter(&self) -> StripeGuard<'_, M> {
        StripeGuard::enter(&self.store, 0, &0, &HolderId { seat: 0, pid: 0, nonce: 0 }, self.lock.lock()).unwrap()
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        let mut stripe = self.enter();
        let key = self.store.key(key);
        let entry = stripe.find(&key);
        stripe.put(&NewRecord::new(key, value, 0, None), entry.as_ref(), RecordEpochs { cache: 0, namespace: 0 });
    }

    /// Looks a key up once: the first and the last word of the value for a valid hit, `Some(None)` for a miss, `None`
    /// if a writer was at work.
    fn lookup(&self, key: &[u8]) -> Option<Option<(u64, u64)>> {
        let look = self.store.lookup(&self.store.key(key), || 0, &mut Ends, false);
        match look {
            Look::Hit(value) => Some(Some(value)),
            Look::Miss => Some(None),
            Look::Changing => None,
        }
    }
}

/// The first and the last word of a value.
struct Ends;

impl Extract for Ends {
    type Out = (u64, u64);

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<(u64, u64)> {
        let last = found.value_at() + found.value_len as u64 - 8;
        Some((store.mem.word(found.value_at()).get(), store.mem.word(last).get()))
    }
}

/// Tries every interleaving with at most three preemptions. What happens before the threads start counts as branches.
fn checker() -> loom::model::Builder {
    let mut checker = loom::model::Builder::new();
    checker.preemption_bound = Some(3);
    checker.max_branches = 100_000;
    checker
}

fn value(word: u64, words: usize) -> Vec<u8> {
    word.to_le_bytes().repeat(words)
}

/// A memory in which a reader looks only at the first slot of a bucket. Emptying a stripe stores to all seven, and a
/// reader may find each of them old or new: that takes a hundred times as many executions, and shows nothing more about
/// one record.
struct FirstSlots(Heap);

impl Memory for FirstSlots {
    fn row(&self, offset: u64, words: usize) -> Row<'_> {
        self.0.row(offset, words)
    }

    fn matching(words: Words<'_, 8>, pattern: u64) -> u32 {
        u32::from(words.get(1) >> 51 == pattern) << 1
    }
}

/// Runs `write` beside a reader of `key`, which may see only the words in `allowed`.
fn reader_beside(
    capacity: u64,
    before: fn(&Engine),
    write: fn(&Engine),
    key: &'static [u8],
    allowed: &'static [Option<u64>],
) {
    reader_beside_in(|heap| heap, capacity, before, write, key, allowed);
}

/// [`reader_beside`] in a memory that `memory` makes of a heap.
///
/// The writer is the first thread. loom chooses the points at which it switches threads from the last *store* before a
/// load, and it forgets another thread's load of a word if a thread loads that word itself before it stores to it.
fn reader_beside_in<M: Memory + 'static>(
    memory: fn(Heap) -> M,
    capacity: u64,
    before: fn(&Engine<M>),
    write: fn(&Engine<M>),
    key: &'static [u8],
    allowed: &'static [Option<u64>],
) {
    let seen = Seen::default();
    let in_model = seen.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::within(capacity, 130, memory));
        before(&engine);
        let (other, seen) = (engine.clone(), in_model.clone());
        let reader = thread::spawn(move || {
            let Some(read) = other.lookup(key) else { return };
            let word = read.map(|(first, last)| {
                assert_eq!(first, last, "a torn value");
                first
            });
            assert!(allowed.contains(&word), "{word:?} is not in {allowed:?}");
            seen.lock().unwrap().insert(word);
        });
        write(&engine);
        reader.join().unwrap();
    });
    // A model that misses an outcome has not tried everything.
    assert_eq!(seen.lock().unwrap().len(), allowed.len(), "expected {allowed:?}, saw only {seen:?}");
}

type Seen = std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<Option<u64>>>>;

#[test]
fn loom_a_reader_sees_a_new_record_whole_or_not_at_all() {
    reader_beside(2048, |_| {}, |engine| engine.set(b"key", &value(1, 2)), b"key", &[None, Some(1)]);
}

#[test]
fn loom_a_reader_sees_an_overwrite_in_place_whole_or_not_at_all() {
    let before = |engine: &Engine| engine.set(b"key", &value(1, 2));
    reader_beside(2048, before, |engine| engine.set(b"key", &value(2, 2)), b"key", &[Some(1), Some(2)]);
}

#[test]
fn loom_a_reader_sees_a_replaced_record_whole_or_not_at_all() {
    let before = |engine: &Engine| engine.set(b"key", &value(1, 2));
    reader_beside(2048, before, |engine| engine.set(b"key", &value(2, 4)), b"key", &[Some(1), Some(2)]);
}

#[test]
fn loom_a_reader_does_not_see_reused_memory() {
    reader_beside(2048, fill, |engine| engine.set(b"other", &value(2, 3)), b"key", &[None, Some(1)]);
}

#[test]
fn loom_a_large_record_is_valid_by_its_slot_alone() {
    // Too large to be overwritten in place, so that a change elsewhere in the bucket does not matter.
    let before = |engine: &Engine| engine.set(b"key", &value(1, 64));
    reader_beside(4096, before, |engine| engine.set(b"other", &value(2, 2)), b"key", &[Some(1)]);
    reader_beside(4096, before, |engine| engine.set(b"key", &value(2, 64)), b"key", &[Some(1), Some(2)]);
}

#[test]
fn loom_a_large_record_whose_memory_is_reused_is_not_returned() {
    let before = |engine: &Engine| {
        for key in [b"key", b"two", b"tre", b"for"] {
            engine.set(key, &value(u64::from(key == b"key"), 64 + 40));
        }
    };
    reader_beside(4096, before, |engine| engine.set(b"fiv", &value(0, 64 + 40)), b"key", &[None, Some(1)]);
}

#[test]
fn loom_a_move_is_not_seen() {
    // A record that was read twice is promoted when its memory is needed.
    let before = |engine: &Engine| {
        fill(engine);
        for _ in 0..2 {
            engine.store.lookup(&engine.store.key(b"key"), || 0, &mut Ends, true);
        }
    };
    reader_beside(2048, before, |engine| engine.set(b"other", &value(2, 3)), b"key", &[Some(1)]);
}

#[test]
fn loom_a_move_through_private_memory_is_not_seen() {
    // The main ring is full, and the record at its tail was read: its move overlaps its old place, with an empty slot
    // meanwhile.
    let before = |engine: &Engine| {
        fill(engine);
        engine.store.lookup(&engine.store.key(b"f\0"), || 0, &mut Ends, true);
    };
    let write = |engine: &Engine| {
        let quarter = engine.store.ring_shape(Ring::Main).units / 4;
        engine.set(b"more", &value(2, quarter as usize - 6));
    };
    reader_beside(2048, before, write, b"f\0", &[Some(9)]);
}

/// Fills the cache without a free gap: large records in the main ring, small ones in the small ring, with `key` at its
/// tail. The next small record takes the memory of `key`.
fn fill(engine: &Engine) {
    let quarter = engine.store.ring_shape(Ring::Main).units / 4;
    for n in 0..4u8 {
        engine.set(&[b'f', n], &value(9, quarter as usize - 6));
    }
    for key in [&b"key"[..], b"a", b"b", b"c"] {
        engine.set(key, &value(1, 3));
    }
    let full = |ring| engine.store.ring_shape(ring).units - engine.enter().used(ring);
    assert!(full(Ring::Small) == 0 && full(Ring::Main) < 8, "the rings are full");
}

#[test]
fn loom_a_repair_is_seen_whole_or_not_at_all() {
    // The state that a killed writer leaves: the record complete, the bucket odd, the intent set.
    let before = |engine: &Engine| {
        engine.set(b"key", &value(1, 2));
        let at = engine.store.geometry.bucket(0, 0);
        let intent = engine.store.stripe_word(0, at!(Stripe.intent));
        engine.set(b"key", &value(2, 4));
        intent.set(Step::IntentKind, intent.get() | 1);
        let version = engine.store.mem.word(at);
        version.set(Step::BucketOdd, version.get() | 1);
    };
    reader_beside(2048, before, |engine| drop(engine.enter()), b"key", &[Some(2)]);
}

#[test]
fn loom_a_reader_beside_an_emptying_does_not_see_reused_memory() {
    // Positions start again immediately, so the next record takes the memory of `key`.
    let before = |engine: &Engine<_>| engine.set(b"key", &value(1, 2));
    let write = |engine: &Engine<_>| {
        engine.enter().empty();
        engine.set(b"new", &value(2, 2));
    };
    reader_beside_in(FirstSlots, 2048, before, write, b"key", &[None, Some(1)]);
}

#[test]
fn loom_a_clear_is_seen_by_all_that_begins_after_it() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        engine.set(b"key", &value(1, 2));
        let clearer = {
            let engine = engine.clone();
            thread::spawn(move || assert!(engine.store.raise_epoch(0, Invalidation::Hard)))
        };
        let _ = engine.lookup(b"key");
        clearer.join().unwrap();
        assert_eq!(engine.lookup(b"key"), Some(None));
    });
}

/// A claimant in the middle of its creation: its claim, and the epochs that it read before it looked at the key.
type Creator = (ClaimId, Epochs);

impl Engine {
    /// Looks at a key and claims it in order to create it: `Err` with the claim of another owner, `None` if there is a
    /// value.
    fn claim(&self, key: &[u8], member: u64) -> Option<Result<Creator, ClaimId>> {
        let mut stripe = self.enter();
        let epochs = self.store.epochs();
        let key = self.store.key(key);
        if stripe.find_current(&key).is_some() {
            return None;
        }
        let namespace = NamespaceEpochs::default();
        let owner = Owner { member, task: 0 };
        let by = Claimant { kind: Kind::Create, owner, now_ms: 0, max_age: 0, epochs, namespace };
        match stripe.claim(&key, &by, &[]) {
            Claimed::Mine(claim_id, _) => Some(Ok((claim_id, epochs))),
            Claimed::Held(claim_id, _) => Some(Err(claim_id)),
            Claimed::Resting(_) | Claimed::Full(_) => panic!("expected a free claim slot"),
        }
    }

    /// Stores the created value and returns whether that succeeded.
    fn store_created(&self, key: &[u8], (claim_id, epochs): Creator, value: &[u8]) -> bool {
        let mut stripe = self.enter();
        let key = self.store.key(key);
        let draft = NewRecord::new(key, value, 0, None);
        let entry = stripe.find(&key);
        let epochs = RecordEpochs { cache: epochs.current(), namespace: 0 };
        stripe.store_claimed(&claim_id, &draft, entry.as_ref(), epochs).is_some()
    }

    /// Waits until the claim ends, like a sleeper that each change of the word wakes. loom aborts a model in which no
    /// change comes.
    fn wait_for_end(&self, claim_id: &ClaimId) {
        while self.store.is_claim_held(claim_id) {
            thread::yield_now();
        }
    }
}

#[test]
fn loom_one_creates_a_key_and_the_other_finds_its_value() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        let create = |engine: &Engine, member| {
            let mut created = 0;
            while let Some(claimed) = engine.claim(b"key", member) {
                match claimed {
                    Ok(creator) => {
                        created += 1;
                        assert!(engine.store_created(b"key", creator, &value(member, 2)));
                    }
                    Err(held) => engine.wait_for_end(&held),
                }
            }
            created
        };
        let other = engine.clone();
        let other = thread::spawn(move || create(&other, 1));
        let mine = create(&engine, 2);
        assert_eq!(mine + other.join().unwrap(), 1, "nothing is created twice");
    });
}

#[test]
fn loom_what_an_invalidation_came_to_is_not_found() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        let other = engine.clone();
        let creator = thread::spawn(move || {
            let Some(Ok(creator)) = other.claim(b"key", 1) else { panic!("no other caller creates the key") };
            other.store_created(b"key", creator, &value(1, 2));
            creator.1
        });
        assert!(engine.store.raise_epoch(0, Invalidation::Hard));
        let began = creator.join().unwrap();
        let found = engine.lookup(b"key").unwrap().is_some();
        assert_eq!(found, began == engine.store.epochs(), "found if and only if it was begun after the invalidation");
    });
}

#[test]
fn loom_a_write_voids_a_creation_or_comes_after_it() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        let Some(Ok(creator)) = engine.claim(b"key", 1) else { panic!("no other caller creates the key") };
        let other = engine.clone();
        let creating = thread::spawn(move || other.store_created(b"key", creator, &value(1, 2)));
        engine.set(b"key", &value(2, 2));
        creating.join().unwrap();
        assert_eq!(engine.lookup(b"key"), Some(Some((2, 2))), "a creation never overwrites a later write");
    });
}

#[test]
fn loom_who_waits_for_a_claim_that_an_invalidation_came_to_is_woken() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        let other = engine.clone();
        let clearer = thread::spawn(move || assert!(other.store.raise_epoch(0, Invalidation::Soft)));
        let Some(Ok((first, began))) = engine.claim(b"key", 1) else { panic!("no other caller creates the key") };
        // The second caller finds the claim void, or sleeps on it, and then the invalidation must end it.
        let second = engine.claim(b"key", 2).unwrap();
        clearer.join().unwrap();
        let is_void = !engine.store.is_claim_held(&first);
        assert!(is_void || began == engine.store.epochs(), "nothing wakes a sleeper on it: {second:?}");
    });
}

#[test]
fn loom_a_claim_ends_once_and_never_a_later_one() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        let Some(Ok((first, _))) = engine.claim(b"key", 1) else { panic!("no other caller creates the key") };
        let other = engine.clone();
        // The owner gives up while another thread voids the claim and then claims the key itself.
        let owner = thread::spawn(move || other.store.end_claim(&first, End::Failed));
        let voided = engine.store.end_claim(&first, End::Void);
        let Some(Ok((second, _))) = engine.claim(b"key", 2) else { panic!("the claim has ended") };
        assert!(owner.join().unwrap() != voided, "exactly one of them ends it");
        assert!(engine.store.is_claim_held(&second));
    });
}

#[test]
fn loom_an_invalidation_voids_no_claim_that_began_after_it() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        assert!(engine.store.raise_epoch(0, Invalidation::Hard));
        let other = engine.clone();
        // The second half of an invalidation: the epochs are already raised.
        let clearer = thread::spawn(move || other.store.void_outdated());
        let Some(Ok((claim_id, _))) = engine.claim(b"key", 1) else { panic!("no other caller creates the key") };
        clearer.join().unwrap();
        assert!(engine.store.is_claim_held(&claim_id));
    });
}

#[test]
fn loom_who_claims_a_key_next_sees_what_its_owner_did() {
    checker().check(|| {
        let engine = Arc::new(Engine::new(2048, 130));
        let Some(Ok((first, _))) = engine.claim(b"key", 1) else { panic!("no other caller creates the key") };
        // The data that a key lock guards may lie anywhere; the owner ends its claim without the stripe's lock.
        let work = Arc::new(AtomicU64::new(0));
        let (other, done) = (engine.clone(), work.clone());
        let owner = thread::spawn(move || {
            done.store(1, Ordering::Relaxed);
            assert!(other.store.end_claim(&first, End::NotStored));
        });
        if let Some(Ok(_)) = engine.claim(b"key", 2) {
            assert_eq!(work.load(Ordering::Relaxed), 1, "the work of the previous owner is not visible");
        }
        owner.join().unwrap();
    });
}

#[test]
fn loom_a_word_is_raised_after_what_was_deleted_before_it() {
    let found = Seen::default();
    let in_model = found.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        engine.set(b"key", &value(1, 1));
        let (other, found) = (engine.clone(), in_model.clone());
        let reader = thread::spawn(move || {
            let word = other.store.callers_word(FIRST, 0).unwrap();
            let value = other.lookup(b"key");
            assert!(word == 0 || !matches!(value, Some(Some(_))), "{value:?} after the word was raised");
            found.lock().unwrap().insert((word != 0).then_some(word));
        });
        let mut stripe = engine.enter();
        let entry = stripe.find(&engine.store.key(b"key")).unwrap();
        stripe.remove(&entry);
        drop(stripe);
        assert_eq!(engine.store.raise_callers_word(FIRST, 0, 7), Some(0));
        assert_eq!(engine.store.raise_callers_word(FIRST, 0, 5), Some(7));
        assert_eq!(engine.store.callers_word(FIRST, 0), Some(7), "a word never falls");
        reader.join().unwrap();
    });
    assert_eq!(*found.lock().unwrap(), [None, Some(7)].into(), "both outcomes are reached");
}

#[test]
fn loom_a_word_is_raised_after_the_invalidation_before_it() {
    let found = Seen::default();
    let in_model = found.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        let (other, found) = (engine.clone(), in_model.clone());
        let reader = thread::spawn(move || {
            let word = other.store.callers_word(FIRST, 0).unwrap();
            let epochs = other.store.namespace_epochs(1);
            assert!(word == 0 || epochs.hard() != 0, "the epochs {epochs:?} after the word");
            found.lock().unwrap().insert((word != 0).then_some(word));
        });
        assert!(engine.store.raise_epoch(1, Invalidation::Hard));
        assert_eq!(engine.store.raise_callers_word(FIRST, 0, 7), Some(0));
        reader.join().unwrap();
    });
    assert_eq!(*found.lock().unwrap(), [None, Some(7)].into(), "both outcomes are reached");
}

#[test]
fn loom_an_invalidation_comes_after_the_word_that_was_raised_before_it() {
    let found = Seen::default();
    let in_model = found.clone();
    checker().check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        let (other, found) = (engine.clone(), in_model.clone());
        let claimant = thread::spawn(move || {
            let epochs = other.store.namespace_epochs(1);
            let word = other.store.callers_word(FIRST, 0).unwrap();
            assert!(epochs.hard() == 0 || word == 7, "the word {word} after the invalidation");
            found.lock().unwrap().insert((epochs.hard() != 0).then_some(word));
        });
        assert_eq!(engine.store.raise_callers_word(FIRST, 0, 7), Some(0));
        assert!(engine.store.raise_epoch(1, Invalidation::Hard));
        claimant.join().unwrap();
    });
    assert_eq!(*found.lock().unwrap(), [None, Some(7)].into(), "both outcomes are reached");
}

/// One thread adds a namespace while another looks for it; both outcomes of the look are reached.
fn look_beside_an_addition(preemptions: usize, look: impl Fn(&Engine) -> bool + Send + Sync + Copy + 'static) {
    let found = Seen::default();
    let in_model = found.clone();
    let mut checker = checker();
    checker.preemption_bound = Some(preemptions);
    checker.check(move || {
        let engine = Arc::new(Engine::new(2048, 130));
        let (other, found) = (engine.clone(), in_model.clone());
        let reader = thread::spawn(move || {
            let is_found = look(&other);
            found.lock().unwrap().insert(Some(is_found.into()));
        });
        assert_eq!(engine.enter().add_namespace("pages", NAMESPACE_DEFAULTS), Some(FIRST));
        reader.join().unwrap();
    });
    assert_eq!(*found.lock().unwrap(), [Some(0), Some(1)].into(), "both outcomes are reached");
}

const NAMESPACE_DEFAULTS: Defaults =
    Defaults { hard_ttl_ms: 1, soft_ttl_ms: 2, none_ttl_ms: 3, idle_ttl_ms: 5, jitter: 4 };

#[test]
fn loom_a_namespace_is_listed_whole_or_not_at_all() {
    look_beside_an_addition(3, |engine| {
        let names = engine.store.namespace_names();
        assert!(names.is_empty() || names == ["pages"], "{names:?}");
        !names.is_empty()
    });
}

#[test]
fn loom_a_namespace_is_found_whole_or_not_at_all() {
    look_beside_an_addition(3, |engine| {
        let Some(namespace) = engine.store.namespace_named("pages") else { return false };
        assert_eq!(namespace.number(), 1);
        assert_eq!(engine.store.namespace_defaults(namespace.number()), NAMESPACE_DEFAULTS);
        true
    });
}
