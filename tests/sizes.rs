//! Keys and values of every size, and the reported sizes.

mod common;

use common::{Place, assert_sound};
use kennel::{Cache, Error, LockStrategy, MAX_KEY, MAX_TAGS, Options, SetOptions, record_size, tagged_record_size};

/// Bytes that the caller's flags cost.
const FLAGS: u64 = 24;

fn one_stripe(place: &Place, capacity: u64) -> Cache {
    let options = Options::new().capacity(capacity).stripes(1).locks(LockStrategy::None).seed(5);
    options.create(place.path()).unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + len) as u8).collect()
}

#[test]
fn the_empty_key_and_the_empty_value_are_a_key_and_a_value() {
    let place = Place::new();
    let cache = one_stripe(&place, 64 << 10);
    assert!(!cache.contains(""));
    cache.set("", "of the empty key").unwrap();
    cache.set("empty", "").unwrap();
    assert_eq!(cache.get("").as_deref(), Some(&b"of the empty key"[..]));
    assert_eq!(cache.get("empty").as_deref(), Some(&b""[..]));
    assert_eq!(cache.get_into("empty", &mut []).unwrap(), Some(0));
    cache.set("", "").unwrap();
    assert_eq!(cache.get("").as_deref(), Some(&b""[..]));
    assert_eq!((cache.stats().items, cache.keys().count()), (2, 2));
    assert!(cache.delete("").unwrap() && !cache.contains(""));
    assert!(cache.contains("empty"));
    assert_sound(&cache);
}

#[test]
fn keys_that_differ_only_in_length_or_trailing_zeros_are_different() {
    let place = Place::new();
    let cache = one_stripe(&place, 64 << 10);
    let keys: Vec<Vec<u8>> = (0..20).map(|len| vec![0; len]).collect();
    keys.iter().for_each(|key| cache.set(key, bytes(key.len())).unwrap());
    keys.iter().for_each(|key| assert_eq!(cache.get(key), Some(bytes(key.len())), "{} zeros", key.len()));
}

#[test]
fn the_longest_key_is_stored_and_a_longer_one_refused_by_every_write() {
    let place = Place::new();
    let cache = one_stripe(&place, 4 << 20);
    let longest = bytes(MAX_KEY);
    assert_eq!(longest.len(), 65_535);
    cache.set(&longest, "value").unwrap();
    assert_eq!(cache.get(&longest).as_deref(), Some(&b"value"[..]));
    assert_eq!(cache.keys().collect::<Vec<_>>(), [longest]);
    let (long, how) = (bytes(MAX_KEY + 1), SetOptions::new());
    let before = cache.stats();
    let refused = [
        cache.set(&long, "v").err(),
        cache.add(&long, "v", &how).err(),
        cache.replace(&long, "v", &how).err(),
        cache.compare_and_swap(&long, kennel::Stamp(0), "v", &how).err(),
        cache.incr(&long, 1).err(),
        cache.decr(&long, 1).err(),
        cache.touch(&long, kennel::Expiry::Never).err(),
        cache.delete(&long).err(),
        cache.set_multi(&[(&long, "v")], &how).remove(0).err(),
        cache.delete_multi(&[&long]).remove(0).err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::KeyTooLong { size: 65_536, limit: 65_535 })), "{error:?}");
    }
    // Reads of this key miss: it cannot be there.
    assert!(cache.get(&long).is_none() && !cache.contains(&long) && cache.get_multi(&[&long])[0].is_none());
    assert_eq!((cache.stats().items, cache.stats().counters.sets), (before.items, before.counters.sets));
}

#[test]
fn an_item_too_large_is_told_so_among_others_of_a_batch() {
    let place = Place::new();
    let cache = one_stripe(&place, 64 << 10);
    let large = bytes(cache.stats().largest_record as usize + 1);
    let (small, long) = (bytes(10), bytes(MAX_KEY + 1));
    let items: [(&[u8], &[u8]); 4] = [(b"a", &small), (b"b", &large), (&long, &small), (b"c", &small)];
    let results = cache.set_multi(&items, &SetOptions::new());
    assert!(results[0].is_ok() && results[3].is_ok());
    assert!(matches!(results[1], Err(Error::TooLarge { .. })) && matches!(results[2], Err(Error::KeyTooLong { .. })));
    assert_eq!(cache.stats().items, 2);
}

