//! `verify` finds one planted damage for each invariant that it names, and no operation on a damaged file panics,
//! hangs, or returns another key's bytes while reads are verified.

mod common;

use common::raw::{DEAD, LIVE, MAIN_OR_GHOST, MARK, POSITION, Raw, header, record, stripe};
use common::{Place, Random, assert_sound, must_end, proof, proven};
use kennel::{Cache, Expiry, LockStrategy, Options, SetOptions, Stamp, Verification};

/// A closed cache file with records in both rings and ghosts, and its bytes.
struct Base {
    place: Place,
    keys: Vec<Vec<u8>>,
    raw: Raw,
}

fn options(strategy: LockStrategy) -> Options {
    Options::new().capacity(16 << 10).stripes(2).mean_item(40).seats(2).locks(strategy).seed(3)
}

fn key(n: u32) -> Vec<u8> {
    format!("key{n:05}").into_bytes()
}

fn number(key: &[u8]) -> u32 {
    String::from_utf8_lossy(&key[3..]).parse().unwrap()
}

/// Items whose number is a multiple of five have that number as caller's flags.
fn how(n: u32) -> SetOptions {
    SetOptions::new().flags(if n.is_multiple_of(5) { n } else { 0 })
}

fn set(cache: &Cache, n: u32, value: Vec<u8>) {
    cache.set_with(key(n), value, &how(n)).unwrap();
}

fn base(strategy: LockStrategy) -> Base {
    let place = Place::new();
    let cache = options(strategy).create(place.path()).unwrap();
    (0..600).for_each(|n| set(&cache, n, proof(n, 1, 48)));
    // Overwritten and deleted items leave dead records; reads leave access marks.
    (590..600).for_each(|n| set(&cache, n, proof(n, 2, 96)));
    let keys: Vec<_> = cache.keys().collect();
    assert!(cache.delete(&keys[0]).unwrap());
    assert!(cache.get_multi(&keys)[1..].iter().all(Option::is_some));
    assert!(cache.stats().counters.evictions_small > 10, "there are ghosts");
    assert!(cache.stats().counters.promotions > 10, "there are records in the main ring");
    assert_sound(&cache);
    drop(cache);
    let raw = Raw::load(&place.path());
    Base { place, keys: keys[1..].to_vec(), raw }
}

impl Base {
    fn open(&self) -> kennel::Result<Cache> {
        Options::new().verify_reads(true).open(self.place.path())
    }

    fn read_only(&self) -> Cache {
        Options::new().verify_reads(true).open_read_only(self.place.path()).unwrap()
    }

    /// A key with a plain record, and another one in the same or another stripe; both have the same length.
    fn two(&self, same_stripe: bool) -> (&[u8], &[u8]) {
        let plain = |key: &&Vec<u8>| !number(key).is_multiple_of(5);
        let first = self.keys.iter().find(plain).unwrap();
        let home = self.raw.stripe_of(first);
        let fits = |key: &&Vec<u8>| *key != first && (self.raw.stripe_of(key) == home) == same_stripe;
        (first, self.keys.iter().filter(plain).find(fits).unwrap())
    }

    fn one(&self) -> &[u8] {
        self.two(true).0
    }
}

/// Damages the file in one way. Returns the stripe.
type Plant = fn(&Base, &mut Raw) -> usize;

