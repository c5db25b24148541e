//! The bytes of a new file match `docs/format.md`, checked without the engine.

mod common;

use common::raw::{LIVE, Raw, header, record, stripe};
use common::{Place, TestClock, moment};
use kennel::{AfterCrash, Expiry, LockStrategy, Options, SetOptions};
#[cfg(unix)]
use std::fs;
use xxhash_rust::xxh3::xxh3_64;

fn options() -> Options {
    Options::new()
        .capacity(64 << 10)
        .mean_item(50)
        .stripes(4)
        .lock_regions(2)
        .seats(3)
        .namespace_reads(true)
        .samples(true)
        .seed(0x1234_5678_9abc_def0)
        .clock(TestClock::at(1_700_000_000_123))
}

#[test]
fn the_header_of_a_new_file_says_what_was_asked_for() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let (raw, stats) = (Raw::load(&place.path()), cache.stats());
    assert_eq!(&raw.bytes[..8], b"KENNELca");
    assert_eq!((raw.half(header::FORMAT), raw.half(header::HEADER_LEN)), (3, 4096));
    let said = format!("| version of the format: {} |", raw.half(header::FORMAT));
    assert!(include_str!("../docs/format.md").contains(&said), "docs/format.md does not say {said:?}");
    assert_eq!(raw.word(header::CHECK), xxh3_64(&raw.bytes[32..512]), "the checksum of bytes 32 to 512");
    assert_eq!(raw.word(header::FILE_LEN), raw.bytes.len() as u64);
    assert_eq!((raw.word(header::CAPACITY), raw.word(header::MEAN_ITEM)), (64 << 10, 50));
    assert_eq!((raw.half(header::STRIPES), raw.half(header::LOCK_REGIONS), raw.half(header::SEATS)), (4, 2, 3));
    assert_eq!(raw.half(header::AFTER_CRASH), 0);
    assert_eq!(raw.word(header::BUCKETS) * 4, stats.buckets);
    let rings = &cache.stripe_stats()[0];
    assert_eq!((raw.word(header::SMALL_LEN), raw.word(header::MAIN_LEN)), (rings.small_size, rings.main_size));
    assert_eq!(raw.word(header::HASH_SEED), 0x1234_5678_9abc_def0);
    assert_eq!(raw.word(header::STRATEGY_ID), 1);
    assert_eq!(&raw.bytes[header::STRATEGY_NAME..][..8], b"file\0\0\0\0");
    assert_eq!(raw.word(header::CREATED_MS), 1_700_000_000_123);
    let id = format!("{:016x}{:016x}", raw.word(header::FILE_ID + 8), raw.word(header::FILE_ID));
    assert_eq!(id, stats.file_id);
    assert_eq!((raw.word(header::EPOCHS), raw.word(header::FLUSH), raw.word(header::REPLACED)), (0, 0, 0));
    assert_eq!((raw.word(header::UNVERIFIED), raw.word(header::SEATS_USED)), (0, 1));
    assert_eq!(raw.word(header::RESETS), 0);
}

