//! Cache files with arbitrary bytes, and every operation on such a file.
//!
//! Input: the first byte chooses
//! * bit 0: the rest of the input is the file, padded with zeros by as many pages as the second byte says; otherwise
//!   the rest is damage to a good file, see [`damage`]; there is one good file for each of [`SHAPES`],
//! * bit 1: reads check checksums; bit 2: the file is opened before it is damaged; bit 3: the header's checksum is
//!   corrected; bit 4: `OnMismatch::Recreate`; bits 5 to 7: the shape.
//!
//! For a damaged file, the second byte says which operation comes first (bits 0 to 3), whether `verify` is among them
//! (bit 6), since it takes longer than all others, and whether words change while operations run (bit 5). With bit 5,
//! the damage ends with the first byte of 255 in place of one, and the rest of the input says at which accesses of the
//! engine to the file which words change: see [`Changes`].
//!
//! Asserted: no panic, no hang, no allocation of more than 16 MiB (see `src/limits.rs`). With checksums, a hit is a
//! value that was set for its key, however long ago. A file without damage opens, holds all values, and passes
//! `verify`.
//!
//! No four bytes of an input are adjacent in a damaged file. Otherwise libFuzzer, which sees the engine's comparisons,
//! would sooner or later compute valid checksums for foreign bytes, and checksums are not meant to stop an attacker who
//! can do so.
//!
//! Planted and found:
//! * a read takes a value shorter than 64 bytes although its checksum is wrong (`Sound::take`): "was never set", at the
//!   1 203rd input, in 18 s on a busy machine.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/common/raw.rs"]
mod raw;

use kennel::{
    AfterCrash, Cache, CreateOptions, Expiry, Invalidation, LockStrategy, NamespaceOptions, OnMismatch, Options,
    SetOptions, Stamp, Wait, crash,
};
use kennel_fuzz::limits::in_time;
use kennel_fuzz::{Input, TestClock, key_of, moment, place, value_of};
use libfuzzer_sys::fuzz_target;
use raw::{Raw, header, stripe};
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

const KEYS: u8 = 30;
/// The most damages to one file.
const MOST: usize = 12;
/// Capacity of a stripe.
const ARENA: u64 = 5120;
const NOW: u64 = 1_000_000;
/// Longest file.
const MOST_BYTES: u64 = 1 << 20;

/// Strategy, stripes, whether near the last position, and the trust after a crash.
const SHAPES: [(&str, u32, bool, AfterCrash); 8] = [
    ("process", 1, false, AfterCrash::Discard),
    ("process", 2, false, AfterCrash::Verify),
    ("process", 1, true, AfterCrash::Verify),
    ("none", 1, false, AfterCrash::Verify),
    ("none", 2, true, AfterCrash::Discard),
    ("file", 1, false, AfterCrash::Verify),
    ("lease", 2, false, AfterCrash::Discard),
    ("rw-file", 1, false, AfterCrash::Verify),
];

fn options() -> Options {
    Options::new().clock(TestClock::at(NOW)).lock_wait(Duration::from_millis(20))
}

/// All values that a key ever had.
type Values = Vec<(u8, Vec<u8>)>;

/// A good file, and the data to check that it is still the one on the disk.
struct Base {
    path: PathBuf,
    raw: Raw,
    values: Values,
    inodes: Vec<u64>,
}

/// Inodes of a cache file, its lock directory and its lock files; empty if there are more or fewer files.
fn inodes(path: &Path) -> Vec<u64> {
    let inode = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
    let mut inodes: Vec<_> = inode(path).into_iter().collect();
    let locks = path.with_extension("cache.locks");
    for entry in fs::read_dir(&locks).into_iter().flatten().flatten() {
        inodes.extend(inode(&entry.path()));
        inodes.extend((0..2).filter_map(|n| inode(&entry.path().join(format!("{n:04}.lock")))));
    }
    inodes
}

