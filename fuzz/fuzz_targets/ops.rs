//! Operations compared with a map. The cache may forget, but must never lie: a hit is exactly the value of the map.
//!
//! Input: seven bytes choose the file, see [`Shape::read`]; then come operations. Each is a byte for the operation and
//! its handle, followed by arguments, see [`Case::step`].
//!
//! Asserted: no panic; every result is one that the map allows; `verify` finds nothing, after every few operations
//! and at the end; nothing was dropped, repaired or missed because of a lock. After a restart of the host, the flushed
//! contents are there, or nothing, or with `AfterCrash::Verify` the last contents, since no page is lost here.
//!
//! Planted and found:
//! * at the end of a ring, `room_at_head` does not ask for the space of the padding: "ring ends", in 3 s, at the 11th
//!   input.
#![no_main]

use kennel::{AfterCrash, Cache, Error, Expiry, LockStrategy, Options, SetOptions, Stamp, Swap, record_size};
use kennel_fuzz::limits::in_time;
use kennel_fuzz::{Input, TestClock, key_of, moment, place, value_of};
use libfuzzer_sys::fuzz_target;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Number of keys: enough for evictions, few enough for collisions.
const KEYS: u8 = 40;
/// Operations of one input.
const MOST_OPS: usize = 200;
/// The time at which the clock of each input begins.
const START: u64 = 1_000_000;

/// The shape of the file, and how it is used.
struct Shape {
    options: Options,
    two_handles: bool,
    is_process: bool,
    believes_all: bool,
    largest_value: usize,
    verify_every: usize,
}

impl Shape {
    fn read(input: &mut Input, clock: Arc<TestClock>) -> Self {
        let [who, counts, mean_item, arena, limits, seed, flags] = [(); 7].map(|()| input.byte());
        let strategy = match who % 8 {
            0..3 => LockStrategy::None,
            3..6 => LockStrategy::Process,
            6 if who & 8 == 0 => LockStrategy::File,
            6 => LockStrategy::Lease,
            _ => LockStrategy::RwFile,
        };
        let stripes = [0, 0, 1, 2][usize::from(counts & 3)];
        let believes_all = flags & 4 != 0;
        let options = Options::new()
            .capacity((2048 + u64::from(arena) * 8) << stripes)
            .stripes(1 << stripes)
            .lock_regions(1 << (counts >> 2 & 3).min(stripes))
            .mean_item(24 + u64::from(mean_item))
            .locks(strategy)
            .seats(2)
            .seed(seed.into())
            .near_last_position(flags & 1 != 0)
            .verify_reads(flags & 2 != 0)
            .after_crash(if believes_all { AfterCrash::Verify } else { AfterCrash::Discard })
            .clock(clock);
        Self {
            options,
            two_handles: who & 0x80 != 0,
            is_process: (3..6).contains(&(who % 8)),
            believes_all,
            largest_value: [24, 100, 700, 2500][usize::from(limits & 3)],
            verify_every: [32, 64, 128, MOST_OPS][usize::from(limits >> 2 & 3)],
        }
    }
}

#[derive(Clone, PartialEq)]
struct Entry {
    value: Vec<u8>,
    flags: u32,
    /// Milliseconds; 0: never.
    expires: u64,
    /// `None` after a write that does not return it.
    stamp: Option<Stamp>,
}

#[derive(Clone, Copy)]
struct How {
    expiry: Expiry,
    flags: u32,
}

impl How {
    fn read(input: &mut Input) -> Self {
        let flags = input.byte();
        let expiry = if flags & 0xc0 == 0xc0 { expiry(input) } else { Expiry::Never };
        Self { expiry, flags: u32::from(flags & 3) * 0x4030_2001 }
    }

    fn options(self) -> SetOptions {
        SetOptions::new().expiry(self.expiry).flags(self.flags)
    }
}

fn expiry(input: &mut Input) -> Expiry {
    let ms = input.byte();
    match ms % 3 {
        0 => Expiry::Never,
        1 => Expiry::After(Duration::from_millis((ms / 4).into())),
        _ => Expiry::At(moment(START + u64::from(ms / 2))),
    }
}

