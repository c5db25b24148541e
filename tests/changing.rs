//! Words of the file change while an operation runs, because of faulty memory or an attacker.
//!
//! A watcher is called at each access of the engine to shared memory, and stores words into the same file through
//! another descriptor. So an operation may read a changed word at each of its loads, even at the second load of a word
//! that it has already checked.
#![cfg(all(unix, feature = "crash-points"))]

mod common;

use common::raw::{LIVE, MAIN_OR_GHOST, Raw, header, stripe};
use common::{Place, Random, must_end, proof, proven};
use kennel::crash::{unwatch, watch};
use kennel::{
    Cache, CreateOptions, Error, Expiry, Invalidation, LockStrategy, Lookup, NamespaceOptions, Options, SetOptions,
    Stamp, Swap, Wait,
};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const KEYS: u32 = 40;

/// Stores words into a file that is mapped elsewhere.
struct Hand {
    file: File,
    parts: Vec<Range<usize>>,
    random: Random,
}

impl Hand {
    /// Reaches everything except the checked part of the header and the replacement mark.
    fn on(path: &Path, seed: u64) -> Self {
        let raw = Raw::load(path);
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let heads = (0..raw.stripes()).map(|stripe| raw.stripe(stripe) + 64..raw.stripe(stripe) + 256);
        let mut parts: Vec<_> = heads.collect();
        parts.extend([
            header::EPOCHS..header::REPLACED,
            header::UNVERIFIED..header::UNVERIFIED + 8,
            // The namespaces, whose entries lie before the stripes.
            raw.stripe(0) - 4 * 256..raw.stripe(0),
            raw.claim(0, 0)..raw.stripe(1),
            raw.bucket(0, 0)..raw.bucket(raw.stripes(), 0),
            raw.arena(0)..raw.arena(raw.stripes()),
        ]);
        Self { file, parts, random: Random(seed) }
    }

    fn word(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at as u64).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn any_place(&mut self) -> usize {
        // The heads of the stripes, which contain positions, more often than everything else.
        let part = self.random.below(2 * self.parts.len() as u64) as usize % self.parts.len();
        let part = self.parts[if self.random.below(3) == 0 { part } else { part.min(1) }].clone();
        part.start + self.random.below((part.len() / 8) as u64) as usize * 8
    }

    /// Flips a bit of a word so that one digit differs.
    fn flip(&mut self, at: usize) {
        let word = self.word(at) ^ 8;
        self.file.write_all_at(&word.to_le_bytes(), at as u64).unwrap();
    }

    fn store_any(&mut self) {
        let at = self.any_place();
        let now = self.word(at);
        let word = match self.random.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => now.wrapping_add(1 + self.random.below(40)),
            3 => now.wrapping_sub(1 + self.random.below(40)),
            4 => self.random.below(u64::MAX),
            5 => self.random.below(1 << 12),
            6 => {
                let other = self.any_place();
                self.word(other)
            }
            _ => now ^ 1 << self.random.below(64),
        };
        self.file.write_all_at(&word.to_le_bytes(), at as u64).unwrap();
    }
}

fn options() -> Options {
    let sizes = Options::new().capacity(16 << 10).stripes(2).mean_item(100).seats(2).namespaces(4).claims(4);
    sizes.seed(5).verify_reads(true).lock_wait(Duration::from_millis(1))
}

fn key(n: u32) -> String {
    format!("key{n}")
}

/// A cache with full rings, including records with extensions and namespaces.
fn fill(cache: &Cache) {
    let namespace = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    for n in 0..KEYS * 5 {
        let _ = cache.set(key(n % KEYS), proof(n % KEYS, n, 8 * (1 + n as usize % 40)));
        let _ = namespace.set(key(n), proof(n, n, 40));
        let _ = cache.get(key(n / 2 % KEYS));
    }
}

