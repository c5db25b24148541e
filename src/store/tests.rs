//! Tests of the engine on heap memory: against a map, over ring ends, with claims, and with deaths at every step.

mod claims;
mod copies;
mod deaths;
mod seen;

use super::epochs::{Invalidation, NamespaceEpochs};
use super::read::{Extract, Look, RecordRef};
use super::record::NewRecord;
use super::slot::Ring;
use super::stripe_guard::{HolderId, StripeGuard};
use super::table::Store;
use super::verify::check;
use crate::hash::Key;
use crate::shm::layout::{BUCKET_LEN, Geometry, HEADER_LEN, RECORD_LEN, Shape, at};
use crate::shm::memory::Heap;
use crate::shm::step::{Died, Plan, arm, passed};
use crate::shm::{Memory, Step};
use crate::sync::locks::Locks;
use crate::sync::member::Seats;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Engine {
    pub store: Store<Arc<Heap>>,
    locks: Locks,
    now_ms: u64,
}

impl Engine {
    pub(super) fn new(capacity: u64, mean_item: u64) -> Self {
        Self::with(Shape { capacity, mean_item, namespaces: 4, claims: 2, tags: 64, ..Shape::SMALL })
    }

    fn with(shape: Shape) -> Self {
        let geometry = Geometry::new(shape).unwrap();
        // Only the parts that the engine touches, because Miri pays for every word.
        let parts = [
            (0, HEADER_LEN),
            (geometry.namespaces_at, geometry.buckets_at - geometry.namespaces_at),
            (geometry.bucket(0, 0), geometry.buckets * BUCKET_LEN),
            (geometry.arena(0), geometry.small.bytes() + geometry.main.bytes()),
        ];
        let store = Store { mem: Arc::new(Heap::of_parts(&parts)), geometry, seed: 11 };
        Self { store, locks: Locks::None, now_ms: 1_000_000 }
    }

    pub(super) fn enter(&self) -> StripeGuard<'_, Arc<Heap>> {
        let seats = Seats { mem: &self.store.mem, geometry: &self.store.geometry };
        let lock = self.locks.lock(seats, 0, Duration::ZERO).unwrap();
        StripeGuard::enter(&self.store, 0, &self.now_ms, &HolderId { seat: 7, pid: 8, nonce: 9 }, lock).unwrap()
    }

    fn set(&self, key: &[u8], value: &[u8]) -> u64 {
        self.set_until(key, value, 0)
    }

    fn set_until(&self, key: &[u8], value: &[u8], expires_ms: u64) -> u64 {
        self.put(&mut self.enter(), key, value, expires_ms)
    }

    fn put(&self, stripe: &mut StripeGuard<'_, Arc<Heap>>, key: &[u8], value: &[u8], expires_ms: u64) -> u64 {
        let key = self.store.key(key);
        let entry = stripe.find(&key);
        let epochs = stripe.epochs_for(self.store.epochs(), NamespaceEpochs::default());
        stripe.put(&NewRecord::new(key, value, expires_ms, None), entry.as_ref(), epochs)
    }

    fn delete(&self, key: &[u8]) -> bool {
        let mut stripe = self.enter();
        let Some(entry) = stripe.find(&self.store.key(key)) else { return false };
        stripe.remove(&entry);
        true
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.lookup(key, true)
    }

    /// A lookup that does not raise the access mark.
    pub(super) fn peek(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.lookup(key, false)
    }

    fn lookup(&self, key: &[u8], mark: bool) -> Option<Vec<u8>> {
        let key = self.store.key(key);
        let look = self.store.lookup(&key, || self.now_ms, &mut Sound(&key), mark);
        match look {
            Look::Hit(value) => Some(value),
            Look::Miss => None,
            Look::Changing => panic!("no writer is at work"),
        }
    }

    pub(super) fn verify(&self) -> u64 {
        let (records, problems) = check(&self.store.snapshot(0), 0);
        assert!(problems.is_empty(), "{problems:#?}");
        records
    }

    pub(super) fn word(&self, field: u64) -> u64 {
        self.store.stripe_word(0, field).get()
    }
}

/// Copies a value out.
pub(super) struct Copied;

impl Extract for Copied {
    type Out = Vec<u8>;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Vec<u8>> {
        // The length may come from an unfinished write, so it must not be allocated before this check.
        store.validate(found).then(|| {
            let mut value = Vec::new();
            store.mem.append_out(found.value_at(), found.value_len, &mut value);
            value
        })
    }
}

/// Copies a value out and checks its record's checksum.
struct Sound<'a>(&'a Key<'a>);