/// Each invariant with each way to break it.
const PLANTS: &[(&str, Plant)] = &[
    ("ring ends", |_, raw| {
        let at = raw.stripe(1);
        let head = raw.word(at + stripe::SMALL_HEAD);
        raw.set(at + stripe::SMALL_TAIL, head + 1);
        1
    }),
    ("ring ends", |_, raw| {
        let at = raw.stripe(0);
        raw.change(at + stripe::MAIN_HEAD, |head| head | 1 << 50);
        0
    }),
    ("ring walk closes", |base, raw| {
        let found = raw.find(base.one());
        raw.change(found.record_at, |shape| shape & 0xffff_ffff);
        found.stripe
    }),
    ("ring walk closes", |base, raw| {
        let found = raw.find(base.one());
        raw.change(found.record_at, |shape| shape & !0xff | 9);
        found.stripe
    }),
    ("ring walk closes", |base, raw| {
        // A key longer than its record.
        let found = raw.find(base.one());
        raw.change(found.record_at, |shape| shape | 0xffff << 16);
        found.stripe
    }),
    ("stripe", |base, raw| {
        let (one, elsewhere) = base.two(false);
        let found = raw.find(one);
        raw.bytes[found.record_at + record::KEY..][..one.len()].copy_from_slice(elsewhere);
        found.stripe
    }),
    ("checksum", |base, raw| {
        // A bit of the value.
        let found = raw.find(base.one());
        raw.change(found.record_at + record::KEY + 8, |word| word ^ 1 << 17);
        found.stripe
    }),
    ("checksum", |base, raw| {
        // A bit of the expiry, or of its check bits.
        let found = raw.find(base.one());
        raw.change(found.record_at + record::EXPIRY, |word| word ^ 1 << 43);
        found.stripe
    }),
    ("checksum", |base, raw| {
        // The epoch.
        let found = raw.find(base.one());
        raw.change(found.record_at + record::SEAL, |word| word ^ 1 << 41);
        found.stripe
    }),
    ("stamps", |base, raw| {
        let found = raw.find(base.one());
        let stamp = raw.word(found.record_at + record::STAMP);
        raw.set(raw.stripe(found.stripe) + stripe::STAMP, stamp - 1);
        found.stripe
    }),
    ("one live record per key", |base, raw| {
        let (one, other) = base.two(true);
        let found = raw.find(other);
        raw.bytes[found.record_at + record::KEY..][..one.len()].copy_from_slice(one);
        found.stripe
    }),
    ("even versions", |base, raw| {
        let found = raw.find(base.one());
        raw.change(found.bucket_at, |version| version | 1);
        found.stripe
    }),
    ("ghosts", |_, raw| {
        // A ghost of a record that is still there.
        let at = raw.empty_slot(0);
        let tail = raw.word(raw.stripe(0) + stripe::SMALL_TAIL);
        raw.set(at, MAIN_OR_GHOST | (tail + 1));
        0
    }),
    ("ghosts", |_, raw| {
        let is_ghost = |&at: &usize| raw.word(at) & (LIVE | MAIN_OR_GHOST) == MAIN_OR_GHOST;
        let at = raw.slots(1).find(is_ghost).expect("a ghost");
        raw.change(at, |slot| slot | MARK);
        1
    }),
    ("empty slots", |_, raw| {
        let at = raw.empty_slot(0);
        raw.set(at, 1);
        0
    }),
    ("slots between tail and head", |base, raw| {
        let found = raw.find(base.one());
        raw.change(found.slot_at, |slot| slot | POSITION);
        found.stripe
    }),
    ("slots between tail and head", |_, raw| {
        // Just behind the tail, where a record was until recently.
        let is_small = |&at: &usize| raw.word(at) & (LIVE | MAIN_OR_GHOST) == LIVE;
        let at = raw.slots(1).find(is_small).expect("a record in the small ring");
        let tail = raw.word(raw.stripe(1) + stripe::SMALL_TAIL);
        raw.change(at, |slot| slot & !POSITION | (tail - 1));
        1
    }),
    ("slot to its record", |base, raw| {
        // Into the middle of the record.
        let found = raw.find(base.one());
        raw.change(found.slot_at, |slot| slot + 1);
        found.stripe
    }),
    ("slot to its record", |base, raw| {
        // Another tag than the key's.
        let found = raw.find(base.one());
        raw.change(found.slot_at, |slot| slot ^ 1 << 60);
        found.stripe
    }),
    ("slot to its record", |base, raw| {
        // Two slots for one record.
        let found = raw.find(base.one());
        let at = raw.empty_slot(found.stripe);
        raw.set(at, raw.word(found.slot_at));
        found.stripe
    }),
    ("dead marks", |base, raw| {
        let found = raw.find(base.one());
        raw.change(found.record_at + record::EXPIRY, |word| word | DEAD);
        found.stripe
    }),
    ("dead marks", |base, raw| {
        // A rebuild would revive a live record without a slot.
        let found = raw.find(base.one());
        raw.set(found.slot_at, 0);
        found.stripe
    }),
    ("live count", |_, raw| {
        let at = raw.stripe(1);
        raw.change(at + stripe::LIVE, |live| live + 1);
        1
    }),
    ("claims", |_, raw| {
        // An owner beyond the last seat.
        let at = raw.claim_held(0, 5, 1);
        raw.set(at + 24, u64::from(raw.half(header::SEATS)) << 32);
        0
    }),
    ("claims", |_, raw| {
        // Two claims for one key.
        for (claim, number) in [(0, 1), (63, 2)] {
            let at = raw.claim_held(1, claim, number);
            raw.set(at + 8, 77);
        }
        1
    }),
    ("claims", |_, raw| {
        // A number that was never given.
        raw.claim_held(0, 0, 1);
        raw.set(raw.stripe(0) + stripe::CLAIM_NUMBER, 0);
        0
    }),
    ("claims", |_, raw| {
        // Held where no search looks for it.
        raw.claim_held(1, 7, 1);
        raw.set(raw.stripe(1) + stripe::CLAIMS_USED, 7);
        1
    }),
    ("claims", |_, raw| {
        // A state that no claim ever has.
        let at = raw.claim(1, 0);
        raw.set(at, 1 << 8 | 99);
        1
    }),
    ("unused parts", |_, raw| {
        // The last reserved word of the second seat.
        raw.set(4096 + 1280 + 120, 1);
        0
    }),
    ("unused parts", |_, raw| {
        // The generation of the second namespace.
        raw.set(raw.namespace(1) + 224, 1 << 63);
        0
    }),
    ("unused parts", |_, raw| {
        // The last reserved word of the last histogram.
        raw.set(raw.histogram(3) - 8, 1);
        0
    }),
    ("unused parts", |_, raw| {
        // The flags of the second namespace, above the jitter.
        raw.set(raw.namespace(1) + 40, 1 << 10);
        0
    }),
    ("unused parts", |_, raw| {
        raw.set(raw.stripe(1) + 512 - 8, 1);
        1
    }),
];

