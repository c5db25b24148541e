//! The tap: a sample of what reads ask for.

use kennel::{Cache, CreateOptions, Error, LockStrategy, NamespaceOptions, Options, Tap};
use std::collections::BTreeMap;

fn create(dir: &tempfile::TempDir) -> Cache {
    Options::new().capacity(4 << 20).samples(true).create(dir.path().join("cache")).unwrap()
}

fn drained(tap: &mut Tap) -> (Vec<u64>, u64) {
    let mut found = Vec::new();
    let lost = tap.drain(|hash| found.push(hash));
    (found, lost)
}

/// A mask that no hash of these keys has a bit of.
fn mask_for(cache: &Cache, keys: &[&str]) -> u64 {
    let mut tap = cache.tap(1 << 40).unwrap();
    let selects = |bit: &u64| {
        tap.select(1 << bit).unwrap();
        tap.drain(|_| {});
        keys.iter().for_each(|key| assert!(cache.contains(key)));
        drained(&mut tap).0.len() == keys.len()
    };
    1 << (12..64).find(selects).expect("a bit that no key has")
}

#[test]
fn an_observer_learns_the_keys_that_are_read_hit_or_miss_and_only_while_it_lives() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir);
    cache.set("one", "value").unwrap();
    cache.set("two", "another value").unwrap();
    let mask = mask_for(&cache, &["one", "two"]);
    assert!(cache.get("one").is_some());
    let mut tap = cache.tap(mask).unwrap();
    assert_eq!(drained(&mut tap), (vec![], 0), "what was read before");
    for key in ["one", "two", "one"] {
        assert!(cache.get(key).is_some());
    }
    let (found, lost) = drained(&mut tap);
    let names: Vec<_> = found.iter().map(|&hash| cache.tapped_key(hash).unwrap()).collect();
    assert_eq!(names.iter().map(|name| &name.key[..]).collect::<Vec<_>>(), [b"one", b"two", b"one"]);
    assert_eq!((names[0].record_len, lost), (kennel::record_size(3, 5), 0));
    assert!(cache.delete("one").unwrap() && cache.get("one").is_none());
    assert_eq!((drained(&mut tap).0, cache.tapped_key(found[0])), (vec![found[0]], None), "a miss");
    assert_eq!(tap.mask(), mask);
    drop(tap);
    let mut watcher = cache.watch_tap().unwrap();
    drained(&mut watcher);
    assert_eq!((watcher.mask(), cache.get("two").is_some(), drained(&mut watcher).0.len()), (0, true, 0));
}

#[test]
fn a_mask_selects_a_part_of_the_keys_and_all_their_reads() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir);
    let mut tap = cache.tap(0b111 << 12).unwrap();
    let mut reads = BTreeMap::new();
    tap.drain(|_| {});
    for _ in 0..3 {
        for i in 0..4000 {
            assert!(cache.get(format!("key {i}")).is_none());
            assert_eq!(tap.drain(|hash| *reads.entry(hash).or_insert(0) += 1), 0);
        }
    }
    assert!((400..600).contains(&reads.len()), "{} keys of 4000", reads.len());
    assert!(reads.values().all(|&count| count == 3));
    assert!(reads.keys().all(|hash| hash & 0b111 << 12 == 0));
}

#[test]
fn what_is_not_fetched_in_time_is_counted_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir);
    cache.set("key", "value").unwrap();
    let mut tap = cache.tap(mask_for(&cache, &["key"])).unwrap();
    tap.drain(|_| {});
    (0..100).for_each(|_| assert!(cache.contains("key")));
    let (found, lost) = drained(&mut tap);
    assert_eq!((found.len(), lost), (15, 85));
}

