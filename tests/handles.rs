//! Handles: what a read-only one can do and refuses, what all of them see, and what they report about the file.

mod common;

use common::raw::{Raw, header};
use common::{Place, assert_sound, fill, filled, must_end, small};
use kennel::{Error, Limit, LockStrategy, Options, SetOptions};
use std::fs;
use std::path::Path;

/// The content of a file.
fn state(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn a_read_only_handle_hits_and_changes_no_byte() {
    let shared = [LockStrategy::File, LockStrategy::Lease, LockStrategy::RwFile];
    for strategy in shared.into_iter().chain([LockStrategy::Process, LockStrategy::None]) {
        let place = Place::new();
        let writer = small().locks(strategy.clone()).create(place.path()).unwrap();
        fill(&writer);
        let before = state(&place.path());
        let stats = format!("{:?}", writer.stats());
        let reader = Options::new().open_read_only(place.path()).unwrap();
        for _ in 0..3 {
            assert_eq!(filled(&reader), 20, "{strategy}");
        }
        assert!(reader.get("absent").is_none() && !reader.contains("absent"));
        let mut buf = [0; 8];
        assert_eq!(reader.get_into(7u32.to_le_bytes(), &mut buf).unwrap(), Some(1));
        assert_eq!(reader.get_multi(&[7u32.to_le_bytes()])[0].as_deref(), Some(&b"7"[..]));
        assert_eq!((reader.keys().count(), reader.stats().items), (20, 20));
        assert_sound(&reader);
        drop(reader);
        assert!(state(&place.path()) == before, "{strategy}: a read-only handle wrote to the file");
        assert_eq!(format!("{:?}", writer.stats()), stats, "{strategy}: a read-only handle was counted");
    }
}

#[test]
fn every_write_through_a_read_only_handle_is_refused() {
    let place = Place::new();
    let writer = small().create(place.path()).unwrap();
    fill(&writer);
    let reader = Options::new().open_read_only(place.path()).unwrap();
    let (key, how) = (0u32.to_le_bytes(), SetOptions::new());
    let stamp = reader.get_item(key).unwrap().stamp;
    let refused = [
        reader.set(key, "v").err(),
        reader.add("absent", "v", &how).err(),
        reader.replace(key, "v", &how).err(),
        reader.compare_and_swap(key, stamp, "v", &how).err(),
        reader.incr(key, 1).err(),
        reader.decr(key, 1).err(),
        reader.touch(key, kennel::Expiry::Never).err(),
        reader.delete(key).err(),
        reader.set_multi(&[(key, "v")], &how).remove(0).err(),
        reader.delete_multi(&[key]).remove(0).err(),
        reader.clear().err(),
        reader.flush().err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::ReadOnly(_))), "{error:?}");
    }
    assert_eq!(filled(&writer), 20);
}

#[cfg(target_os = "linux")]
#[test]
fn open_and_a_read_touch_only_the_pages_that_they_need() {
    use std::os::unix::fs::MetadataExt;
    // A sparse copy: a write to any page of records or buckets would show as a block.
    let place = Place::new();
    drop(Options::new().capacity(256 << 20).create(place.path()).unwrap());
    let sparse = place.dir().join("sparse");
    let raw_head = {
        let mut head = vec![0; 8 << 20];
        let read = std::io::Read::read(&mut fs::File::open(place.path()).unwrap(), &mut head).unwrap();
        head.truncate(read);
        head
    };
    let end_of_heads = {
        let half = |at: usize| u32::from_le_bytes(raw_head[at..at + 4].try_into().unwrap()) as usize;
        let stripe_len = 512 + half(header::CLAIMS) * 64;
        let seats = half(header::SEATS) * 1280 + half(header::NAMESPACES) * 256 + half(header::HISTOGRAMS) * 256;
        let reads = half(header::NAMESPACE_READS) * half(header::SEATS) * half(header::NAMESPACES) * 16;
        let samples = half(header::SEATS) * half(header::SAMPLES) * 8;
        let tags = half(header::TAGS) * 16;
        4096 + seats + tags + samples + reads + half(header::STRIPES) * stripe_len
    };
    fs::write(&sparse, &raw_head[..end_of_heads]).unwrap();
    let len = fs::metadata(place.path()).unwrap().len();
    fs::OpenOptions::new().write(true).open(&sparse).unwrap().set_len(len).unwrap();
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    let before = blocks(&sparse);
    assert!(before < 6 << 20 && len > 256 << 20, "{before} of {len}");
    let cache = Options::new().open(&sparse).unwrap();
    assert!(cache.get("absent").is_none());
    assert_eq!(cache.stats().items, 0);
    let after = blocks(&sparse);
    assert!(after <= before + (64 << 10), "{before} bytes were allocated, now {after}");
}