fn assert_names(found: &Verification, invariant: &str, stripe: usize, how: &str) {
    let named = found.problems.iter().any(|problem| problem.invariant == invariant);
    assert!(named, "{invariant:?} was not found {how}: {found:#?}");
    let at_home = found.problems.iter().all(|problem| problem.stripe as usize == stripe);
    assert!(at_home, "a problem in a stripe that was not damaged: {found:#?}");
    assert!(found.problems.iter().all(|problem| problem.to_string().contains(&problem.invariant)));
}

#[test]
fn verify_finds_nothing_in_a_sound_file() {
    let base = base(LockStrategy::File);
    assert_sound(&base.read_only());
    let cache = base.open().unwrap();
    assert_sound(&cache);
    let found = cache.verify();
    assert_eq!((found.stripes, found.records), (2, cache.stats().items));
    assert_eq!(found.records, base.keys.len() as u64);
}

#[test]
fn verify_finds_a_damage_of_each_invariant() {
    let base = base(LockStrategy::Process);
    for (i, &(invariant, plant)) in PLANTS.iter().enumerate() {
        let mut raw = base.raw.clone();
        let stripe = plant(&base, &mut raw);
        raw.save();
        assert_names(&base.read_only().verify(), invariant, stripe, &format!("read-only, plant {i}"));
        assert!(Raw::load(&base.place.path()).bytes == raw.bytes, "a read-only verify changes nothing");
        let locking = base.open().unwrap().verify();
        if invariant == "ring ends" {
            // Locking such a stripe empties it: its index would lead anywhere.
            assert!(locking.is_ok(), "{locking:#?}");
            let left = base.keys.iter().filter(|key| raw.stripe_of(key) != stripe).count();
            assert_eq!(locking.records, left as u64, "the other stripe is untouched");
        } else if invariant == "claims" {
            // Opening a file of strategy `process` ends all claims.
            assert!(locking.is_ok(), "{locking:#?}");
        } else {
            assert_names(&locking, invariant, stripe, &format!("with the lock, plant {i}"));
        }
    }
}

#[test]
fn an_operation_left_half_done_is_completed_by_a_verify_that_locks_and_told_by_one_that_does_not() {
    for kind in [1, 2, 3, 4, 5, 6, 7, 99] {
        let base = base(LockStrategy::Process);
        let mut raw = base.raw.clone();
        let found = raw.find(base.one());
        let at = raw.stripe(found.stripe);
        let slot = raw.word(found.slot_at);
        raw.change(at + stripe::INTENT, |word| word & !0xff | kind);
        raw.set(at + stripe::INTENT_SLOT, found.slot_at as u64);
        // Old and new slot, and the live counts after the operation was done and undone.
        let live = raw.word(at + stripe::LIVE);
        [(8, slot), (16, 0), (24, live - 1), (32, live)]
            .into_iter()
            .for_each(|(offset, word)| raw.set(at + stripe::INTENT_SLOT + offset, word));
        raw.save();
        let reader = base.read_only();
        let told = reader.verify();
        assert_eq!(told.unchecked, [found.stripe as u32], "kind {kind}: {told:#?}");
        assert!(told.is_ok(), "{told:#?}");
        assert!(reader.stripe_stats()[found.stripe].intent.is_some());
        drop(reader);
        let cache = base.open().unwrap();
        let repaired = cache.verify();
        assert!(repaired.is_ok() && repaired.unchecked.is_empty(), "kind {kind}: {repaired:#?}");
        let stats = &cache.stripe_stats()[found.stripe];
        assert_eq!((stats.repairs, stats.intent.as_deref()), (1, None));
        let repair = stats.last_repair.as_ref().unwrap();
        assert_eq!(repair.by_pid, std::process::id());
        assert_eq!(repair.intent == "unknown (99)", kind == 99, "{repair:?}");
    }
}