struct Case {
    shape: Shape,
    path: PathBuf,
    handles: Vec<Cache>,
    /// A read-only handle, which sees the same values.
    reader: Cache,
    map: HashMap<u8, Entry>,
    clock: Arc<TestClock>,
    /// The largest record that fits, in bytes.
    limit: u64,
    /// Restarts of the host so far.
    boots: u64,
    /// The contents of the map at the last flush.
    flushed: HashMap<u8, Entry>,
    verified: usize,
}

impl Case {
    fn new(shape: Shape, path: &Path, clock: Arc<TestClock>) -> Self {
        let first = shape.options.create(path).expect("a new file");
        let limit = first.stats().largest_record + record_size(0, 0);
        let (handles, reader) = with_others(&shape, path, first);
        let map = HashMap::new();
        Self {
            shape,
            path: path.into(),
            handles,
            reader,
            map,
            clock,
            limit,
            boots: 0,
            flushed: HashMap::new(),
            verified: 0,
        }
    }

    /// The map's entry of a key, if it has not expired.
    fn live(&self, key: u8) -> Option<&Entry> {
        self.map.get(&key).filter(|entry| entry.expires == 0 || entry.expires > self.clock.ms())
    }

    /// Compares a read with the map. No other process works on the cache, so a value that is not found is gone for
    /// good, unless the clock's next step back revives it.
    fn read(&mut self, key: u8, value: Option<&[u8]>) {
        match (value, self.live(key)) {
            (Some(value), Some(entry)) => assert_eq!(value, entry.value, "key {key}"),
            (Some(value), None) => panic!("key {key} is not in the map, but {value:?} was returned"),
            (None, _) => self.forget(key),
        }
    }

    fn forget(&mut self, key: u8) {
        if self.live(key).is_some() {
            self.map.remove(&key);
        }
    }

    /// Checks a `true` that means that the key has a value.
    fn there(&mut self, key: u8, says_there: bool) {
        if says_there {
            assert!(self.live(key).is_some(), "key {key} is not in the map");
        } else {
            self.forget(key);
        }
    }

