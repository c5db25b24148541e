//! Long histories of writers, readers and creators on a small cache, whose memory is reused all the time.

use super::{ClaimId, Extract, ModelLock, Shape, Store};
use super::{End, Engine, Geometry, Heap, Invalidation, Look, Memory, NewRecord, RecordRef, StripeGuard};
use crate::shm::atomics::checker::sync::Arc;
use crate::shm::atomics::checker::thread;
use crate::shm::schedules::check;
use crate::store::{NamespaceId, verify};
use shuttle::rand::{Rng, thread_rng};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

const KEYS: usize = 8;
/// Operations of each thread.
const ROUNDS: u32 = 25;
/// Lengths of values in words: some are overwritten in place, some are not, some are valid by their slots alone.
const WORDS: [usize; 4] = [2, 3, 20, 66];

/// What a read of a key may return. The writes of a key are numbered in the order in which they take place.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The last write that began.
    begun: u64,
    /// The last write that has finished.
    over: u64,
    /// All writes before this one are gone for good: replaced, deleted or cleared, or a later one was read.
    first: u64,
}

/// Events over all schedules. A model in which an expected event never occurs has not tried everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Hit,
    Miss,
    Changing,
    Created,
    Voided,
    Waited,
}

type Events = std::sync::Arc<Mutex<BTreeMap<Event, u32>>>;

struct World {
    engine: Engine,
    /// No thread of a model yields while it holds this, because shuttle does not see locks of the standard library.
    known: Mutex<[Known; KEYS]>,
    /// The last claim of each key.
    claims: Mutex<[Option<ClaimId>; KEYS]>,
    events: Events,
}

/// Copies every word of a value.
struct Words;

impl Extract for Words {
    type Out = Vec<u64>;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Vec<u64>> {
        // The length may come from an unfinished write.
        store.validate(found).then(|| {
            let words = found.value_len as u64 / 8;
            (0..words).map(|i| store.mem.word(found.value_at() + i * 8).get()).collect()
        })
    }
}

fn name(key: usize) -> [u8; 2] {
    [b'k', key as u8]
}

/// A value that identifies its write: each word holds the key and the number of the write, which also determines the
/// length.
fn value(key: usize, number: u64) -> Vec<u8> {
    (number << 8 | key as u64).to_le_bytes().repeat(WORDS[number as usize % WORDS.len()])
}

impl World {
    fn new(events: &Events) -> Self {
        let shape = Shape { mean_item: 200, claims: 2, ..Shape::SMALL };
        let geometry = Geometry::new(shape).unwrap();
        // The whole file, because `verify` checks all of it at the end.
        let mem = Heap::of_parts(&[(0, geometry.file_len)]);
        let engine = Engine { store: Store { mem, geometry, seed: 11 }, lock: ModelLock::new() };
        Self { engine, known: Mutex::default(), claims: Mutex::default(), events: events.clone() }
    }