impl Base {
    fn make(number: usize) -> Self {
        let (strategy, stripes, near_last_position, after_crash) = SHAPES[number];
        let path = place::dir().join(format!("{number}.cache"));
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(path.with_extension("cache.locks"));
        let options = options()
            .capacity(ARENA * u64::from(stripes))
            .stripes(stripes)
            .mean_item(100)
            .seats(2)
            .seed(number as u64)
            .locks(strategy.parse::<LockStrategy>().expect("a strategy"))
            .after_crash(after_crash)
            .near_last_position(near_last_position);
        let cache = options.create(&path).expect("a good file");
        // Stamps normally begin at random; here they do not, so that an input always gives the same run.
        let mut raw = Raw::load(&path);
        for number in 0..raw.stripes() {
            raw.set(raw.stripe(number) + stripe::STAMP, 1000);
        }
        raw.save();
        let mut values = Vec::new();
        for round in 0..3 {
            for key in 0..KEYS {
                if let Some(value) = base_value(key, round) {
                    cache.set_with(key_of(key), &value, &how(key)).expect("room");
                    values.push((key, value));
                }
                let _ = (cache.get(key_of(key / 2)), cache.get(key_of(key / 2)));
            }
            let _ = cache.delete(key_of(7 + round));
        }
        drop(cache);
        let raw = Raw::load(&path);
        Self { inodes: inodes(&path), raw, values, path }
    }
}

/// The value of a key in a good file, if it is set in this round; the first keys have numbers.
fn base_value(key: u8, round: u8) -> Option<Vec<u8>> {
    match (key, round) {
        (0..4, _) => Some(vec![b'1' + round; 1 + usize::from(key) * 6]),
        (_, 0) => Some(value_of(usize::from(key) * 11 % 200, key)),
        (_, 1) if key.is_multiple_of(3) => Some(value_of(usize::from(key) * 7 % 90, key ^ 0x80)),
        (_, 2) if key.is_multiple_of(5) => Some(value_of(900, key ^ 0x40)),
        _ => None,
    }
}

fn how(key: u8) -> SetOptions {
    let expiry = if key % 6 == 1 { Expiry::At(moment(NOW + 1000)) } else { Expiry::Never };
    SetOptions::new().flags(u32::from(key % 4 == 2)).expiry(expiry)
}

/// Bits that depend on all bits of the input, so that the fuzzer cannot aim any of them.
fn scrambled(half: u16) -> u64 {
    xxh3_64(&half.to_le_bytes())
}

/// The offset of a word: the input first chooses the part of the file, then the word in it.
fn place_in(raw: &Raw, input: &mut Input) -> usize {
    let (part, at) = (input.byte(), usize::from(input.half()) * 8);
    let stripes = raw.stripes();
    let number = usize::from(part >> 4) % stripes;
    let (from, to) = match part & 15 {
        0 => (0, 512),
        1 => (header::FILE_ID, header::FILE_ID + 160),
        2 => (4096, raw.stripe(0)),
        3..6 => (raw.stripe(number), raw.stripe(number) + 256),
        6 => (raw.claim(number, 0), raw.stripe(number + 1)),
        7..10 => (raw.bucket(number, 0), raw.bucket(number + 1, 0)),
        10..14 => (raw.arena(number), raw.arena(number + 1)),
        _ => (0, raw.bytes.len()),
    };
    (from + at % (to - from)).min(raw.bytes.len() - 8)
}

/// The end of the damage and the beginning of the later changes.
const END: u8 = 255;

/// The word that a damage puts in place of an old one; `None` if the damage affects more than a word.
fn other_word(good: &Raw, what: u8, old: u64, input: &mut Input) -> Option<u64> {
    Some(match what % 12 {
        0 => u64::from(input.byte()) & 1,
        1 => u64::MAX,
        2 => old ^ 1 << (input.byte() & 63),
        3 => old.wrapping_add_signed((input.byte() as i8).into()),
        4 => u64::from(input.half()) << (input.byte() % 49),
        5 => {
            let shift = u32::from(input.byte() & 7) * 8;
            old & !(0xff << shift) | u64::from(input.byte()) << shift
        }
        6 => scrambled(input.half()),
        7 | 8 => good.word(place_in(good, input)),
        _ => return None,
    })
}

