//! A handle follows a replacement of its file, and keeps nothing of the old file.
#![cfg(target_os = "linux")]

mod common;

use common::stop::Stop;
use common::{Place, children};
use kennel::{Cache, LockStrategy, Options, Wait};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Mappings and descriptors of this process for files in a directory, including files without a name.
fn uses_of(directory: &Path) -> (usize, usize) {
    let is_in = |path: &Path| path.starts_with(directory);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped =
        maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..]))).filter(|path| is_in(path));
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let open =
        descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).filter(|path| is_in(path));
    (mapped.count(), open.count())
}

/// The counts of [`uses_of`] after further writes have released what the first one could not: another thread may have
/// been interrupted in the middle of a read.
fn uses_in_the_end(place: &Place, cache: &Cache, expected: (usize, usize)) -> (usize, usize) {
    let start = Instant::now();
    loop {
        // Once: at another moment, another thread may be opening the new file.
        let uses = uses_of(place.dir());
        if uses == expected || start.elapsed() > children::PATIENCE / 2 {
            return uses;
        }
        cache.set("other", "value").unwrap();
    }
}

/// Waits until a handle has switched to the file that has this value.
fn wait_for_value(cache: &Cache, value: &str) {
    let start = Instant::now();
    while cache.get("key").as_deref() != Some(value.as_bytes()) {
        assert!(start.elapsed() < children::PATIENCE, "the new file is not found");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Each replaced file was kept, with its memory, until the handle was dropped.
#[test]
fn a_handle_that_follows_replaced_files_keeps_none_of_them() {
    for locks in [LockStrategy::File, LockStrategy::Lease] {
        let place = Place::new();
        let options = Options::new().capacity(32 << 20).stripes(1).locks(locks);
        let cache = options.create(place.path()).unwrap();
        // One of these reads all the time, and two are idle until the end.
        let (reader, idle, patient) = (cache.clone(), cache.clone(), cache.with_lock_wait(Duration::from_secs(1)));
        cache.set("key", "0").unwrap();
        let before = uses_of(place.dir());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(reader.get("key").is_none_or(|value| value.len() <= 2));
                }
            });
            let _stop = Stop(&stop);
            for round in 1..=20 {
                options.destroy(place.path()).unwrap();
                let value = round.to_string();
                options.create(place.path()).unwrap().set("key", &value).unwrap();
                cache.set("other", "value").unwrap();
                assert_eq!(cache.get("key").as_deref(), Some(value.as_bytes()));
                assert_eq!(uses_in_the_end(&place, &cache, before), before, "in round {round}");
            }
        });
        for handle in [idle, patient] {
            assert_eq!(handle.get("key").as_deref(), Some(&b"20"[..]));
        }
        assert_eq!(cache.stats().members, 1, "the creators have left, and the clones are one member");
    }
}

/// A use of the file that is in progress during a replacement, a read or a lock, keeps the old file until it ends.
#[test]
fn a_replaced_file_stays_for_those_who_use_it() {
    let place = Place::new();
    let value = vec![7; 100_000];
    let options = Options::new().capacity(4 << 20).stripes(1);
    let cache = options.create(place.path()).unwrap();
    cache.set("key", "before").unwrap();
    cache.set("large", &value).unwrap();
    let before = uses_of(place.dir());
    let (begun, replaced) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut is_first = true;
            let found = cache.get_with("large", |len| {
                if std::mem::take(&mut is_first) {
                    begun.wait();
                    replaced.wait();
                }
                vec![0; len]
            });
            assert_eq!(found.unwrap().as_deref(), Some(&value[..]), "of the file in which the read began");
        });
        begun.wait();
        options.destroy(place.path()).unwrap();
        options.create(place.path()).unwrap().set("key", "after").unwrap();
        wait_for_value(&cache, "after");
        let meanwhile = uses_of(place.dir());
        replaced.wait();
        reader.join().unwrap();
        assert!(meanwhile > before);
    });
    assert_eq!(uses_in_the_end(&place, &cache, before), before);
    let lock = cache.lock("job", Wait::No).unwrap();
    options.destroy(place.path()).unwrap();
    options.create(place.path()).unwrap().set("key", "again").unwrap();
    wait_for_value(&cache, "again");
    assert!(!lock.is_protected());
    assert!(uses_of(place.dir()) > before);
    drop(lock);
    assert_eq!(uses_in_the_end(&place, &cache, before), before);
}