impl Extract for Sound<'_> {
    type Out = Vec<u8>;

    fn take<M: Memory>(&mut self, store: &Store<M>, found: &RecordRef<'_>) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        store.mem.append_out(found.value_at(), found.value_len, &mut value);
        assert!(store.is_true(&store.copied(found).unwrap(), self.0, true));
        Some(value)
    }
}

/// A small pseudo-random generator, so that its seed reproduces a failure.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::record::mix(self.0) % below
    }
}

#[test]
fn alone_an_item_comes_back_until_it_is_replaced_or_deleted() {
    let engine = Engine::new(16 << 10, 40);
    assert_eq!(engine.get(b"key"), None);
    let first = engine.set(b"key", b"value");
    assert_eq!(engine.get(b"key").as_deref(), Some(&b"value"[..]));
    let second = engine.set(b"key", b"other value, longer than the first");
    assert!(second > first);
    assert_eq!(engine.get(b"key").as_deref(), Some(&b"other value, longer than the first"[..]));
    engine.set(b"", b"");
    assert_eq!(engine.get(b"").as_deref(), Some(&b""[..]));
    assert_eq!(engine.verify(), 2);
    assert!(engine.delete(b"key") && !engine.delete(b"key"));
    assert_eq!((engine.get(b"key"), engine.verify()), (None, 1));
}

#[test]
fn alone_a_small_overwrite_stays_where_it_is() {
    let engine = Engine::new(16 << 10, 40);
    engine.set(b"hits", b"9");
    let head = engine.word(at!(Stripe.small_head));
    for n in 10..if cfg!(miri) { 30 } else { 500u64 } {
        engine.set(b"hits", n.to_string().as_bytes());
    }
    assert_eq!(engine.word(at!(Stripe.small_head)), head, "a counter must not fill the ring");
    assert_eq!(engine.get(b"hits").as_deref(), Some(if cfg!(miri) { &b"29"[..] } else { b"499" }));
    engine.verify();
}

/// Compares random operations with a map: the engine may forget, but must not return a wrong value, and its invariants
/// hold throughout.
fn against_a_map(engine: &mut Engine, seed: u64, steps: u32, sizes: &[u64], keys: u64) {
    let mut random = Random(seed);
    let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for step in 0..steps {
        let number = random.next(keys);
        let key = format!("key {number}").into_bytes();
        match random.next(10) {
            0..=3 => {
                let len = sizes[random.next(sizes.len() as u64) as usize];
                let value: Vec<u8> = (0..len).map(|i| (u64::from(step) * 31 + i * 7 + number) as u8).collect();
                engine.set(&key, &value);
                assert_eq!(engine.get(&key).as_ref(), Some(&value), "a set is visible immediately");
                model.insert(key, value);
            }
            4 => {
                engine.delete(&key);
                model.remove(&key);
                assert_eq!(engine.get(&key), None);
            }
            5 if random.next(200) == 0 => {
                assert!(engine.store.raise_epoch(0, Invalidation::Hard));
                model.clear();
            }
            _ => {
                if let Some(value) = engine.get(&key) {
                    assert_eq!(Some(&value), model.get(&key), "step {step} of seed {seed}");
                }
            }
        }
        if step % 64 == 0 {
            engine.verify();
        }
    }
    engine.verify();
}

#[test]
fn alone_random_operations_never_lie() {
    let (steps, seeds, capacity) = if cfg!(miri) { (60, 1, 4 << 10) } else { (6_000, 12, 16 << 10) };
    for seed in 0..seeds {
        // Small values that are overwritten in place, values around that limit, and values that fill a quarter of the
        // ring.
        let mut engine = Engine::new(capacity, 60);
        let largest = engine.store.geometry.largest_record - 32 - 8;
        against_a_map(&mut engine, seed, steps, &[0, 1, 7, 8, 30, 200, 480, 500, 900.min(largest), largest], 60);
    }
}