/// Applies one damage: its kind, place and value. `None` at the end of the damages.
fn damage(good: &Raw, raw: &mut Raw, input: &mut Input) -> Option<()> {
    if input.is_over() {
        return None;
    }
    let what = input.byte();
    if what == END {
        return None;
    }
    let at = place_in(good, input);
    if at + 8 > raw.bytes.len() {
        return Some(());
    }
    if let Some(word) = other_word(good, what, raw.word(at), input) {
        raw.set(at, word);
        return Some(());
    }
    match what % 12 {
        9 => {
            let (seed, end) = (input.half(), (at + 8 * usize::from(input.byte())).min(raw.bytes.len() - 8));
            (at..end).step_by(8).for_each(|at| raw.set(at, if seed == 0 { 0 } else { scrambled(seed ^ at as u16) }));
        }
        10 => {
            let (from, len) = (place_in(good, input), 8 * usize::from(input.byte()));
            let len = len.min(good.bytes.len() - from).min(raw.bytes.len() - at);
            raw.bytes[at..at + len].copy_from_slice(&good.bytes[from..from + len]);
        }
        _ if input.byte() == 77 => raw.bytes.truncate(at.max(1024)),
        _ => {}
    }
    Some(())
}

/// Changes of words while operations run: a byte gives the number of the engine's accesses to the file before a change,
/// and the following bytes the change, as for a [`damage`] of one word.
struct Changes {
    input: Vec<u8>,
    good: Raw,
    file: File,
    /// Accesses until the next change.
    left: u32,
}

impl Changes {
    fn of(base: &Base, input: &Input) -> Self {
        let file = File::options().read(true).write(true).open(&base.path).expect("the file");
        Self { input: input.0.to_vec(), good: base.raw.clone(), file, left: 0 }
    }

    fn access(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        let mut input = Input(&self.input);
        if input.is_over() {
            return;
        }
        self.left = u32::from(input.byte()) * 2;
        let (what, at) = (input.byte(), place_in(&self.good, &mut input));
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at as u64).expect("a word of the file");
        if let Some(word) = other_word(&self.good, what, u64::from_le_bytes(bytes), &mut input) {
            self.file.write_all_at(&word.to_le_bytes(), at as u64).expect("a word of the file");
        }
        self.input = input.0.to_vec();
    }
}

fn seal_header(bytes: &mut [u8]) {
    if bytes.len() >= 512 {
        let check = xxh3_64(&bytes[32..512]).to_le_bytes();
        bytes[header::CHECK..header::CHECK + 8].copy_from_slice(&check);
    }
}

/// A cache that may be damaged, and its allowed answers.
struct Case<'a> {
    cache: &'a Cache,
    base: &'a Values,
    set: Values,
    is_checked: bool,
}