#[test]
fn every_way_to_read_is_sampled_once() {
    let dir = tempfile::tempdir().unwrap();
    for verify in [false, true] {
        let cache = Options::new().capacity(4 << 20).samples(true).verify_reads(verify);
        let cache = cache.create(dir.path().join(format!("{verify}"))).unwrap();
        let pages = cache.namespace("pages", &NamespaceOptions::new()).unwrap();
        let how = CreateOptions::new();
        for handle in [&cache, &pages] {
            handle.set("key", "value").unwrap();
            let stored = String::from_utf8(handle.stored_key("key")).unwrap();
            let mut tap = cache.tap(mask_for(&cache, &[&stored])).unwrap();
            let id = handle.get_item("key").unwrap().id();
            type Call<'a> = (&'static str, &'a dyn Fn() -> bool);
            let calls: [Call<'_>; 5] = [
                ("get", &|| handle.get("key").is_some()),
                ("get_multi", &|| handle.get_multi(&["key"])[0].is_some()),
                ("get_if_changed", &|| handle.get_if_changed("key", id).unwrap().is_some()),
                ("is_fresh", &|| handle.is_fresh("key", id) || verify),
                ("get_or_create", &|| handle.get_or_create("key", &how, || Ok::<_, Error>("new")).is_ok()),
            ];
            // Where reads verify checksums, a hit of these two is none of the straight way.
            for (name, call) in
                calls.iter().filter(|(name, _)| !verify || !["is_fresh", "get_or_create"].contains(name))
            {
                tap.drain(|_| {});
                assert!(call(), "{name}");
                assert_eq!(drained(&mut tap).0.len(), 1, "{name}, {verify}");
            }
        }
    }
}

#[test]
fn other_processes_and_read_only_handles() {
    let dir = tempfile::tempdir().unwrap();
    let cache = create(&dir);
    cache.set("key", "value").unwrap();
    let mask = mask_for(&cache, &["key"]);
    let reader = Options::new().open_read_only(cache.path()).unwrap();
    assert!(matches!(reader.tap(mask), Err(Error::ReadOnly(_))));
    let mut watcher = reader.watch_tap().unwrap();
    assert!(matches!(watcher.select(mask), Err(Error::ReadOnly(_))));
    drained(&mut watcher);
    // A second handle of this process has a seat of its own.
    let other = Options::new().open(cache.path()).unwrap();
    let tap = other.tap(mask).unwrap();
    drained(&mut watcher);
    assert!(cache.contains("key") && other.contains("key") && reader.contains("key"));
    assert_eq!(drained(&mut watcher).0.len(), 2, "a handle without a seat notes nothing");
    drop(tap);
    drop(watcher);
}

#[test]
fn threads_that_share_a_line_are_sampled_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().capacity(4 << 20).samples(true).locks(LockStrategy::None);
    let cache = options.create(dir.path().join("cache")).unwrap();
    cache.set("key", "value").unwrap();
    let mut tap = cache.tap(mask_for(&cache, &["key"])).unwrap();
    tap.drain(|_| {});
    std::thread::scope(|scope| (0..10).for_each(|_| _ = scope.spawn(|| assert!(cache.contains("key")))));
    let (found, lost) = drained(&mut tap);
    assert_eq!((found.len(), lost), (10, 0));
}

#[test]
fn a_file_without_room_and_a_mask_without_bits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let has_room = |options: Options| {
        let path = dir.path().join("cache");
        let cache = options.create(&path).unwrap();
        let has_room = match (cache.tap(1 << 12), cache.watch_tap()) {
            (Ok(_), Ok(_)) => true,
            (Err(Error::BadOption { option: "samples", .. }), Err(Error::BadOption { option: "samples", .. })) => false,
            (tap, _) => panic!("{tap:?}"),
        };
        assert!(matches!(cache.tap(0), Err(Error::BadOption { .. })));
        options.destroy(&path).unwrap();
        has_room
    };
    assert!(!has_room(Options::new()) && has_room(Options::new().samples(true)));
    assert!(
        has_room(Options::new().capacity(128 << 20)) && !has_room(Options::new().capacity(128 << 20).samples(false))
    );
}