/// A lock-free reader beside a writer, with few buckets and rings of few records, so that memory is reused all the
/// time. Under Miri, each seed gives another interleaving.
#[test]
fn core_a_reader_beside_a_writer_sees_whole_values() {
    let rounds: u64 = if cfg!(miri) {
        9
    } else if cfg!(kennel_tsan) {
        3_000
    } else {
        60_000
    };
    let words = [3, 5, 70];
    let engine = Engine::new(4 << 10, 200);
    let key = |n: u64| [b'k', n as u8];
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..rounds {
                let value = ((n << 8) | (n % 3)).to_le_bytes().repeat(words[n as usize % words.len()]);
                engine.set(&key(n % 3), &value);
            }
        });
        let mut newest = [0; 3];
        // A lookup takes far less time than a write, so equally many lookups would end before anything is overwritten.
        for n in (0..).take_while(|_| !writer.is_finished()) {
            let name = key(n % 3);
            let key = engine.store.key(&name);
            let look = engine.store.lookup(&key, || engine.now_ms, &mut Copied, true);
            let Look::Hit(value) = look else { continue };
            let word = u64::from_le_bytes(value[..8].try_into().unwrap());
            assert!(value.chunks(8).all(|chunk| chunk == &value[..8]), "a torn value");
            assert_eq!(word & 0xff, n % 3, "a value of another key");
            assert!(word >> 8 >= newest[n as usize % 3], "a value that was replaced came back");
            newest[n as usize % 3] = word >> 8;
        }
    });
    engine.verify();
}

/// An emptied stripe starts again at the same position, so the same slot points to the same place with another value in
/// it.
#[test]
fn core_a_reader_beside_an_emptying_sees_whole_values() {
    let rounds: u64 = if cfg!(miri) { 6 } else { 10_000 };
    let engine = Engine::new(2 << 10, 1_000);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..rounds {
                engine.set(b"key", &n.to_le_bytes().repeat(4));
                engine.enter().empty();
            }
        });
        let (key, mut newest) = (engine.store.key(b"key"), 0);
        while !writer.is_finished() {
            let look = engine.store.lookup(&key, || engine.now_ms, &mut Copied, false);
            let Look::Hit(value) = look else { continue };
            assert!(value.chunks(8).all(|chunk| chunk == &value[..8]), "a torn value");
            let number = u64::from_le_bytes(value[..8].try_into().unwrap());
            assert!(number >= newest, "a value that was replaced came back");
            newest = number;
        }
    });
    engine.verify();
}

/// `verify` copies a stripe without its lock. It must get a copy from between two operations, or none.
#[test]
fn core_a_copy_beside_a_writer_is_of_one_moment() {
    let rounds = if cfg!(miri) { 2 } else { 2_000 };
    let engine = Engine::new(2 << 10, 1_000);
    std::thread::scope(|scope| {
        scope
            .spawn(|| (0..rounds).for_each(|n: u64| _ = engine.set(b"key", &vec![n as u8; 8 + (n % 2) as usize * 60])));
        for _ in 0..rounds {
            if let Some(snapshot) = engine.store.snapshot_between_writes(0) {
                let (_, problems) = check(&snapshot, 0);
                assert!(problems.is_empty(), "{problems:#?}");
            }
        }
    });
}

#[test]
fn a_full_index_evicts_before_the_arenas_are_full() {
    let mut engine = Engine::new(64 << 10, 4_000);
    against_a_map(&mut engine, 5, 4_000, &[1, 8], 500);
    assert!(engine.store.stripe_counts(0)[super::counters::StripeCount::EvictionsIndex as usize] > 0);
}

#[test]
fn rings_wrap_around_at_every_offset() {
    // The ring lengths are not multiples of the record's length, so each lap ends at another offset.
    for value in [1, 9, 17, 25, 65] {
        let engine = Engine::new(4 << 10, 40);
        for n in 0..3_000u64 {
            let key = (n % 90).to_le_bytes();
            engine.set(&key, &vec![n as u8; value + (n % 3 * 8) as usize]);
            engine.get(&((n + 40) % 90).to_le_bytes());
            if n % 16 == 0 {
                engine.verify();
            }
        }
    }
}

#[test]
fn positions_run_out_and_start_again() {
    let engine = Engine::new(4 << 10, 40);
    for (field, ring) in [
        (at!(Stripe.small_head), engine.store.geometry.small),
        (at!(Stripe.small_tail), engine.store.geometry.small),
        (at!(Stripe.main_head), engine.store.geometry.main),
        (at!(Stripe.main_tail), engine.store.geometry.main),
    ] {
        let start = ring.limit() - (3 << ring.bits);
        engine.store.stripe_word(0, field).set(Step::Header, start >> ring.bits << ring.bits);
    }
    let version = engine.store.mem.word(engine.store.geometry.bucket(0, 0)).get();
    for n in 0..2_000u64 {
        let key = (n % 50).to_le_bytes();
        engine.set(&key, &[n as u8; 30]);
        assert_eq!(engine.get(&key).as_deref(), Some(&[n as u8; 30][..]));
        engine.verify();
    }
    assert!(engine.word(at!(Stripe.small_head)) < 1 << 40, "positions have started again");
    let now = engine.store.mem.word(engine.store.geometry.bucket(0, 0)).get();
    assert_eq!(now >> super::read::ERA_SHIFT, (version >> super::read::ERA_SHIFT) + 1, "in a new era");
}