impl Case<'_> {
    fn lookup(&self, key: u8, value: Option<&[u8]>) {
        if let (true, Some(value)) = (self.is_checked, value) {
            let was_set = self.base.iter().chain(&self.set).any(|(of, set)| *of == key && set == value);
            assert!(was_set, "key {key}: {value:?} was never set");
        }
    }

    fn read_all(&self) {
        let mut buf = [0; 300];
        for number in 0..KEYS {
            let key = key_of(number);
            self.lookup(number, self.cache.get(&key).as_deref());
            if number % 4 == 0 {
                self.lookup(number, self.cache.get_item(&key).map(|item| item.value).as_deref());
                let len = self.cache.get_into(&key, &mut buf).ok().flatten();
                self.lookup(number, len.map(|len| &buf[..len]));
                let _ = self.cache.contains(&key);
            }
        }
    }

    /// The value that a write is about to set.
    fn value(&mut self, key: u8, len: usize) -> Vec<u8> {
        let value = value_of(len, key.wrapping_mul(3));
        self.set.push((key, value.clone()));
        value
    }

    fn sum(&mut self, key: u8, sum: kennel::Result<Option<u64>>) {
        // Checked before: the engine adds nothing to a damaged number.
        if let Ok(Some(sum)) = sum {
            self.set.push((key, sum.to_string().into_bytes()));
        }
    }

    /// The `n`-th of all operations.
    fn step(&mut self, n: u8) {
        let cache = self.cache;
        match n {
            0 => self.read_all(),
            1 => {
                for key in (0..KEYS + 20).step_by(2) {
                    let value = self.value(key, usize::from(key) * 13 % 400);
                    let _ = cache.set_with(key_of(key), value, &how(key));
                }
            }
            2 => (3..KEYS).step_by(5).for_each(|key| drop(cache.delete(key_of(key)))),
            3 => (0..6).for_each(|key| self.sum(key, cache.incr(key_of(key), 7))),
            4 => (0..6).for_each(|key| self.sum(key, cache.decr(key_of(key), 1))),
            5 => {
                let found = cache.keys().take(100_000).count();
                assert!(found < 100_000, "keys without end");
            }
            6 => {
                let (stats, stripes) = (cache.stats(), cache.stripe_stats());
                assert_eq!(stats.stripes as usize, stripes.len());
                let _ = format!("{stats:?} {stripes:?}");
            }
            7 => drop(cache.verify()),
            8 => {
                let keys: Vec<_> = (0..KEYS).rev().map(key_of).collect();
                let found = cache.get_multi(&keys);
                (0..KEYS).rev().zip(found).for_each(|(key, value)| self.lookup(key, value.as_deref()));
            }
            9 => drop(cache.flush()),
            10 => {
                for key in 5..12 {
                    let value = self.value(key, 40);
                    let _ = cache.add(key_of(key), &value, &SetOptions::new());
                    let _ = cache.replace(key_of(key + 8), self.value(key + 8, 120), &SetOptions::new());
                    let _ = cache.touch(key_of(key), Expiry::After(Duration::from_secs(9)));
                    let stamp = cache.get_item(key_of(key + 16)).map_or(Stamp(5), |item| item.stamp);
                    let _ = cache.compare_and_swap(key_of(key + 16), stamp, self.value(key + 16, 8), &how(key));
                }
            }
            11 => {
                let items: Vec<_> = (9..21).map(|key| (key_of(key), self.value(key, 77))).collect();
                cache.set_multi(&items, &SetOptions::new());
                cache.delete_multi(&(9..14).map(key_of).collect::<Vec<_>>());
            }
            12 => self.claim_and_use_namespaces(),
            _ => drop(cache.clear()),
        }
    }

    fn claim_and_use_namespaces(&mut self) {
        let cache = self.cache;
        let wait = CreateOptions::new().wait(Wait::For(Duration::from_millis(1)));
        for key in 20..26 {
            let value = self.value(key, 50);
            let created = cache.get_or_create(key_of(key), &wait, || Ok::<_, ()>(value));
            self.lookup(key, created.ok().as_deref());
        }
        let lock = cache.try_lock("a lock").ok().flatten();
        let _ = (lock.map(|lock| lock.release()), cache.is_claimed("a lock"), cache.namespaces());
        if let Ok(namespace) = cache.namespace("pages", &NamespaceOptions::new()) {
            (0..9).for_each(|key| drop(namespace.set(key_of(key), value_of(90, key))));
            let _ = (namespace.get(key_of(3)), namespace.invalidate(Invalidation::Soft), namespace.get(key_of(4)));
            let _ = (namespace.invalidate(Invalidation::Hard), namespace.get(key_of(5)));
        }
    }
}

/// All operations, beginning with `first`; `clear` is the last.
fn use_all(cache: &Cache, base: &Values, is_checked: bool, first: u8) {
    let mut case = Case { cache, base, set: Vec::new(), is_checked };
    for n in (0..13).map(|n| ((first & 15) + n) % 13).filter(|&n| n != 7 || first & 64 != 0) {
        case.step(n);
    }
    case.read_all();
    case.step(13);
    case.step(8);
}