#[test]
fn the_largest_item_fits_and_one_byte_more_changes_nothing() {
    for capacity in [2048, 4096, 10_000, 64 << 10, 1 << 20] {
        let place = Place::new();
        let cache = one_stripe(&place, capacity);
        let largest = cache.stats().largest_record as usize;
        let limit = record_size(0, largest);
        assert_eq!(limit, cache.stripe_stats()[0].main_size / 4, "a quarter of the main ring");
        let key = b"8 bytes.";
        let fits = bytes(largest - key.len());
        // Repeated, so that some are written across the end of the ring.
        for n in 0..9 {
            cache.set(format!("filler{n:02}"), bytes(n)).unwrap();
            cache.set(key, &fits).unwrap();
            assert_eq!(cache.get(key), Some(fits.clone()), "capacity {capacity}");
        }
        let before = (cache.stats().items, cache.stats().used_bytes, cache.stats().counters.sets);
        let one_more = [
            (bytes(fits.len() + 1), SetOptions::new(), limit + 8),
            (fits.clone(), SetOptions::new().flags(1), limit + FLAGS),
        ];
        for (value, how, needed) in one_more {
            let refused = [
                cache.set_with(key, &value, &how).err(),
                cache.add(key, &value, &how).err(),
                cache.replace(key, &value, &how).err(),
                cache.set_multi(&[(key, &value)], &how).remove(0).err(),
            ];
            for error in refused {
                let Some(Error::TooLarge { size, limit: most }) = error else { panic!("{error:?}") };
                assert_eq!((size, most), (needed, limit));
            }
        }
        assert_eq!((cache.stats().items, cache.stats().used_bytes, cache.stats().counters.sets), before);
        assert_eq!(cache.get(key), Some(fits), "the value before is still there");
        assert_sound(&cache);
    }
}

#[test]
fn values_of_every_length_survive_side_by_side() {
    let place = Place::new();
    let cache = one_stripe(&place, 2 << 20);
    let key = |len: usize, flags: u32| format!("{len} {flags}");
    for len in 0..=600 {
        for flags in [0, 7] {
            cache.set_with(key(len, flags), bytes(len), &SetOptions::new().flags(flags)).unwrap();
        }
    }
    for len in 0..=600 {
        for flags in [0, 7] {
            let item = cache.get_item(key(len, flags)).unwrap();
            assert_eq!((item.value, item.flags), (bytes(len), flags), "length {len}");
        }
    }
    assert_eq!(cache.stats().items, 1202);
    assert_sound(&cache);
}

#[test]
fn one_key_takes_values_of_every_length_one_after_the_other() {
    let place = Place::new();
    let cache = one_stripe(&place, 64 << 10);
    // A growing value must move; a shrinking one is overwritten in place.
    for len in (0..=600).chain((0..=600).rev()).chain([600, 3, 300, 0, 511]) {
        cache.set("key", bytes(len)).unwrap();
        assert_eq!(cache.get("key"), Some(bytes(len)), "length {len}");
    }
    assert_eq!(cache.stats().items, 1);
    assert_sound(&cache);
}

#[test]
fn record_size_is_what_the_rings_use() {
    let place = Place::new();
    let cache = one_stripe(&place, 4 << 20);
    let mut n = 0;
    for key_len in [4, 5, 8, 9, 16, 250] {
        for value_len in [0, 1, 7, 8, 9, 64, 255, 256, 500, 4000] {
            for (flags, cost) in [(0, 0), (1, FLAGS)] {
                n += 1;
                let mut key = bytes(key_len);
                key[..4].copy_from_slice(&u32::to_le_bytes(n));
                let before = cache.stats().used_bytes;
                cache.set_with(&key, bytes(value_len), &SetOptions::new().flags(flags)).unwrap();
                let used = cache.stats().used_bytes - before;
                assert_eq!(used, record_size(key_len, value_len) + cost, "{key_len} + {value_len}, flags {flags}");
            }
        }
    }
    assert_eq!(cache.stats().items, u64::from(n), "nothing left, so nothing was moved");
}