/// All operations on a cache that may be damaged. Errors and misses are fine; a value must belong to its key.
fn use_all(cache: &Cache, keys: &[Vec<u8>]) {
    let mut buf = [0; 200];
    for key in keys {
        let n = number(key);
        let values = [
            cache.get(key),
            cache.get_into(key, &mut buf).ok().flatten().map(|len| buf[..len].to_vec()),
            cache.get_multi(&[key]).remove(0),
        ];
        for value in values.iter().flatten() {
            proven(n, value);
        }
        if let Some(item) = cache.get_item(key) {
            proven(n, &item.value);
            assert!(item.flags == 0 || item.flags == n, "flags {} of key {n}", item.flags);
        }
        let _ = cache.contains(key);
        let _ = match n % 8 {
            0 => cache.set_with(key, proof(n, 3, 64), &how(n)).is_ok(),
            1 => cache.delete(key).is_ok(),
            2 => cache.touch(key, Expiry::Never).is_ok(),
            3 => cache.incr(key, 1).is_ok(),
            4 => cache.add(key, proof(n, 4, 256), &SetOptions::new()).is_ok(),
            5 => cache.replace(key, proof(n, 5, 8), &how(n)).is_ok(),
            6 => cache.compare_and_swap(key, Stamp(7), proof(n, 6, 8), &how(n)).is_ok(),
            _ => true,
        };
    }
    let batch: Vec<_> = keys.iter().map(|key| (key, proof(number(key), 7, 120))).collect();
    // What was damaged may refuse single items.
    let _ = cache.set_multi(&batch, &SetOptions::new());
    let _ = cache.delete_multi(&keys[..keys.len() / 2]);
    // Many new items, so that both rings wrap around over the damage.
    for n in 10_000..10_200 {
        let _ = cache.set(key(n), proof(n, 1, 8 * (1 + n as usize % 30)));
        cache.get(key(n)).map(|value| proven(n, &value));
    }
    look_at_all(cache, keys);
    let _ = cache.clear();
}

/// All operations that do not write.
fn look_at_all(cache: &Cache, keys: &[Vec<u8>]) {
    for (key, value) in keys.iter().zip(cache.get_multi(keys)) {
        value.map(|value| proven(number(key), &value));
    }
    let _ = (cache.keys().count(), cache.verify(), cache.stats().counters.evictions(), cache.stripe_stats());
}

#[test]
fn nothing_panics_hangs_or_returns_foreign_bytes_on_a_file_with_a_planted_damage() {
    let base = base(LockStrategy::Process);
    for &(_, plant) in PLANTS {
        let mut raw = base.raw.clone();
        plant(&base, &mut raw);
        raw.save();
        look_at_all(&base.read_only(), &base.keys);
        use_all(&base.open().unwrap(), &base.keys);
    }
}

/// Words for damage: some that are likely to pass a check, and some that are not.
fn bad_word(random: &mut Random, raw: &Raw, now: u64) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => now.wrapping_add(1),
        3 => now.wrapping_sub(1),
        4 => random.below(u64::MAX),
        5 => random.below(1 << 12),
        6 => raw.word(random.below(raw.bytes.len() as u64 / 8) as usize * 8),
        _ => now ^ 1 << random.below(64),
    }
}

/// Damages some words, except for the fixed part of the header, which has a checksum.
fn damage(random: &mut Random, raw: &mut Raw) {
    let parts = [
        (header::FILE_ID, 704),
        (4096, 4096 + 2 * 1280),
        (raw.stripe(0), raw.stripe(0) + 512),
        (raw.stripe(1), raw.stripe(1) + 512),
        (raw.bucket(0, 0), raw.bucket(2, 0)),
        (raw.arena(0), raw.arena(2)),
    ];
    for _ in 0..=random.below(6) {
        let (from, to) = random.pick(&parts);
        let at = from + random.below((to - from) as u64 / 8) as usize * 8;
        let word = bad_word(random, raw, raw.word(at));
        // With a replacement mark, each operation looks for the new file, and with the mark of a closed file each write
        // waits, so other tests cover them.
        if at != header::REPLACED && at != header::FLUSH {
            raw.set(at, word);
        }
    }
}