/// All operations. Errors and misses are fine; a value must belong to its key.
fn use_all(cache: &Cache, round: u32) {
    let namespace = cache.namespace("pages", &NamespaceOptions::new());
    let wait = CreateOptions::new().wait(Wait::For(Duration::from_millis(1)));
    let mut buffer = [0; 400];
    for n in 0..KEYS {
        let (key, value) = (key(n), proof(n, round, 8 * (1 + (n + round) as usize % 40)));
        cache.get(&key).map(|value| proven(n, &value));
        cache.get_into(&key, &mut buffer).ok().flatten().map(|len| proven(n, &buffer[..len]));
        cache.get_item(&key).map(|item| proven(n, &item.value));
        let _ = match (n + round) % 10 {
            0 | 1 => cache.set(&key, value).is_ok(),
            2 => cache.set_with(&key, value, &SetOptions::new().flags(n)).is_ok(),
            3 => cache.delete(&key).is_ok(),
            4 => cache.touch(&key, Expiry::After(Duration::from_secs(60))).is_ok(),
            5 => cache.incr(&key, 1).is_ok(),
            6 => cache.add(&key, value, &SetOptions::new()).is_ok(),
            7 => cache.compare_and_swap(&key, Stamp(7), value, &SetOptions::new()).is_ok(),
            8 => cache.get_or_create(&key, &wait, || Ok::<_, ()>(value)).map(|value| proven(n, &value)).is_ok(),
            _ => namespace.as_ref().is_ok_and(|namespace| namespace.set(&key, value).is_ok()),
        };
    }
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    for (n, value) in cache.get_multi(&keys).into_iter().enumerate() {
        value.map(|value| proven(n as u32, &value));
    }
    let items: Vec<_> = (0..KEYS).map(|n| (key(n), proof(n, round, 120))).collect();
    // A word that says that the file is closed makes writes wait, and then fail.
    let is_fine = |error: Option<&Error>| matches!(error, None | Some(Error::Busy { .. }));
    let stored = cache.set_multi(&items, &SetOptions::new());
    assert!(stored.iter().all(|result| is_fine(result.as_ref().err())), "{stored:?}");
    let removed = cache.delete_multi(&keys[..5]);
    assert!(removed.iter().all(|result| is_fine(result.as_ref().err())), "{removed:?}");
    let _ = cache.try_lock("a lock").map(|lock| lock.map(|lock| lock.is_protected()));
    let _ = (cache.keys().count(), cache.namespaces(), cache.stats(), cache.stripe_stats(), cache.verify());
    let _ = cache.flush();
    if let Ok(namespace) = namespace {
        let _ = (namespace.invalidate(Invalidation::Hard), namespace.invalidate(Invalidation::Soft));
    }
    let _ = if round.is_multiple_of(4) { cache.clear() } else { cache.invalidate(Invalidation::Soft) };
}

/// When a tail changed during eviction, loops were endless, with the stripe's lock held; a changed head led beyond the
/// end of the mapping.
#[test]
fn words_that_change_while_an_operation_runs_are_survived() {
    for round in 0..60 {
        for (locks, boot) in [(LockStrategy::Process, [1, 1]), (LockStrategy::None, [1, 2])] {
            println!("round {round}");
            must_end("the use of a file that changes", move || {
                let place = Place::new();
                let options = options().locks(locks).near_last_position(round % 5 == 4);
                let cache = options.create(place.path()).unwrap();
                fill(&cache);
                drop(cache);
                // Opened in another boot, so that some stripes are rebuilt.
                let cache = options.boot_id(boot).open(place.path()).unwrap();
                let mut hand = Hand::on(&place.path(), u64::from(round));
                let one_in = [3, 20, 100, 1000][round as usize % 4];
                watch(move |_| {
                    if hand.random.below(one_in) == 0 {
                        hand.store_any();
                    }
                });
                use_all(&cache, round);
                unwatch();
                use_all(&cache, round + 1);
            });
        }
    }
}

/// Changes from another thread, at any moment.
#[test]
fn words_that_another_thread_changes_are_survived() {
    must_end("the use of a file that another thread changes", || {
        let place = Place::new();
        let cache = options().create(place.path()).unwrap();
        fill(&cache);
        let mut hand = Hand::on(&place.path(), 1);
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let storing = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                hand.store_any();
            }
        });
        (0..40).for_each(|round| use_all(&cache, round));
        over.store(true, Ordering::Relaxed);
        storing.join().unwrap();
        use_all(&cache, 100);
    });
}