    fn known(&self) -> MutexGuard<'_, [Known; KEYS]> {
        self.known.lock().unwrap()
    }

    fn came_up(&self, event: Event) {
        *self.events.lock().unwrap().entry(event).or_default() += 1;
    }

    /// A number for a write of a key. The caller holds the stripe's lock or the key's claim.
    fn begin(&self, key: usize) -> u64 {
        let known = &mut self.known()[key];
        known.begun += 1;
        known.begun
    }

    /// Ends a write. The values before it are gone, and so is its own if it `leaves` none.
    fn end(&self, key: usize, number: u64, leaves: bool) {
        let known = &mut self.known()[key];
        known.over = known.over.max(number);
        known.first = known.first.max(number + u64::from(!leaves));
    }

    fn set(&self, key: usize) {
        let mut stripe = self.engine.enter();
        let number = self.begin(key);
        let (name, value) = (name(key), value(key, number));
        let key_of = self.engine.store.key(&name);
        let entry = stripe.find(&key_of);
        stripe.put(&NewRecord::new(key_of, &value, 0, None), entry.as_ref(), stripe.epochs_now(NamespaceId::NONE));
        self.leave(stripe, key, number, true);
    }

    fn delete(&self, key: usize) {
        let mut stripe = self.engine.enter();
        let number = self.begin(key);
        let (name, store) = (name(key), &self.engine.store);
        stripe.void(&store.key(&name));
        if let Some(entry) = stripe.find(&store.key(&name)) {
            stripe.remove(&entry);
        }
        self.leave(stripe, key, number, false);
    }

    fn leave(&self, stripe: StripeGuard<'_, Heap>, key: usize, number: u64, leaves: bool) {
        drop(stripe);
        self.end(key, number, leaves);
    }

    fn clear(&self) {
        let before = *self.known();
        assert!(self.engine.store.raise_epoch(0, Invalidation::Hard));
        for (now, before) in self.known().iter_mut().zip(before) {
            now.first = now.first.max(before.over + 1);
        }
    }

    fn read(&self, key: usize) {
        let before = self.known()[key];
        let words = match self.engine.store.lookup(&self.engine.store.key(&name(key)), || 0, &mut Words, true) {
            Look::Hit(words) => words,
            Look::Miss => return self.came_up(Event::Miss),
            Look::Changing => return self.came_up(Event::Changing),
        };
        let number = words[0] >> 8;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert!(bytes == value(key, number), "a torn or foreign value under key {key}: {words:x?}");
        let known = &mut self.known()[key];
        assert!(number >= before.first && number <= known.begun, "{number} came back; {:?}", before.first);
        known.first = known.first.max(number);
        self.came_up(Event::Hit);
    }

    /// Asserts that no two owners hold a claim of this key. An ended claim never revives: if the other claim is held
    /// now and this one is still held afterwards, both were held at the same time.
    fn assert_alone(&self, key: usize, mine: ClaimId) {
        let other = self.claims.lock().unwrap()[key].replace(mine);
        let is_held = |claim_id| self.engine.store.is_claim_held(claim_id);
        assert!(!(other.as_ref().is_some_and(is_held) && is_held(&mine)), "two create key {key}");
    }

    /// Creates a key unless it has a value, as `get_or_create` does. If another claim is held, waits for its end.
    fn create(&self, key: usize, member: u64) {
        match self.engine.claim(&name(key), member) {
            None => {}
            Some(Err(held)) => {
                self.came_up(Event::Waited);
                self.engine.wait_for_end(&held);
            }
            Some(Ok(creator)) => {
                let number = self.begin(key);
                self.assert_alone(key, creator.0);
                if thread_rng().gen_ratio(1, 4) {
                    self.engine.store.end_claim(&creator.0, End::Failed);
                } else if self.engine.store_created(&name(key), creator, &value(key, number)) {
                    self.end(key, number, true);
                    self.came_up(Event::Created);
                } else {
                    self.came_up(Event::Voided);
                }
            }
        }
    }
}

/// Runs threads with these roles until each has done its operations, and then checks the stripe's invariants.
fn run(roles: &'static [fn(&World, u64)], seen: &[Event]) {
    let events = Events::default();
    let in_model = events.clone();
    check(move || {
        let world = Arc::new(World::new(&in_model));
        let start = |(n, role): (usize, &'static fn(&World, u64))| {
            let world = world.clone();
            thread::spawn(move || (0..ROUNDS).for_each(|_| role(&world, n as u64)))
        };
        let threads: Vec<_> = roles.iter().enumerate().map(start).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let _settled = world.engine.enter();
        let (_, problems) = verify::check(&world.engine.store.snapshot(0), 0);
        assert!(problems.is_empty(), "{problems:#?}");
    });
    let events = events.lock().unwrap();
    assert!(seen.iter().all(|event| events.contains_key(event)), "only these events occurred: {events:?}");
}

fn writer(world: &World, _: u64) {
    let key = thread_rng().gen_range(0..KEYS);
    match thread_rng().gen_range(0..20) {
        0 => world.clear(),
        1..4 => world.delete(key),
        _ => world.set(key),
    }
}

fn reader(world: &World, _: u64) {
    world.read(thread_rng().gen_range(0..KEYS));
}

/// Uses only two keys, so that creators meet.
fn creator(world: &World, n: u64) {
    let key = thread_rng().gen_range(0..2);
    world.create(key, n);
    world.read(key);
}

fn voider(world: &World, _: u64) {
    let key = thread_rng().gen_range(0..2);
    match thread_rng().gen_range(0..6) {
        0 => world.clear(),
        1..5 => world.delete(key),
        _ => world.set(key),
    }
}

#[test]
fn shuttle_readers_beside_writers_of_a_full_cache_see_no_old_or_torn_value() {
    run(&[writer, writer, reader, reader], &[Event::Hit, Event::Miss, Event::Changing]);
}

#[test]
fn shuttle_creators_wait_for_each_other_and_store_nothing_that_was_voided() {
    run(&[creator, creator, creator, voider], &[Event::Created, Event::Voided, Event::Waited, Event::Hit]);
}