fn run_damaged(base: &Base, how: u8, input: &mut Input) {
    let first = input.byte();
    let is_checked = how & 2 != 0;
    let mut options = options().verify_reads(is_checked);
    if how & 16 != 0 {
        // Explicit sizes keep a replacement of the file as small.
        let stripes = base.raw.stripes() as u32;
        let sized = options.capacity(ARENA * u64::from(stripes)).stripes(stripes).seats(2);
        options = sized.on_mismatch(OnMismatch::Recreate);
    }
    let mut raw = base.raw.clone();
    restore(base);
    let before = (how & 4 != 0).then(|| options.open(&base.path).expect("a good file"));
    let before_read_only = (how & 4 != 0).then(|| options.open_read_only(&base.path).expect("a good file"));
    let is_good = input.is_over();
    for _ in 0..MOST {
        if damage(&base.raw, &mut raw, input).is_none() {
            break;
        }
    }
    if how & 8 != 0 {
        seal_header(&mut raw.bytes);
    }
    if before.is_none() && raw.bytes.len() < base.raw.bytes.len() {
        let file = File::options().write(true).open(&base.path).expect("the file");
        file.set_len(raw.bytes.len() as u64).expect("a shorter file");
    }
    raw.save();
    let reader = before_read_only.map_or_else(|| options.open_read_only(&base.path), Ok);
    if let Ok(cache) = &reader {
        let mut case = Case { cache, base: &base.values, set: Vec::new(), is_checked };
        [0, 5, 6, 7].into_iter().take(3 + usize::from(first >> 6 == 3)).for_each(|n| case.step(n));
        assert!(cache.set("a", "b").is_err(), "written through a read-only handle");
    }
    let writer = before.map_or_else(|| options.open(&base.path), Ok);
    if is_good {
        let (reader, writer) = (reader.as_ref().expect("a good file"), writer.as_ref().expect("a good file"));
        let hits = (0..KEYS).filter(|&key| reader.contains(key_of(key))).count();
        assert!(hits > 10, "{hits} hits only in a good file");
        assert!(reader.verify().is_ok() && writer.verify().is_ok(), "{:?}", writer.verify());
    }
    if let Ok(cache) = &writer {
        if first & 32 != 0 {
            let mut changes = Changes::of(base, input);
            crash::watch(move |_| changes.access());
        }
        use_all(cache, &base.values, is_checked, first);
        crash::unwatch();
    }
    if let Ok(cache) = &reader {
        let _ = (cache.get(key_of(1)), cache.keys().count(), cache.stats());
    }
}

/// Writes the good bytes back to the same file, at their full length.
fn restore(base: &Base) {
    let file = File::options().write(true).open(&base.path).expect("the file");
    file.set_len(base.raw.bytes.len() as u64).expect("a file of its old length");
    base.raw.save();
}

fn run_raw(how: u8, input: &mut Input) {
    let pages = u64::from(input.byte());
    let mut bytes = input.0.to_vec();
    if how & 8 != 0 {
        seal_header(&mut bytes);
    }
    let path = place::dir().join("raw.cache");
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir_all(path.with_extension("cache.locks"));
    fs::write(&path, &bytes).expect("a file");
    let file = File::options().write(true).open(&path).expect("the file");
    file.set_len((bytes.len() as u64 + pages * 4096).min(MOST_BYTES)).expect("a longer file");
    // A cache file must be this private.
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    file.set_permissions(private).expect("a private file");
    let options = options().verify_reads(how & 2 != 0);
    let none = Values::new();
    if let Ok(cache) = options.open_read_only(&path) {
        let mut case = Case { cache: &cache, base: &none, set: Vec::new(), is_checked: false };
        [0, 5, 6].into_iter().for_each(|n| case.step(n));
    }
    if let Ok(cache) = options.open(&path) {
        use_all(&cache, &none, false, how >> 4);
    }
}

thread_local! {
    static BASES: RefCell<[Option<Base>; SHAPES.len()]> = const { RefCell::new([const { None }; SHAPES.len()]) };
}

fn run(input: &[u8]) {
    let mut input = Input(input);
    let how = input.byte();
    if how & 1 != 0 {
        return run_raw(how, &mut input);
    }
    let number = usize::from(how >> 5) % SHAPES.len();
    BASES.with_borrow_mut(|bases| {
        // A run that replaced the file or its locks needs a new base.
        let base = match bases[number].take() {
            Some(base) if inodes(&base.path) == base.inodes => base,
            _ => Base::make(number),
        };
        let base = bases[number].insert(base);
        run_damaged(base, how, &mut input);
    });
}

fuzz_target!(|input: &[u8]| in_time(|| run(input)));