/// Where a record wrongly stated an extension and the file ended before it, `invalidate` read beyond the mapping.
#[test]
fn a_record_without_room_for_its_extension_is_passed_over_by_an_invalidation() {
    let place = Place::new();
    let cache = options().locks(LockStrategy::None).create(place.path()).unwrap();
    (0..10).for_each(|_| fill(&cache));
    let mut raw = Raw::load(&place.path());
    let last = raw.stripes() - 1;
    let (arena_end, len) = (raw.arena(last + 1), raw.word(header::MAIN_LEN) / 8);
    assert_eq!(arena_end, raw.bytes.len(), "the last ring ends with the file");
    // A record of four units, the smallest, in the last four of the ring, and a slot that leads to it.
    let lap = len.next_power_of_two();
    let head = raw.word(raw.stripe(last) + stripe::MAIN_HEAD);
    let position = (head / lap - 1) * lap + len - 4;
    raw.set(arena_end - 32, 4 << 32 | 2);
    let slot_at = raw.empty_slot(last);
    raw.set(slot_at, LIVE | MAIN_OR_GHOST | position);
    // After a crash of the system, a namespace's records are removed one by one.
    raw.set(header::UNVERIFIED, 1);
    raw.save();
    let namespace = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    namespace.invalidate(Invalidation::Hard).unwrap();
    assert!((0..KEYS * 5).all(|n| namespace.get(key(n)).is_none()));
}

/// The places of a key's extension and value in a file.
fn words_of(path: &Path, key: &str) -> Vec<usize> {
    let record_at = Raw::load(path).find(key.as_bytes()).record_at;
    // The caller's flags, and the first, the second and a later word of the value.
    let value_at = record_at + 32 + 24 + key.len().next_multiple_of(8);
    [record_at + 32 + 16, value_at, value_at + 8, value_at + 40].into()
}