#[test]
fn what_expired_is_a_miss_and_gives_its_memory_back() {
    let mut engine = Engine::new(4 << 10, 40);
    engine.set_until(b"short", b"lived", engine.now_ms + 10);
    assert!(engine.get(b"short").is_some());
    engine.now_ms += 9;
    assert!(engine.get(b"short").is_some());
    engine.now_ms += 1;
    assert!(engine.get(b"short").is_none(), "expired at the millisecond named");
    for n in 0..200u64 {
        engine.set(&n.to_le_bytes(), &[1; 40]);
    }
    assert_eq!(engine.store.stripe_counts(0)[super::counters::StripeCount::Expirations as usize], 1);
    engine.verify();
}

/// Once, a writer took its stripe, another process cleared the cache, and then the writer read the epochs. Its record
/// had the new epoch but counted for the old one. The next holder restarted the count at zero, so `verify` and `stat`
/// were one short for ever. Found by the fuzz target `schedule`.
#[test]
fn a_clear_while_a_stripe_is_held_does_not_confuse_the_count() {
    let engine = Engine::new(8 << 10, 60);
    engine.set(b"before", b"1");
    let mut stripe = engine.enter();
    assert!(engine.store.raise_epoch(0, Invalidation::Hard));
    engine.put(&mut stripe, b"key", b"2", 0);
    drop(stripe);
    engine.set(b"after", b"3");
    engine.verify();
    assert_eq!(engine.get(b"before"), None);
    assert_eq!(engine.get(b"after").as_deref(), Some(&b"3"[..]));
}

/// A workload that takes every path: new keys, overwrites in place and not, deletes, evictions, promotions,
/// re-insertions, large records.
pub(super) fn busy_step(engine: &Engine, n: u64) {
    let key = (n % 37).to_le_bytes();
    match n % 5 {
        0 => _ = engine.delete(&key),
        1 => _ = engine.set(&key, &vec![n as u8; 700]),
        _ => _ = engine.set(&key, &vec![n as u8; 20 + (n % 11) as usize]),
    }
    for reader in 0..4 {
        engine.get(&((n * 7 + reader) % 37).to_le_bytes());
    }
}

/// Lets `work` die and returns the step at which it did, if it did.
fn die_at(engine: &Engine, step: Option<Step>, nth: u64, work: impl FnOnce(&Engine)) -> Option<Step> {
    arm(step, nth, Plan::Unwind);
    let end = catch_unwind(AssertUnwindSafe(|| work(engine)));
    passed();
    end.err().map(|died| died.downcast::<Died>().expect("only planned deaths").0)
}

#[test]
fn hot_keys_survive_a_scan() {
    let engine = Engine::new(64 << 10, 40);
    for n in 0..100u64 {
        engine.set(&n.to_le_bytes(), &[1; 32]);
    }
    for round in 0..40u64 {
        for n in 0..100u64 {
            engine.get(&n.to_le_bytes());
        }
        for n in 0..100u64 {
            engine.set(&(1_000 + round * 100 + n).to_le_bytes(), &[2; 32]);
        }
    }
    let kept = (0..100u64).filter(|n| engine.get(&n.to_le_bytes()).is_some()).count();
    assert!(kept >= 95, "only {kept} of 100 keys that are read all the time survived a scan of 4000 others");
}

/// A set looks at the record that leaves its ring next before it is needed.
#[test]
fn damaged_lengths_of_the_record_that_leaves_next_are_not_believed() {
    let engine = Engine::new(4 << 10, 40);
    let stripe = engine.enter();
    let shape = stripe.shape(Ring::Main);
    // The last header that fits into the memory: the key of any longer record would lie behind it.
    let tail = shape.units - RECORD_LEN / 8;
    stripe.set_tail(Ring::Main, tail);
    stripe.set_head(Ring::Main, shape.advance(tail, shape.units));
    let (at, plain) = (stripe.address(Ring::Main, tail), 1);
    for units in [0, 1, 3, 4, 5, 8, u64::from(u32::MAX)] {
        for key_len in [0, 1, 8, 64, 65, 0xffff] {
            for kind in [0, plain, 2, 3, 255] {
                engine.store.mem.word(at).set(Step::RecordHeader, units << 32 | key_len << 16 | kind);
                stripe.prefetch_departure(Ring::Main, 4);
            }
        }
    }
}