/// A hit and a miss, after the first read of a member.
#[cfg(all(target_os = "linux", feature = "crash-points"))]
#[test]
fn a_read_asks_the_kernel_for_nothing_and_stores_only_marks_and_counts() {
    use common::fork::{self, Forked};
    use kennel::crash::{self, Event, Step};
    for strategy in [LockStrategy::File, LockStrategy::Lease] {
        let place = Place::new();
        let cache = small().locks(strategy).create(place.path()).unwrap();
        fill(&cache);
        let read = || {
            let get = |n: u32| cache.get_into(n.to_le_bytes(), &mut [0; 8]).unwrap().is_some();
            assert_eq!((0..40).filter(|&n| get(n)).count(), 20);
        };
        let stores = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = stores.clone();
        crash::watch(move |event| {
            if let Event::Store(step) = event {
                assert!(matches!(step, Step::Mark | Step::Counter), "a read stores {step:?}");
                seen.set(seen.get() + 1);
            }
        });
        read();
        crash::unwatch();
        assert!(stores.get() > 0, "the watcher saw no store");
        let child = Forked::start(|| {
            read();
            fork::forbid_system_calls();
            read();
            fork::end_well();
        });
        child.join();
    }
}

#[test]
fn clear_is_seen_by_all_handles_at_once() {
    let place = Place::new();
    let one = small().create(place.path()).unwrap();
    let two = small().open(place.path()).unwrap();
    let reader = small().open_read_only(place.path()).unwrap();
    for round in 0..5 {
        fill(&one);
        assert_eq!((filled(&one), filled(&two), filled(&reader)), (20, 20, 20));
        [&two, &one][round % 2].clear().unwrap();
        for cache in [&one, &two, &reader] {
            assert_eq!((filled(cache), cache.keys().count(), cache.stats().items), (0, 0, 0));
        }
        assert!(!one.delete(0u32.to_le_bytes()).unwrap(), "what is cleared cannot be deleted");
        assert!(one.add(0u32.to_le_bytes(), "0", &SetOptions::new()).unwrap(), "but added");
        assert_sound(&one);
        assert_sound(&reader);
    }
}

#[test]
fn at_the_last_epoch_clearing_goes_stripe_by_stripe() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    drop(cache);
    let last = (1 << 24) - 1;
    let mut raw = Raw::load(&place.path());
    raw.set(header::EPOCHS, last);
    raw.save();
    let cache = small().open(place.path()).unwrap();
    assert_eq!((filled(&cache), cache.keys().count(), cache.stats().items), (0, 0, 0), "all of it is of older epochs");
    for _ in 0..3 {
        fill(&cache);
        assert_eq!((filled(&cache), cache.stats().items), (20, 20));
        cache.clear().unwrap();
        assert_eq!((filled(&cache), cache.keys().count(), cache.stats().items), (0, 0, 0));
        assert_sound(&cache);
    }
    assert_eq!(Raw::load(&place.path()).word(header::EPOCHS), last, "epochs never wrap");
}

#[test]
fn keys_are_all_keys_once_to_be_filtered_by_the_caller() {
    let place = Place::new();
    let cache = Options::new().capacity(1 << 20).create(place.path()).unwrap();
    let mut expected: Vec<_> = (0..500).map(|n| format!("user:{n}")).collect();
    expected.iter().for_each(|key| cache.set(key, "").unwrap());
    (0..500).for_each(|n| cache.set(format!("page:{n}"), "").unwrap());
    (0..500).for_each(|n| assert!(cache.delete(format!("page:{n}")).unwrap()));
    (0..100).for_each(|n| cache.set(format!("other:{n}"), "").unwrap());
    let mut found: Vec<_> = cache.keys().filter(|key| key.starts_with(b"user:")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected.iter().map(|key| key.as_bytes()).collect::<Vec<_>>());
    assert_eq!(cache.keys().count(), 600);
}