/// The result of a way to read a key: its value, and its flags if the call returns them.
type Way = (&'static str, fn(&Cache, &str) -> Option<(Vec<u8>, Option<u32>)>);

const FLAGS: u32 = 77;

const WAYS: &[Way] = &[
    ("get", |cache, key| Some((cache.get(key)?, None))),
    ("get_item", |cache, key| cache.get_item(key).map(|item| (item.value, Some(item.flags)))),
    ("get_into", |cache, key| {
        let mut buffer = vec![0; 60_000];
        let len = cache.get_into(key, &mut buffer).unwrap()?;
        buffer.truncate(len);
        Some((buffer, None))
    }),
    ("get_with", |cache, key| Some((cache.get_with(key, |len| vec![0; len]).ok()??, None))),
    ("get_multi", |cache, key| Some((cache.get_multi(&["none", key]).remove(1)?, None))),
    ("get_multi_into", |cache, key| {
        let mut values = kennel::Values::new();
        cache.get_multi_into(&["none", key], &mut values);
        Some((values.iter().nth(1)??.to_vec(), None))
    }),
    ("try_get_items_into", |cache, key| {
        let mut values = kennel::Values::new();
        let item = cache.try_get_items_into(&["none", key], &mut values).unwrap().remove(1)?;
        assert_eq!(values.get(1).map(<[u8]>::len), Some(item.value));
        Some((values.get(1)?.to_vec(), Some(item.flags)))
    }),
    ("get_or_create", |cache, key| {
        let created = cache.get_or_create(key, &CreateOptions::new(), || Err::<Vec<u8>, ()>(()));
        created.ok().map(|value| (value, None))
    }),
    ("claim", |cache, key| match cache.claim(key, &CreateOptions::new()).unwrap() {
        Lookup::Hit(item) => Some((item.value, Some(item.flags))),
        _ => None,
    }),
];

/// The engine checked one copy and returned another.
#[test]
fn a_word_that_changes_at_any_moment_of_a_verified_read_is_not_returned() {
    let mut hits = 0;
    let mut misses = 0;
    for &(how, read) in WAYS {
        for len in [64, 1000, 60_000] {
            let place = Place::new();
            let cache = Options::new().capacity(512 << 10).stripes(1).verify_reads(true).create(place.path()).unwrap();
            let value = proof(1, 1, len);
            for (n, at) in (0..4).flat_map(|word| (0..40).map(move |at| (word, at))) {
                cache.set_with("key", &value, &SetOptions::new().flags(FLAGS)).unwrap();
                let word_at = words_of(&place.path(), "key")[n];
                let file = OpenOptions::new().read(true).write(true).open(place.path()).unwrap();
                let mut hand = Hand { file, parts: Vec::new(), random: Random(0) };
                let mut events = 0;
                watch(move |_| {
                    if events == at {
                        hand.flip(word_at);
                    }
                    events += 1;
                });
                let found = read(&cache, "key");
                unwatch();
                let told = format!("{how} of {len} bytes, word {n} changed at access {at}");
                match found {
                    Some((found, flags)) => {
                        assert!(found == value, "{told}: another value");
                        assert!(flags.is_none_or(|flags| flags == FLAGS), "{told}: flags {flags:?}");
                        hits += 1;
                    }
                    None => misses += 1,
                }
            }
        }
    }
    assert!(hits > 200 && misses > 200, "{hits} hits, {misses} misses");
}

/// A write relies on the words that it checked.
#[test]
fn a_word_that_changes_at_any_moment_of_a_verified_write_is_not_built_on() {
    let place = Place::new();
    let cache = Options::new().capacity(64 << 10).stripes(1).verify_reads(true).create(place.path()).unwrap();
    for (word, at) in (0..2).flat_map(|word| (0..40).map(move |at| (word, at))) {
        cache.set_with("key", "11111111", &SetOptions::new().flags(FLAGS)).unwrap();
        let word_at = words_of(&place.path(), "key")[word];
        let file = OpenOptions::new().read(true).write(true).open(place.path()).unwrap();
        let mut hand = Hand { file, parts: Vec::new(), random: Random(0) };
        let mut events = 0;
        watch(move |_| {
            if events == at {
                hand.flip(word_at);
            }
            events += 1;
        });
        let sum = cache.incr("key", 1).unwrap();
        unwatch();
        let told = format!("word {word} changed at access {at}");
        assert!(sum.is_none_or(|sum| sum == 11_111_112), "{told}: {sum:?}");
        let item = cache.get_item("key");
        assert!(item.as_ref().is_none_or(|item| item.flags == FLAGS), "{told}: {item:?}");
        assert!(item.is_none_or(|item| item.value == b"11111111" || item.value == b"11111112"), "{told}");
    }
}

/// If a read with checksums misses a record, writes must treat it as missing, too.
#[test]
fn a_damaged_record_counts_as_absent_where_reads_are_verified() {
    let place = Place::new();
    let cache = Options::new().capacity(64 << 10).stripes(1).verify_reads(true).create(place.path()).unwrap();
    let how = SetOptions::new().flags(FLAGS);
    let damaged = || {
        let stamp = cache.set_with("key", proof(1, 1, 64), &how).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(place.path()).unwrap();
        Hand { file, parts: Vec::new(), random: Random(0) }.flip(words_of(&place.path(), "key")[2]);
        stamp
    };
    let stamp = damaged();
    assert_eq!(cache.compare_and_swap("key", stamp, "new", &how).unwrap(), Swap::Absent);
    assert!(!cache.replace("key", "new", &how).unwrap());
    assert!(!cache.touch("key", Expiry::Never).unwrap());
    assert_eq!(cache.incr("key", 1).unwrap(), None);
    assert!(!cache.delete("key").unwrap());
    damaged();
    assert!(cache.add("key", "new", &how).unwrap());
    assert_eq!(cache.get("key").as_deref(), Some(&b"new"[..]));
}
