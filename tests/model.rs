//! Random operations compared with a map. The cache may forget, but it must never lie: a hit is exactly the value of
//! the map, and a key that the map does not have is a miss. The files are so small that evictions, moves and the ends
//! of the rings never rest.

mod common;

use common::{Place, TestClock, assert_sound, moment};
use kennel::{Cache, Error, Expiry, LockStrategy, Options, SetOptions, Stamp, Swap, record_size};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Number of keys: enough for evictions, few enough for collisions.
const KEYS: u8 = 40;

#[derive(Clone, Copy, Debug)]
struct Shape {
    stripes: u32,
    lock_regions: u32,
    mean_item: u64,
    arena: u64,
    strategy: usize,
    seed: u64,
    near_last_position: bool,
    verify_reads: bool,
}

#[derive(Clone, Debug)]
enum Value {
    Bytes(usize, u8),
    Number(u64),
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        match *self {
            Value::Bytes(len, first) => (0..len).map(|i| first.wrapping_add(i as u8)).collect(),
            Value::Number(n) => n.to_string().into_bytes(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct How {
    expiry: Expiry,
    flags: u32,
}

impl How {
    fn options(self) -> SetOptions {
        SetOptions::new().expiry(self.expiry).flags(self.flags)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Get(u8),
    GetItem(u8),
    GetInto(u8, usize),
    GetMulti(Vec<u8>),
    Contains(u8),
    Keys,
    Set(u8, Value, How),
    Add(u8, Value, How),
    Replace(u8, Value, How),
    /// The number is added to the right stamp.
    Swap(u8, u64, Value, How),
    Incr(u8, u64),
    Decr(u8, u64),
    Touch(u8, Expiry),
    Delete(u8),
    SetMulti(Vec<(u8, Value)>, How),
    DeleteMulti(Vec<u8>),
    Clear,
    /// Milliseconds, forward or back.
    Clock(i64),
}

fn shapes() -> impl Strategy<Value = Shape> {
    let stripes = prop_oneof![4 => Just(0u32), 3 => Just(1), 1 => Just(2), 1 => Just(3)];
    let bits = stripes.prop_flat_map(|stripes| (Just(stripes), 0..=stripes));
    let sizes = (bits, 8..200u64, 256..512u64, 0..4usize, any::<u64>());
    (sizes, prop::bool::weighted(0.3), prop::bool::weighted(0.2)).prop_map(
        |(((stripes, regions), mean_item, lines, strategy, seed), near_last_position, verify_reads)| Shape {
            stripes: 1 << stripes,
            lock_regions: 1 << regions,
            mean_item,
            arena: lines * 8,
            strategy,
            seed,
            near_last_position,
            verify_reads,
        },
    )
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0..80usize, any::<u8>()).prop_map(|(len, first)| Value::Bytes(len, first)),
        4 => (80..700usize, any::<u8>()).prop_map(|(len, first)| Value::Bytes(len, first)),
        3 => (0..1000u64).prop_map(Value::Number),
        1 => Just(Value::Number(u64::MAX - 1)),
    ]
}

fn expiries() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        6 => Just(Expiry::Never),
        2 => (0..60u64).prop_map(|ms| Expiry::After(Duration::from_millis(ms))),
        2 => (0..120u64).prop_map(|ms| Expiry::At(moment(START + ms))),
    ]
}

fn hows() -> impl Strategy<Value = How> {
    (expiries(), prop_oneof![3 => Just(0), 1 => any::<u32>()]).prop_map(|(expiry, flags)| How { expiry, flags })
}

fn ops() -> impl Strategy<Value = Op> {
    let key = || 0..KEYS;
    let keys = || prop::collection::vec(0..KEYS, 0..24);
    prop_oneof![
        12 => key().prop_map(Op::Get),
        4 => key().prop_map(Op::GetItem),
        2 => (key(), 0..100usize).prop_map(|(key, len)| Op::GetInto(key, len)),
        2 => keys().prop_map(Op::GetMulti),
        2 => key().prop_map(Op::Contains),
        1 => Just(Op::Keys),
        24 => (key(), values(), hows()).prop_map(|(key, value, how)| Op::Set(key, value, how)),
        4 => (key(), values(), hows()).prop_map(|(key, value, how)| Op::Add(key, value, how)),
        4 => (key(), values(), hows()).prop_map(|(key, value, how)| Op::Replace(key, value, how)),
        4 => (key(), 0..2u64, values(), hows()).prop_map(|(key, off, value, how)| Op::Swap(key, off, value, how)),
        4 => (key(), 0..20u64).prop_map(|(key, by)| Op::Incr(key, by)),
        2 => (key(), 0..20u64).prop_map(|(key, by)| Op::Decr(key, by)),
        3 => (key(), expiries()).prop_map(|(key, expiry)| Op::Touch(key, expiry)),
        4 => key().prop_map(Op::Delete),
        2 => (prop::collection::vec((0..KEYS, values()), 0..20), hows())
            .prop_map(|(items, how)| Op::SetMulti(items, how)),
        1 => keys().prop_map(Op::DeleteMulti),
        1 => Just(Op::Clear),
        4 => (-10..30i64).prop_map(Op::Clock),
    ]
}