#[test]
fn stats_tell_what_the_file_is_and_what_happened() {
    let place = Place::new();
    let options = Options::new().capacity(1 << 20).mean_item(100).stripes(4).lock_regions(2).seats(7);
    let cache = options.create(place.path()).unwrap();
    let s = cache.stats();
    assert_eq!((s.path, s.format), (common::real(&place.path()), 3));
    assert!(s.file_id.len() == 32 && s.file_id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{}", s.file_id);
    assert_eq!(s.file_size, fs::metadata(place.path()).unwrap().len());
    assert_eq!((s.capacity, s.mean_item, s.stripes, s.lock_regions, s.seats), (1 << 20, 100, 4, 2, 7));
    assert_eq!((s.strategy.as_str(), s.limit, s.members, s.items, s.used_bytes), ("file", Limit::Nothing, 1, 0, 0));
    assert_eq!(s.slots, s.buckets * 7);
    assert_eq!(s.counters, kennel::Counters::default());
    fill(&cache);
    assert_eq!(filled(&cache), 20);
    assert!(cache.get("absent").is_none());
    assert!(cache.delete(0u32.to_le_bytes()).unwrap() && !cache.delete("absent").unwrap());
    let c = cache.stats().counters;
    assert_eq!((c.hits, c.misses, c.sets, c.deletes, c.evictions()), (20, 1, 20, 1, 0));
    let stripes = cache.stripe_stats();
    let sum = |of: fn(&kennel::StripeStats) -> u64| stripes.iter().map(of).sum::<u64>();
    assert_eq!((sum(|s| s.items), sum(|s| s.counters.sets), sum(|s| s.counters.deletes)), (19, 20, 1));
    assert_eq!(sum(|s| s.small_used + s.main_used), cache.stats().used_bytes);
    assert!(sum(|s| s.small_size + s.main_size) >= 1 << 20);
    assert!(stripes.iter().enumerate().all(|(n, s)| s.stripe == n as u32 && s.intent.is_none() && !s.verify_me));
    let two = options.open(place.path()).unwrap();
    assert_eq!(two.stats().members, 2);
    drop(two);
    assert_eq!(cache.stats().members, 1);
    // The counters of other members stay when these leave.
    drop(cache);
    assert_eq!(options.open(place.path()).unwrap().stats().counters.hits, 20);
}

#[test]
fn stats_tell_what_limits_the_cache() {
    let place = Place::new();
    let bytes = Options::new().capacity(64 << 10).stripes(1).mean_item(100).locks(LockStrategy::None).seed(1);
    let bytes = bytes.create(place.path()).unwrap();
    (0..2000u32).for_each(|n| bytes.set(n.to_le_bytes(), [0; 96]).unwrap());
    assert_eq!(bytes.stats().limit, Limit::Bytes);
    let index = Options::new().capacity(64 << 10).stripes(1).mean_item(4000).locks(LockStrategy::None).seed(1);
    let index = index.create(place.dir().join("index")).unwrap();
    (0..2000u32).for_each(|n| index.set(n.to_le_bytes(), [0; 8]).unwrap());
    assert_eq!(index.stats().limit, Limit::Index);
    assert!(index.stats().counters.evictions_index > 1000);
}

#[test]
fn debug_output_names_file_and_id_and_no_content() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    cache.set("secret-key", "secret-value").unwrap();
    let text = format!("{cache:?}");
    assert!(text.contains(&format!("{:?}", cache.path())) && text.contains(&cache.stats().file_id), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(format!("{:?}", LockStrategy::RwFile), "LockStrategy(rw-file)");
}

#[test]
fn a_handle_can_be_cloned_and_the_last_clone_leaves_the_seat() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    let clones: Vec<_> = (0..5).map(|_| cache.clone()).collect();
    let reader = small().open_read_only(place.path()).unwrap();
    assert_eq!(reader.stats().members, 1);
    drop(cache);
    clones[0].set("key", "value").unwrap();
    assert!(clones[4].contains("key"));
    drop(clones);
    assert_eq!(reader.stats().members, 0);
    must_end("a read after all writers have left", move || assert!(reader.contains("key")));
}