#[test]
fn tagged_record_size_is_what_the_rings_use() {
    let place = Place::new();
    let cache = one_stripe(&place, 4 << 20);
    for count in 0..=MAX_TAGS {
        let tags: Vec<_> = (0..count).map(|tag| format!("{tag}")).collect();
        let before = cache.stats().used_bytes;
        cache.set_with(count.to_le_bytes(), bytes(50), &SetOptions::new().tags(&tags)).unwrap();
        assert_eq!(cache.stats().used_bytes - before, tagged_record_size(8, 50, count), "{count} tags");
    }
}

#[test]
fn the_smallest_capacity_works_and_a_smaller_one_is_refused() {
    for stripes in [1u32, 8, 64] {
        let least = 2048 * u64::from(stripes);
        let options = |capacity| Options::new().capacity(capacity).stripes(stripes).mean_item(32).seats(1);
        let place = Place::new();
        let Err(Error::BadOption { option, given, expected }) = options(least - 1).create(place.path()) else {
            panic!("a capacity of {} was accepted", least - 1)
        };
        assert_eq!((option, given), ("capacity", (least - 1).to_string()));
        assert!(expected.starts_with(&least.to_string()), "{expected}");
        assert_eq!(place.names(), [""; 0], "nothing was made");
        let cache = options(least).create(place.path()).unwrap();
        for n in 0..500u32 {
            cache.set(n.to_le_bytes(), bytes(n as usize % 100)).unwrap();
            assert_eq!(cache.get(n.to_le_bytes()), Some(bytes(n as usize % 100)));
        }
        assert_sound(&cache);
    }
}

#[test]
fn a_value_of_one_mebibyte_fits_into_the_default_capacity() {
    let place = Place::new();
    let cache = Options::new().create(place.path()).unwrap();
    assert_eq!(cache.stats().capacity, kennel::DEFAULT_CAPACITY);
    let value = vec![0xa5; 1 << 20];
    cache.set("large", &value).unwrap();
    assert!(cache.get("large") == Some(value));
}

#[test]
fn a_batch_may_be_of_any_size_and_of_equal_keys_the_last_wins() {
    let place = Place::new();
    let cache = Options::new().capacity(4 << 20).stripes(2).create(place.path()).unwrap();
    // Far more per stripe than one hold of its lock writes.
    let keys: Vec<_> = (0..1000u32).map(|n| (n % 500).to_le_bytes()).collect();
    let items: Vec<_> = keys.iter().enumerate().map(|(n, key)| (key, bytes(n % 97))).collect();
    assert!(cache.set_multi(&items, &SetOptions::new()).into_iter().all(|stored| stored.is_ok()));
    let expected: Vec<_> = items.iter().cycle().skip(500).take(1000).map(|(_, value)| Some(value.clone())).collect();
    assert_eq!(cache.get_multi(&keys)[..500], expected[..500]);
    assert_eq!((cache.stats().items, cache.stats().counters.sets), (500, 1000));
    let deleted: Vec<_> = cache.delete_multi(&keys).into_iter().map(|deleted| deleted.unwrap()).collect();
    assert!(deleted[..500].iter().all(|&there| there) && !deleted[500..].iter().any(|&there| there));
    assert_eq!(cache.stats().items, 0);
    let (none, no_items): ([&str; 0], [(&str, &str); 0]) = ([], []);
    assert!(cache.get_multi(&none).is_empty() && cache.delete_multi(&none).is_empty());
    assert!(cache.set_multi(&no_items, &SetOptions::new()).is_empty());
}

/// One hold of a lock may write many laps of a ring, but never beyond the last position.
#[test]
fn a_batch_of_the_largest_items_does_not_run_over_the_last_position() {
    let place = Place::new();
    let options = Options::new().capacity(16 << 10).stripes(1).mean_item(3000).near_last_position(true);
    let cache = options.create(place.path()).unwrap();
    let largest = cache.stats().largest_record as usize - 8;
    for round in 0..4u32 {
        let items: Vec<_> = (0..64u32).map(|n| (n.to_le_bytes(), vec![(n + round) as u8; largest])).collect();
        assert!(cache.set_multi(&items, &SetOptions::new()).into_iter().all(|stored| stored.is_ok()));
        let found = items.iter().filter(|(key, value)| cache.get(key).is_some_and(|found| found == *value)).count();
        assert!(found >= 3, "{found} of the last items, of which four fill the main ring");
        assert!(cache.verify().is_ok(), "{:?}", cache.verify());
    }
}