fn random_damage(strategy: LockStrategy, rounds: u64, open_before: bool) {
    let base = base(strategy);
    let mut opened = 0;
    for round in 0..rounds {
        println!("round {round}");
        base.raw.save();
        let before = open_before.then(|| base.open().unwrap());
        let mut raw = Raw::load(&base.place.path());
        damage(&mut Random(round), &mut raw);
        raw.save();
        let keys = base.keys.clone();
        if let Some(cache) = before.or_else(|| base.open().ok()) {
            opened += 1;
            must_end("the use of a damaged file", move || use_all(&cache, &keys));
        }
    }
    assert!(opened * 2 > rounds, "{opened} of {rounds} could be opened: too few to prove anything");
}

#[test]
fn random_damage_of_a_closed_file_is_survived() {
    random_damage(LockStrategy::Process, 300, false);
}

#[test]
fn random_damage_of_a_closed_file_with_lock_files_is_survived() {
    random_damage(LockStrategy::File, 60, false);
}

#[test]
fn random_damage_ends_well_with_leases() {
    random_damage(LockStrategy::Lease, 60, false);
}

#[test]
fn random_damage_under_an_open_handle_is_survived() {
    random_damage(LockStrategy::Process, 150, true);
}

#[test]
fn random_damage_is_survived_by_a_read_only_handle() {
    let base = base(LockStrategy::Process);
    for round in 0..200 {
        println!("round {round}");
        let mut raw = base.raw.clone();
        damage(&mut Random(1000 + round), &mut raw);
        raw.save();
        let (cache, keys) = (base.read_only(), base.keys.clone());
        must_end("reading a damaged file", move || look_at_all(&cache, &keys));
    }
}

#[test]
fn counters_and_counts_of_any_value_are_told_without_a_panic() {
    let base = base(LockStrategy::Process);
    let mut raw = base.raw.clone();
    for s in 0..2 {
        let at = raw.stripe(s);
        raw.set(at + stripe::LIVE, u64::MAX);
        (0..16).for_each(|i| raw.set(at + stripe::COUNTERS + i * 8, u64::MAX));
    }
    (0..144).for_each(|i| raw.set(4096 + 128 + i * 8, u64::MAX));
    raw.save();
    let reader = base.read_only();
    let _ = (reader.stats().counters.evictions(), reader.stripe_stats(), reader.verify());
    drop(reader);
    let cache = base.open().unwrap();
    cache.set("key", "value").unwrap();
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    let _ = (cache.stats().counters.evictions(), cache.stripe_stats(), cache.verify());
}

#[test]
fn a_mark_of_replacement_that_a_killed_process_left_does_no_harm() {
    // `Recreate` marks the old file before the new one is in place; a death in between leaves the mark.
    for strategy in [LockStrategy::None, LockStrategy::Process, LockStrategy::File, LockStrategy::Lease] {
        let base = base(strategy);
        let mut raw = base.raw.clone();
        raw.set(header::REPLACED, 1);
        raw.save();
        let (reader, one) = (base.read_only(), base.one().to_vec());
        must_end("a read of a file with a mark left behind", move || {
            let _ = (reader.get(&one), reader.contains(&one), reader.keys().count(), reader.verify());
        });
        let cache = base.open().unwrap();
        proven(number(base.one()), &cache.get(base.one()).unwrap());
        cache.set("key", "value").unwrap();
        assert!(cache.contains("key"));
        // The same mark under an open handle.
        raw = Raw::load(&base.place.path());
        raw.set(header::REPLACED, 1);
        raw.save();
        must_end("the use of a file with a mark left behind", move || {
            let _ = (cache.get("key"), cache.set("key", "value"), cache.get("key"), cache.stats());
        });
    }
}

#[test]
fn a_damaged_number_is_not_counted_on_where_reads_are_verified() {
    // Found by fuzzing: the sum of a damaged number was stored with a good checksum, and a later read hit it.
    let place = Place::new();
    let options = Options::new().capacity(64 << 10).verify_reads(true);
    let cache = options.create(place.path()).unwrap();
    cache.set("n", "3333333").unwrap();
    drop(cache);
    let mut raw = Raw::load(&place.path());
    let value_at = raw.find(b"n").record_at + 40;
    raw.change(value_at, |digits| digits ^ u64::from(b'3' ^ b'7') << 8);
    raw.save();
    let cache = options.open(place.path()).unwrap();
    assert_eq!(cache.get("n"), None);
    assert_eq!(cache.incr("n", 7).unwrap(), None);
    assert_eq!(cache.decr("n", 7).unwrap(), None);
    assert_eq!(cache.get("n"), None);
    let trusting = Options::new().open(place.path()).unwrap();
    assert_eq!(trusting.incr("n", 7).unwrap(), Some(3_733_340), "the damage is the one that is meant");
}