/// The time at which the clock of each case begins.
const START: u64 = 1_000_000;

fn key_of(key: u8) -> Vec<u8> {
    // Keys of many lengths, including the empty key and one longer than a cache line.
    vec![key; usize::from(key).pow(2).div_ceil(12)]
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: Vec<u8>,
    flags: u32,
    /// Milliseconds; 0: never.
    expires: u64,
    /// `None` after a write that does not return it.
    stamp: Option<Stamp>,
}

/// Counts over all cases: a run without these events would prove nothing.
#[derive(Default)]
struct Seen {
    hits: Cell<u64>,
    swaps: Cell<u64>,
    sums: Cell<u64>,
    forgotten: Cell<u64>,
    too_large: Cell<u64>,
    evictions: Cell<u64>,
    promotions: Cell<u64>,
    expirations: Cell<u64>,
}

fn add(to: &Cell<u64>, n: u64) {
    to.set(to.get() + n);
}

type Checked = Result<(), TestCaseError>;

struct Case<'a> {
    handles: Vec<Cache>,
    /// A read-only handle, which sees the same values.
    reader: Cache,
    map: HashMap<u8, Entry>,
    clock: Arc<TestClock>,
    /// The largest record that fits, in bytes.
    limit: u64,
    seen: &'a Seen,
}