#[cfg(unix)]
#[test]
fn the_header_names_the_inodes_of_file_and_lock_directory() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let raw = Raw::load(&place.path());
    let inode = |path: std::path::PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(raw.word(header::DATA_INODE), inode(place.path()));
    let directory = place.dir().join("cache.locks").join(cache.stats().file_id);
    assert_eq!(raw.word(header::LOCK_DIR_INODE), inode(directory.clone()));
    for stripe in 0..4 {
        let lock = directory.join(format!("{:04}.lock", stripe % 2));
        assert_eq!(raw.word(raw.stripe(stripe) + 16), inode(lock), "stripe {stripe} names the lock of its region");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_header_names_the_boot() {
    let place = Place::new();
    let _cache = options().create(place.path()).unwrap();
    let raw = Raw::load(&place.path());
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let id = format!("{:016x}{:016x}", raw.word(header::BOOT_ID + 8), raw.word(header::BOOT_ID));
    assert_eq!(id, text.trim().replace('-', ""));
}

#[test]
fn each_strategy_has_its_number_and_name_in_the_header() {
    let strategies = [LockStrategy::File, LockStrategy::Process, LockStrategy::None, LockStrategy::RwFile];
    for (strategy, id) in strategies.into_iter().chain([LockStrategy::Lease]).zip(1..) {
        let place = Place::new();
        drop(options().locks(strategy.clone()).after_crash(AfterCrash::Verify).create(place.path()).unwrap());
        let raw = Raw::load(&place.path());
        let name = &raw.bytes[header::STRATEGY_NAME..header::STRATEGY_NAME + 32];
        assert_eq!(raw.word(header::STRATEGY_ID), id);
        assert_eq!(String::from_utf8_lossy(name).trim_end_matches('\0'), strategy.name());
        assert_eq!(raw.half(header::AFTER_CRASH), 1);
    }
}

#[test]
fn the_parts_follow_each_other_and_a_new_file_is_empty() {
    let place = Place::new();
    drop(options().create(place.path()).unwrap());
    let raw = Raw::load(&place.path());
    let (rings, buckets) = (raw.word(header::SMALL_LEN) + raw.word(header::MAIN_LEN), raw.word(header::BUCKETS));
    assert_eq!((raw.half(header::HISTOGRAMS), raw.half(header::NAMESPACE_READS)), (3, 1));
    assert_eq!((raw.half(header::SAMPLES), raw.half(header::TAGS)), (144, 4096));
    let namespaces = raw.half(header::NAMESPACES) as usize;
    assert_eq!(raw.tags(), 4096 + 3 * 1280 + namespaces * 256);
    assert!(raw.bytes[raw.tags()..raw.histogram(0)].iter().all(|&byte| byte == 0));
    let reads = (3 * namespaces * 16).next_multiple_of(64);
    assert_eq!(raw.stripe(0), raw.tags() + 4096 * 16 + 3 * 256 + 3 * 144 * 8 + reads);
    assert_eq!(raw.bucket(1, 0) - raw.bucket(0, 0), buckets as usize * 64);
    assert_eq!(raw.bytes.len(), (raw.arena(3) + rings as usize).next_multiple_of(4096));
    for s in 0..4 {
        let at = raw.stripe(s);
        assert!(raw.slots(s).all(|slot| raw.word(slot) == 0));
        assert_eq!((raw.word(at + stripe::INTENT), raw.word(at + stripe::LIVE)), (0, 0));
        for end in [stripe::SMALL_HEAD, stripe::SMALL_TAIL, stripe::MAIN_HEAD, stripe::MAIN_TAIL] {
            assert_eq!(raw.word(at + end), 0);
        }
        assert_ne!(raw.word(at + stripe::STAMP), 0, "stamps begin at a random base");
    }
    assert!(raw.bytes[raw.arena(0)..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_record_lies_where_its_slot_says_with_header_key_and_value() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    let how = SetOptions::new().expiry(Expiry::At(moment(1_800_000_000_000)));
    let stamp = cache.set_with("a key", "a value of 21 bytes..", &how).unwrap();
    let raw = Raw::load(&place.path());
    let found = raw.find(b"a key");
    assert_eq!(found.record_at, raw.arena(found.stripe), "the first record of the small ring");
    assert_eq!(raw.word(found.slot_at) & LIVE, LIVE);
    let shape = raw.word(found.record_at);
    let units = (32 + 8 + 24) / 8;
    assert_eq!((shape >> 32, shape >> 16 & 0xffff, shape & 0xffff), (units, 5, 1), "units, key length, kind");
    let seal = raw.word(found.record_at + record::SEAL);
    assert_eq!((seal >> 40, seal >> 32 & 0xff), (0, 3), "epoch, unused bytes");
    assert_eq!(raw.word(found.record_at + record::STAMP), stamp.0);
    let expiry = raw.word(found.record_at + record::EXPIRY);
    assert_eq!((expiry >> 63, expiry & ((1 << 44) - 1)), (0, 1_800_000_000_000), "not dead, milliseconds");
    let bytes = &raw.bytes[found.record_at + record::KEY..];
    assert_eq!(&bytes[..8], b"a key\0\0\0");
    assert_eq!(&bytes[8..32], b"a value of 21 bytes..\0\0\0");
    let head = raw.stripe(found.stripe);
    assert_eq!((raw.word(head + stripe::SMALL_HEAD), raw.word(head + stripe::LIVE)), (units, 1));
    assert_eq!(raw.word(head + stripe::STAMP), stamp.0);
    assert_eq!(raw.word(head + stripe::COUNTERS), 1, "sets");
}

#[test]
fn a_touch_changes_the_expiry_and_then_the_version_of_the_bucket() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("a key", "a value").unwrap();
    let before = Raw::load(&place.path());
    assert!(cache.touch("a key", Expiry::At(moment(1_800_000_000_000))).unwrap());
    let after = Raw::load(&place.path());
    let found = before.find(b"a key");
    assert_eq!(after.word(found.bucket_at), before.word(found.bucket_at) + 2);
    assert_eq!(after.word(found.record_at + record::EXPIRY) & ((1 << 44) - 1), 1_800_000_000_000);
    let seal = |raw: &Raw| raw.word(found.record_at + record::SEAL);
    assert_eq!(seal(&after), seal(&before));
}

#[test]
fn the_hash_seed_and_the_file_id_are_random_unless_said() {
    let place = Place::new();
    let seed_and_id = |name: &str| {
        let path = place.dir().join(name);
        drop(Options::new().capacity(64 << 10).create(&path).unwrap());
        let raw = Raw::load(&path);
        (raw.word(header::HASH_SEED), raw.word(header::FILE_ID))
    };
    let (one, two) = (seed_and_id("one"), seed_and_id("two"));
    assert!(one.0 != two.0 && one.1 != two.1);
}

#[test]
fn clear_raises_the_epoch_and_touches_no_record() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let before = Raw::load(&place.path());
    cache.clear().unwrap();
    let after = Raw::load(&place.path());
    assert_eq!(after.word(header::EPOCHS), 1);
    let from = before.stripe(0);
    assert!(before.bytes[from..] == after.bytes[from..], "stripes, buckets and arenas are as they were");
}

#[test]
fn when_positions_run_out_a_stripe_is_emptied_and_they_start_again() {
    let place = Place::new();
    let cache = options().stripes(1).lock_regions(1).near_last_position(true).create(place.path()).unwrap();
    let heads = || {
        let raw = Raw::load(&place.path());
        let at = raw.stripe(0);
        [stripe::SMALL_HEAD, stripe::MAIN_HEAD].map(|head| raw.word(at + head))
    };
    assert!(heads().iter().all(|&head| head > 1 << 47), "the rings begin near the last of 2^48 positions");
    let mut restarts = 0;
    for n in 0..3000u32 {
        let before = cache.stats().items;
        cache.set(n.to_le_bytes(), [n as u8; 200]).unwrap();
        assert_eq!(cache.get(n.to_le_bytes()).as_deref(), Some(&[n as u8; 200][..]), "whatever happened before it");
        if cache.stats().items < before / 2 {
            restarts += 1;
            assert_eq!(cache.keys().count() as u64, cache.stats().items, "nothing of before is left");
        }
    }
    assert_eq!(restarts, 1);
    assert!(heads().iter().all(|&head| head < 1 << 40));
    let found = cache.verify();
    assert!(found.is_ok() && found.records == cache.stats().items, "{found:#?}");
}