    fn expires(&self, expiry: Expiry) -> u64 {
        match expiry {
            Expiry::Never => 0,
            Expiry::After(wait) => self.clock.ms() + wait.as_millis() as u64,
            Expiry::At(time) => time.duration_since(moment(0)).expect("a time after 1970").as_millis() as u64,
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// A value was stored: it is in the map, and the cache must have it, this once.
    fn stored(&mut self, cache: &Cache, key: u8, value: Vec<u8>, how: How, stamp: Option<Stamp>) {
        let entry = Entry { value, flags: how.flags, expires: self.expires(how.expiry), stamp };
        self.map.insert(key, entry);
        assert_eq!(cache.contains(key_of(key)), self.live(key).is_some(), "just stored: key {key}");
    }

    /// The result of a write, unless the item was too large: then the error must say so, and nothing changed.
    fn written<T>(&self, result: kennel::Result<T>, key: u8, value: &[u8], how: How) -> Option<T> {
        let extension = if how.flags == 0 { 0 } else { 24 };
        let fits = record_size(key_of(key).len(), value.len()) + extension <= self.limit;
        match result {
            Ok(done) => {
                assert!(fits, "too large, but stored");
                Some(done)
            }
            Err(Error::TooLarge { size, limit }) => {
                assert!(!fits && size > limit && limit == self.limit, "{size} of {limit}, fits: {fits}");
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// One operation: the lower five bits of the first byte choose the operation, the highest bit the handle.
    fn step(&mut self, input: &mut Input) {
        let what = input.byte();
        let cache = self.handles[usize::from(what >> 7) % self.handles.len()].clone();
        match what & 31 {
            0..=2 => self.get(&cache, input.byte() % KEYS),
            3 => self.item(&cache, input.byte() % KEYS),
            4 => {
                let (key, len) = (input.byte() % KEYS, input.byte().into());
                self.get_into(&cache, key, len);
            }
            5 => self.get_multi(&cache, input),
            6 => {
                let key = input.byte() % KEYS;
                let is_there = cache.contains(key_of(key));
                self.there(key, is_there);
            }
            7..=13 => self.set(&cache, input),
            14 => self.add(&cache, input),
            15 => self.replace(&cache, input),
            16 | 17 => self.swap(&cache, u64::from(what & 1), input),
            18 | 19 => {
                let (key, by) = (input.byte() % KEYS, input.byte().into());
                self.sum(key, by, cache.incr(key_of(key), by), u64::checked_add);
            }
            20 => {
                let (key, by) = (input.byte() % KEYS, input.byte().into());
                self.sum(key, by, cache.decr(key_of(key), by), u64::checked_sub);
            }
            21 | 22 => self.touch(&cache, input),
            23 | 24 => {
                let key = input.byte() % KEYS;
                let is_deleted = cache.delete(key_of(key)).expect("a delete");
                self.deleted(key, is_deleted);
            }
            25 => self.set_multi(&cache, input),
            26 => self.delete_multi(&cache, input),
            27 => {
                cache.clear().expect("a clear");
                self.map.clear();
                assert_eq!(cache.stats().items, 0);
            }
            28 => {
                assert!(cache.flush().expect("a flush"), "nobody else writes");
                self.flushed = self.map.clone();
            }
            29 => self.keys(&cache),
            30 => {
                let by = input.byte() as i8;
                self.clock.set(self.clock.ms().saturating_add_signed(by.into()));
            }
            _ => {
                let restart = input.byte() & 3 == 3;
                drop(cache);
                self.reopen(restart);
            }
        }
    }

    fn get(&mut self, cache: &Cache, key: u8) {
        let value = cache.get(key_of(key));
        assert_eq!(self.reader.get(key_of(key)), value, "read-only: key {key}");
        self.read(key, value.as_deref());
    }

    fn set(&mut self, cache: &Cache, input: &mut Input) {
        let (key, value, how) = self.item_to_write(input);
        let result = cache.set_with(key_of(key), &value, &how.options());
        if let Some(stamp) = self.written(result, key, &value, how) {
            self.stored(cache, key, value, how, Some(stamp));
        }
    }

    fn add(&mut self, cache: &Cache, input: &mut Input) {
        let (key, value, how) = self.item_to_write(input);
        match self.written(cache.add(key_of(key), &value, &how.options()), key, &value, how) {
            Some(true) => self.stored(cache, key, value, how, None),
            Some(false) => self.there(key, true),
            None => {}
        }
    }

    fn replace(&mut self, cache: &Cache, input: &mut Input) {
        let (key, value, how) = self.item_to_write(input);
        if let Some(is_done) = self.written(cache.replace(key_of(key), &value, &how.options()), key, &value, how) {
            self.there(key, is_done);
            if is_done {
                self.stored(cache, key, value, how, None);
            }
        }
    }

    fn set_multi(&mut self, cache: &Cache, input: &mut Input) {
        let how = How::read(input);
        let items: Vec<_> = (0..input.byte() % 20).map(|_| self.key_and_value(input)).collect();
        let batch: Vec<_> = items.iter().map(|(key, value)| (key_of(*key), value)).collect();
        let results = cache.set_multi(&batch, &how.options());
        assert_eq!(results.len(), items.len());
        for ((key, value), result) in items.into_iter().zip(results) {
            if self.written(result, key, &value, how).is_some() {
                let expires = self.expires(how.expiry);
                self.map.insert(key, Entry { value, flags: how.flags, expires, stamp: None });
            }
        }
    }

    fn touch(&mut self, cache: &Cache, input: &mut Input) {
        let (key, expiry) = (input.byte() % KEYS, expiry(input));
        let is_touched = cache.touch(key_of(key), expiry).expect("a touch");
        self.there(key, is_touched);
        if is_touched {
            let expires = self.expires(expiry);
            self.map.entry(key).and_modify(|entry| entry.expires = expires);
        }
    }

    fn delete_multi(&mut self, cache: &Cache, input: &mut Input) {
        let keys: Vec<_> = (0..input.byte() % 24).map(|_| input.byte() % KEYS).collect();
        let results = cache.delete_multi(&keys.iter().map(|&key| key_of(key)).collect::<Vec<_>>());
        assert_eq!(results.len(), keys.len());
        keys.into_iter().zip(results).for_each(|(key, done)| self.deleted(key, done.expect("a delete")));
    }

    fn get_multi(&mut self, cache: &Cache, input: &mut Input) {
        let keys: Vec<_> = (0..input.byte() % 24).map(|_| input.byte() % KEYS).collect();
        let found = cache.get_multi(&keys.iter().map(|&key| key_of(key)).collect::<Vec<_>>());
        assert_eq!(found.len(), keys.len());
        keys.iter().zip(found).for_each(|(&key, value)| self.read(key, value.as_deref()));
    }

    fn key_and_value(&self, input: &mut Input) -> (u8, Vec<u8>) {
        let (key, kind, len) = (input.byte() % KEYS, input.byte(), input.half());
        let value = match kind {
            0..16 => u64::from(len).to_string().into_bytes(),
            16 => (u64::MAX - u64::from(len)).to_string().into_bytes(),
            _ => value_of(usize::from(len) % (self.shape.largest_value + 1), kind),
        };
        (key, value)
    }

    fn item_to_write(&self, input: &mut Input) -> (u8, Vec<u8>, How) {
        let (key, value) = self.key_and_value(input);
        (key, value, How::read(input))
    }

    fn item(&mut self, cache: &Cache, key: u8) {
        let item = cache.get_item(key_of(key));
        self.read(key, item.as_ref().map(|item| &item.value[..]));
        if let (Some(item), Some(entry)) = (item, self.live(key)) {
            assert_eq!(item.flags, entry.flags, "key {key}");
            assert_eq!(item.expires, (entry.expires != 0).then(|| moment(entry.expires)), "key {key}");
            assert!(entry.stamp.is_none_or(|stamp| stamp == item.stamp), "key {key}");
        }
    }

    fn get_into(&mut self, cache: &Cache, key: u8, len: usize) {
        let mut buf = vec![0xee; len];
        match cache.get_into(key_of(key), &mut buf) {
            Ok(found) => self.read(key, found.map(|len| &buf[..len])),
            Err(Error::BufferTooSmall { needed, given }) => {
                assert_eq!((Some(needed), given), (self.live(key).map(|entry| entry.value.len()), len));
                assert!(needed > given && buf.iter().all(|&byte| byte == 0xee));
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn keys(&mut self, cache: &Cache) {
        let found: Vec<_> = cache.keys().collect();
        let listed: HashSet<_> = found.iter().cloned().collect();
        assert_eq!(found.len(), listed.len(), "a key twice, though nothing moved");
        let there: HashSet<_> = (0..KEYS).map(key_of).filter(|key| cache.contains(key)).collect();
        assert_eq!(listed, there);
    }

    fn deleted(&mut self, key: u8, is_deleted: bool) {
        assert!(!is_deleted || self.live(key).is_some(), "delete found a value for key {key}");
        self.map.remove(&key);
    }

    fn swap(&mut self, cache: &Cache, off: u64, input: &mut Input) {
        let (key, value, how) = self.item_to_write(input);
        let item = cache.get_item(key_of(key));
        self.read(key, item.as_ref().map(|item| &item.value[..]));
        let stamp = Stamp(item.as_ref().map_or(0, |item| item.stamp.0).wrapping_add(off));
        let result = cache.compare_and_swap(key_of(key), stamp, &value, &how.options());
        match (self.written(result, key, &value, how), item.is_some(), off) {
            (Some(Swap::Stored(stored)), true, 0) => {
                assert_ne!(stored, stamp);
                self.stored(cache, key, value, how, Some(stored));
            }
            // Locking a stripe whose positions run out empties it.
            (Some(Swap::Absent), ..) => self.forget(key),
            (None, ..) | (Some(Swap::Changed), true, 1..) => {}
            other => panic!("{other:?} with stamp {stamp:?}"),
        }
    }

    fn sum(&mut self, key: u8, by: u64, result: kennel::Result<Option<u64>>, add_up: fn(u64, u64) -> Option<u64>) {
        let text = self.live(key).map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        let number = text.as_ref().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|text| text.parse::<u64>().ok());
        match result {
            Ok(Some(sum)) => {
                assert_eq!(Some(sum), number.and_then(|number| add_up(number, by)), "key {key}");
                let value = sum.to_string().into_bytes();
                self.map.entry(key).and_modify(|entry| (entry.value, entry.stamp) = (value, None));
            }
            Ok(None) => self.forget(key),
            Err(Error::NotANumber { .. }) => assert!(text.is_some() && number.is_none(), "{text:?}"),
            Err(Error::Overflow { value, delta, .. }) => {
                assert_eq!((Some(value), delta), (number, by));
                assert_eq!(add_up(value, by), None);
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Closes all handles, and opens the file anew, possibly after a restart of the host.
    fn reopen(&mut self, restart: bool) {
        if restart {
            self.boots += 1;
            self.shape.options = self.shape.options.clone().boot_id([self.boots, 1]);
            // A refused write, or a read, leaves a flushed file unchanged.
            let is_flushed = self.map.iter().all(|(key, entry)| self.flushed.get(key) == Some(entry));
            if !is_flushed && !self.shape.believes_all {
                self.map.clear();
            }
        }
        self.handles.clear();
        let first = self.shape.options.open(&self.path).expect("the file, once more");
        (self.handles, self.reader) = with_others(&self.shape, &self.path, first);
    }

    /// Verifies through one handle, another one each time; it takes longer than a hundred operations.
    fn assert_sound(&mut self) {
        self.verified += 1;
        let n = self.verified % (self.handles.len() + 1);
        let found = self.handles.get(n).unwrap_or(&self.reader).verify();
        assert!(found.is_ok(), "{found:#?}");
        assert!(found.unchecked.is_empty() || self.boots > 0, "{found:#?}");
    }
}

/// The further handles of a file.
fn with_others(shape: &Shape, path: &Path, first: Cache) -> (Vec<Cache>, Cache) {
    let mut handles = vec![first];
    if shape.two_handles {
        // Strategy `process` keeps its opening lock, which excludes another opening even in the same process.
        let second = if shape.is_process { handles[0].clone() } else { shape.options.open(path).expect("the file") };
        handles.push(second);
    }
    (handles, shape.options.open_read_only(path).expect("the file, read-only"))
}

fn run(input: &[u8]) {
    let mut input = Input(input);
    let clock = TestClock::at(START);
    let shape = Shape::read(&mut input, clock.clone());
    let path = place::dir().join("ops.cache");
    let mut case = Case::new(shape, &path, clock);
    for number in 1..=MOST_OPS {
        if input.is_over() {
            break;
        }
        case.step(&mut input);
        if number % case.shape.verify_every == 0 {
            case.assert_sound();
        }
    }
    for key in 0..KEYS {
        let cache = case.handles[0].clone();
        case.item(&cache, key);
    }
    case.assert_sound();
    let counters = case.handles[0].stats().counters;
    let rebuilt = if case.boots > 0 { counters.dropped } else { 0 };
    assert_eq!((counters.dropped - rebuilt, counters.repairs, counters.bounded_misses), (0, 0, 0));
    let options = case.shape.options.clone();
    drop(case);
    options.destroy(&path).expect("the file is removed");
    assert_eq!(std::fs::read_dir(place::dir()).expect("the directory").count(), 0, "something is left behind");
}

fuzz_target!(|input: &[u8]| in_time(|| run(input)));