impl Case<'_> {
    /// The map's entry of a key, if it has not expired.
    fn live(&self, key: u8) -> Option<&Entry> {
        self.map.get(&key).filter(|entry| entry.expires == 0 || entry.expires > self.clock.ms())
    }

    /// Compares a read with the map. No other process works on the cache, so a value that is not found is gone for
    /// good, unless the clock's next step back revives it.
    fn read(&mut self, key: u8, value: Option<&[u8]>) -> Checked {
        match (value, self.live(key)) {
            (Some(value), Some(entry)) => {
                prop_assert_eq!(value, &entry.value[..], "key {}", key);
                add(&self.seen.hits, 1);
            }
            (Some(value), None) => prop_assert!(false, "key {key} is not in the map, but {value:?} was returned"),
            (None, _) => self.forget(key),
        }
        Ok(())
    }

    fn forget(&mut self, key: u8) {
        if self.live(key).is_some() {
            add(&self.seen.forgotten, 1);
            self.map.remove(&key);
        }
    }

    fn fits(&self, key: u8, value: &[u8], flags: u32) -> bool {
        record_size(key_of(key).len(), value.len()) + if flags == 0 { 0 } else { 24 } <= self.limit
    }

    fn expires(&self, expiry: Expiry) -> u64 {
        match expiry {
            Expiry::Never => 0,
            Expiry::After(wait) => self.clock.ms() + wait.as_millis() as u64,
            Expiry::At(time) => time.duration_since(moment(0)).unwrap().as_millis() as u64,
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// A value was stored: it is in the map, and the cache must have it, this once.
    fn stored(&mut self, cache: &Cache, key: u8, value: Vec<u8>, how: How, stamp: Option<Stamp>) -> Checked {
        let entry = Entry { value, flags: how.flags, expires: self.expires(how.expiry), stamp };
        self.map.insert(key, entry);
        let live = self.live(key).is_some();
        prop_assert_eq!(cache.contains(key_of(key)), live, "just stored: key {}", key);
        Ok(())
    }

    /// The result of a write, unless the item was too large: then the error must say so, and nothing changed.
    fn written<T>(&self, result: kennel::Result<T>, fits: bool) -> Result<Option<T>, TestCaseError> {
        match result {
            Ok(done) => {
                prop_assert!(fits, "too large, but stored");
                Ok(Some(done))
            }
            Err(Error::TooLarge { size, limit }) => {
                prop_assert!(!fits && size > limit && limit == self.limit, "{size} of {limit}, fits: {fits}");
                add(&self.seen.too_large, 1);
                Ok(None)
            }
            Err(other) => Err(TestCaseError::fail(format!("{other}"))),
        }
    }

    fn run(&mut self, handle: usize, op: Op) -> Checked {
        let cache = self.handles[handle % self.handles.len()].clone();
        match op {
            Op::Get(key) => {
                let value = cache.get(key_of(key));
                prop_assert_eq!(&self.reader.get(key_of(key)), &value, "read-only: key {}", key);
                self.read(key, value.as_deref())
            }
            Op::GetItem(key) => self.get_item(&cache, key),
            Op::GetInto(key, len) => self.get_into(&cache, key, len),
            Op::GetMulti(keys) => {
                let found = cache.get_multi(&keys.iter().map(|&key| key_of(key)).collect::<Vec<_>>());
                prop_assert_eq!(found.len(), keys.len());
                keys.iter().zip(found).try_for_each(|(&key, value)| self.read(key, value.as_deref()))
            }
            Op::Contains(key) => self.contains(&cache, key),
            Op::Keys => listed(&cache),
            Op::Set(key, value, how) => self.set(&cache, key, value.bytes(), how),
            Op::Add(key, value, how) => self.add(&cache, key, value.bytes(), how),
            Op::Replace(key, value, how) => self.replace(&cache, key, value.bytes(), how),
            Op::Swap(key, off, value, how) => self.swap(&cache, key, off, value.bytes(), how),
            Op::Incr(key, by) => self.sum(key, by, cache.incr(key_of(key), by), u64::checked_add),
            Op::Decr(key, by) => self.sum(key, by, cache.decr(key_of(key), by), u64::checked_sub),
            Op::Touch(key, expiry) => self.touch(&cache, key, expiry),
            Op::Delete(key) => {
                let deleted = cache.delete(key_of(key))?;
                self.deleted(key, deleted)
            }
            Op::SetMulti(items, how) => self.set_multi(&cache, items, how),
            Op::DeleteMulti(keys) => {
                let results = cache.delete_multi(&keys.iter().map(|&key| key_of(key)).collect::<Vec<_>>());
                prop_assert_eq!(results.len(), keys.len());
                keys.into_iter().zip(results).try_for_each(|(key, deleted)| self.deleted(key, deleted?))
            }
            Op::Clear => {
                cache.clear()?;
                self.map.clear();
                prop_assert_eq!(cache.stats().items, 0);
                Ok(())
            }
            Op::Clock(by) => {
                self.clock.set(self.clock.ms().saturating_add_signed(by));
                Ok(())
            }
        }
    }

    fn get_item(&mut self, cache: &Cache, key: u8) -> Checked {
        let item = cache.get_item(key_of(key));
        self.read(key, item.as_ref().map(|item| &item.value[..]))?;
        if let (Some(item), Some(entry)) = (item, self.live(key)) {
            prop_assert_eq!(item.flags, entry.flags);
            prop_assert_eq!(item.expires, (entry.expires != 0).then(|| moment(entry.expires)));
            prop_assert!(entry.stamp.is_none_or(|stamp| stamp == item.stamp));
        }
        Ok(())
    }

    fn get_into(&mut self, cache: &Cache, key: u8, len: usize) -> Checked {
        let mut buf = vec![0xee; len];
        match cache.get_into(key_of(key), &mut buf) {
            Ok(found) => self.read(key, found.map(|len| &buf[..len])),
            Err(Error::BufferTooSmall { needed, given }) => {
                prop_assert_eq!((Some(needed), given), (self.live(key).map(|entry| entry.value.len()), len));
                prop_assert!(needed > given && buf.iter().all(|&byte| byte == 0xee));
                Ok(())
            }
            Err(other) => Err(TestCaseError::fail(format!("{other}"))),
        }
    }

    fn set(&mut self, cache: &Cache, key: u8, value: Vec<u8>, how: How) -> Checked {
        let result = cache.set_with(key_of(key), &value, &how.options());
        match self.written(result, self.fits(key, &value, how.flags))? {
            Some(stamp) => self.stored(cache, key, value, how, Some(stamp)),
            None => Ok(()),
        }
    }

    fn add(&mut self, cache: &Cache, key: u8, value: Vec<u8>, how: How) -> Checked {
        let result = cache.add(key_of(key), &value, &how.options());
        match self.written(result, self.fits(key, &value, how.flags))? {
            Some(true) => self.stored(cache, key, value, how, None),
            Some(false) => {
                prop_assert!(self.live(key).is_some(), "add found a value for key {key}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn replace(&mut self, cache: &Cache, key: u8, value: Vec<u8>, how: How) -> Checked {
        let result = cache.replace(key_of(key), &value, &how.options());
        match self.written(result, self.fits(key, &value, how.flags))? {
            Some(true) => {
                prop_assert!(self.live(key).is_some(), "replace found a value for key {key}");
                self.stored(cache, key, value, how, None)
            }
            Some(false) => {
                self.forget(key);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn set_multi(&mut self, cache: &Cache, items: Vec<(u8, Value)>, how: How) -> Checked {
        let items: Vec<_> = items.into_iter().map(|(key, value)| (key, value.bytes())).collect();
        let batch: Vec<_> = items.iter().map(|(key, value)| (key_of(*key), value)).collect();
        let results = cache.set_multi(&batch, &how.options());
        prop_assert_eq!(results.len(), items.len());
        for ((key, value), result) in items.into_iter().zip(results) {
            if self.written(result, self.fits(key, &value, how.flags))?.is_some() {
                let expires = self.expires(how.expiry);
                self.map.insert(key, Entry { value, flags: how.flags, expires, stamp: None });
            }
        }
        Ok(())
    }

    fn touch(&mut self, cache: &Cache, key: u8, expiry: Expiry) -> Checked {
        if cache.touch(key_of(key), expiry)? {
            prop_assert!(self.live(key).is_some(), "touch found a value for key {key}");
            let expires = self.expires(expiry);
            self.map.entry(key).and_modify(|entry| entry.expires = expires);
        } else {
            self.forget(key);
        }
        Ok(())
    }

    fn contains(&mut self, cache: &Cache, key: u8) -> Checked {
        if !cache.contains(key_of(key)) {
            self.forget(key);
        } else {
            prop_assert!(self.live(key).is_some(), "key {key} is not in the map");
        }
        Ok(())
    }

    fn deleted(&mut self, key: u8, deleted: bool) -> Checked {
        prop_assert!(!deleted || self.live(key).is_some(), "delete found a value for key {key}");
        self.map.remove(&key);
        Ok(())
    }

    fn swap(&mut self, cache: &Cache, key: u8, off: u64, value: Vec<u8>, how: How) -> Checked {
        let item = cache.get_item(key_of(key));
        self.read(key, item.as_ref().map(|item| &item.value[..]))?;
        let stamp = Stamp(item.as_ref().map_or(0, |item| item.stamp.0).wrapping_add(off));
        let result = cache.compare_and_swap(key_of(key), stamp, &value, &how.options());
        let Some(swap) = self.written(result, self.fits(key, &value, how.flags))? else { return Ok(()) };
        match (swap, item.is_some(), off) {
            (Swap::Stored(stored), true, 0) => {
                prop_assert_ne!(stored, stamp);
                add(&self.seen.swaps, 1);
                self.stored(cache, key, value, how, Some(stored))
            }
            (Swap::Changed, true, 1..) | (Swap::Absent, false, _) => Ok(()),
            other => Err(TestCaseError::fail(format!("{other:?} with stamp {stamp:?}"))),
        }
    }

    fn sum(
        &mut self,
        key: u8,
        by: u64,
        result: kennel::Result<Option<u64>>,
        add_up: impl Fn(u64, u64) -> Option<u64>,
    ) -> Checked {
        let text = self.live(key).map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        let number = text.as_ref().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|text| text.parse::<u64>().ok());
        match result {
            Ok(Some(sum)) => {
                prop_assert_eq!(Some(sum), number.and_then(|number| add_up(number, by)));
                add(&self.seen.sums, 1);
                let value = sum.to_string().into_bytes();
                self.map.entry(key).and_modify(|entry| (entry.value, entry.stamp) = (value, None));
            }
            Ok(None) => self.forget(key),
            Err(Error::NotANumber { .. }) => prop_assert!(text.is_some() && number.is_none(), "{:?}", text),
            Err(Error::Overflow { value, delta, .. }) => {
                prop_assert_eq!((Some(value), delta), (number, by));
                prop_assert_eq!(add_up(value, by), None);
            }
            Err(other) => return Err(TestCaseError::fail(format!("{other}"))),
        }
        Ok(())
    }
}

/// Lists the keys, and compares them with what `contains` finds.
fn listed(cache: &Cache) -> Checked {
    let found: Vec<_> = cache.keys().collect();
    let listed: HashSet<_> = found.iter().cloned().collect();
    prop_assert_eq!(found.len(), listed.len(), "a key twice, though nothing moved");
    let there: HashSet<_> = (0..KEYS).map(key_of).filter(|key| cache.contains(key)).collect();
    prop_assert_eq!(listed, there);
    Ok(())
}

/// One case: a new file, operations through one or two handles, and all invariants at the end.
fn run_case(shape: Shape, two_handles: bool, ops: Vec<(usize, Op)>, seen: &Seen) -> Checked {
    let place = Place::new();
    let clock = TestClock::at(START);
    let strategies =
        [LockStrategy::File, LockStrategy::Process, LockStrategy::None, LockStrategy::RwFile, LockStrategy::Lease];
    let options = Options::new()
        .capacity(shape.arena * u64::from(shape.stripes))
        .stripes(shape.stripes)
        .lock_regions(shape.lock_regions)
        .mean_item(shape.mean_item)
        .locks(strategies[shape.strategy].clone())
        .seats(2)
        .seed(shape.seed)
        .near_last_position(shape.near_last_position)
        .verify_reads(shape.verify_reads)
        .clock(clock.clone());
    let first = options.create(place.path())?;
    let mut handles = vec![first];
    if two_handles {
        // Strategy `process` keeps its opening lock, which excludes another opening even in the same process.
        let second = if shape.strategy == 1 { handles[0].clone() } else { options.open(place.path())? };
        handles.push(second);
    }
    let reader = options.open_read_only(place.path())?;
    let limit = handles[0].stats().largest_record + record_size(0, 0);
    let mut case = Case { handles, reader, map: HashMap::new(), clock, limit, seen };
    for (handle, op) in ops {
        case.run(handle, op.clone()).map_err(|error| match error {
            TestCaseError::Fail(why) => TestCaseError::fail(format!("{op:?}: {why}")),
            reject => reject,
        })?;
    }
    // Each key once more, then all invariants of the cache.
    (0..KEYS).try_for_each(|key| case.run(0, Op::GetItem(key)))?;
    case.handles.iter().chain([&case.reader]).for_each(assert_sound);
    let counters = case.handles[0].stats().counters;
    prop_assert_eq!((counters.dropped, counters.repairs, counters.bounded_misses), (0, 0, 0));
    add(&seen.evictions, counters.evictions());
    add(&seen.promotions, counters.promotions);
    add(&seen.expirations, counters.expirations);
    Ok(())
}

fn check(two_handles: bool) {
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let seen = Seen::default();
    let cases = (shapes(), prop::collection::vec((0..2usize, ops()), 1..800));
    runner.run(&cases, |(shape, ops)| run_case(shape, two_handles, ops, &seen)).unwrap_or_else(|e| panic!("{e}"));
    let enough = [
        ("hits", &seen.hits, 5000),
        ("swaps", &seen.swaps, 150),
        ("sums", &seen.sums, 150),
        ("forgotten", &seen.forgotten, 700),
        ("too large", &seen.too_large, 700),
        ("evictions", &seen.evictions, 2000),
        ("promotions", &seen.promotions, 300),
        ("expirations", &seen.expirations, 600),
    ];
    for (what, count, least) in enough {
        assert!(count.get() >= least, "{what}: {} only, the test proves too little", count.get());
    }
}

#[test]
fn a_cache_never_lies() {
    check(false);
}

#[test]
fn two_handles_of_one_file_never_lie() {
    check(true);
}

#[test]
fn what_was_evicted_is_absent_for_every_operation() {
    let place = Place::new();
    let options = Options::new().capacity(2048).stripes(1).mean_item(16).locks(LockStrategy::None);
    let cache = options.create(place.path()).unwrap();
    let how = SetOptions::new();
    let evict = || {
        cache.set("victim", "41").unwrap();
        let stamp = cache.get_item("victim").unwrap().stamp;
        // Small values push it out of the small ring, large ones out of the main ring.
        (0..200).for_each(|n: u32| cache.set(n.to_le_bytes(), vec![0; n as usize % 2 * 100]).unwrap());
        stamp
    };
    evict();
    assert_eq!(cache.incr("victim", 1).unwrap(), None);
    evict();
    assert!(!cache.replace("victim", "1", &how).unwrap());
    let stamp = evict();
    assert_eq!(cache.compare_and_swap("victim", stamp, "1", &how).unwrap(), Swap::Absent);
    evict();
    assert!(!cache.touch("victim", Expiry::Never).unwrap());
    evict();
    assert!(!cache.delete("victim").unwrap());
    evict();
    assert!(!cache.contains("victim") && cache.get_item("victim").is_none());
    assert!(cache.add("victim", "7", &how).unwrap());
    assert_eq!(cache.incr("victim", 1).unwrap(), Some(8));
    assert_sound(&cache);
}
