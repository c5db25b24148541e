//! Promise: a resize harms nobody at its edges: many readers at the switch, stripes from before a crash, other names of the
//! file, no room, no right, few descriptors.
#![cfg(unix)]

mod common;

use common::children::{self, arg, say, wait_for_word};
use common::{Place, fill, filled, small};
use kennel::{AfterCrash, Cache, Error, Options, ResizeOptions, Wait};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const KEYS: u32 = 500;
/// Readers at the switch: processes, and threads in each.
const READERS: (usize, usize) = (8, 25);

#[test]
fn child() {
    children::serve(|task, args| match task {
        "read" => read(args[0]),
        "resize with little" => resize_with_little(args[0], args[1]),
        _ => panic!("no task {task}"),
    });
}

fn at_once() -> ResizeOptions {
    ResizeOptions::new().wait(Wait::No)
}

/// Reads on many threads until it is told to stop; says how many reads missed, and the longest read in microseconds.
fn read(path: &str) {
    let cache = Options::new().open(path).unwrap();
    let stop = AtomicBool::new(false);
    let read = |from: u32| {
        let (mut misses, mut longest, mut n) = (0u64, Duration::ZERO, from);
        while !stop.load(Ordering::Relaxed) {
            n = (n + 1) % KEYS;
            let began = Instant::now();
            misses += u64::from(cache.get(n.to_le_bytes()).is_none_or(|value| common::proven(n, &value) != 1));
            longest = longest.max(began.elapsed());
            thread::sleep(Duration::from_micros(200));
        }
        (misses, longest)
    };
    let (misses, longest) = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS.1 as u32).map(|i| scope.spawn(move || read(i * 17))).collect();
        say("ready");
        wait_for_word();
        stop.store(true, Ordering::Relaxed);
        let of = readers.into_iter().map(|reader| reader.join().unwrap());
        of.fold((0, Duration::ZERO), |all, one| (all.0 + one.0, all.1.max(one.1)))
    });
    say(format!("{misses} {} {}", longest.as_micros(), cache.stats().capacity));
}

#[test]
fn two_hundred_readers_at_the_switch_do_not_miss() {
    for locks in [kennel::LockStrategy::File, kennel::LockStrategy::Lease] {
        let place = Place::in_memory();
        let cache = Options::new().capacity(4 * MIB).locks(locks.clone()).create(place.path()).unwrap();
        (0..KEYS).for_each(|n| cache.set(n.to_le_bytes(), common::proof(n, 1, 64)).unwrap());
        let mut readers: Vec<_> = (0..READERS.0).map(|_| children::start("read", &[arg(&place.path())])).collect();
        readers.iter_mut().for_each(|reader| reader.expect("ready"));
        for capacity in [8, 3, 6] {
            cache.resize(capacity * MIB, &at_once()).unwrap();
            thread::sleep(Duration::from_millis(300));
        }
        readers.iter_mut().for_each(|reader| reader.tell("stop"));
        let (mut misses, mut longest) = (0, 0);
        for mut reader in readers {
            let said = reader.hear().unwrap();
            let numbers: Vec<u64> = said.split(' ').map(|number| number.parse().unwrap()).collect();
            (misses, longest) = (misses + numbers[0], longest.max(numbers[1]));
            assert_eq!(numbers[2], 6 * MIB, "it has followed");
        }
        println!("{locks}: {misses} misses, the longest read took {longest} us");
        assert_eq!(misses, 0, "{locks}");
    }
}

#[test]
fn stripes_from_before_a_crash_are_checked_first() {
    for (after_crash, left) in [(AfterCrash::Verify, 20), (AfterCrash::Discard, 0)] {
        let place = Place::new();
        let cache = small().after_crash(after_crash).create(place.path()).unwrap();
        fill(&cache);
        drop(cache);
        let cache = Options::new().boot_id([7, 7]).open(place.path()).unwrap();
        assert!(cache.stripe_stats().iter().all(|stripe| stripe.verify_me));
        assert_eq!(cache.resize(MIB, &at_once()).unwrap().items, left);
        assert_eq!(filled(&cache) as u64, left);
        assert!(cache.stripe_stats().iter().all(|stripe| !stripe.verify_me));
        common::assert_sound(&cache);
    }
}

#[test]
fn other_names_of_the_file_do_no_harm() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    let (hard, soft) = (place.dir().join("hard"), place.dir().join("soft"));
    std::fs::hard_link(place.path(), &hard).unwrap();
    std::os::unix::fs::symlink(place.path(), &soft).unwrap();
    let through = Options::new().open(&soft).unwrap();
    cache.resize(MIB, &at_once()).unwrap();
    assert_eq!((filled(&cache), filled(&through), through.stats().capacity), (20, 20, MIB));
    through.set("key", "value").unwrap();
    assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
    // The old file has no locks beside that name.
    assert!(Options::new().open(&hard).is_err());
    // Nor can the new one be given another name's place.
    std::fs::remove_file(&hard).unwrap();
    assert_eq!(through.resize(2 * MIB, &at_once()).unwrap().items, 21);
    assert!(std::fs::symlink_metadata(&soft).unwrap().is_symlink());
}

#[test]
fn the_mode_stays_and_a_file_of_another_group_is_refused() {
    let place = Place::new();
    let cache = small().mode(0o640).create(place.path()).unwrap();
    fill(&cache);
    cache.resize(MIB, &at_once()).unwrap();
    assert_eq!(std::fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o640);
    let group = std::fs::metadata(place.path()).unwrap().gid() + 1;
    if std::os::unix::fs::chown(place.path(), None, Some(group)).is_err() {
        println!("skipped: this user cannot give files away");
        return;
    }
    let refused = cache.resize(2 * MIB, &at_once()).unwrap_err();
    assert!(matches!(&refused, Error::NotResized { why, .. } if why.contains("group")), "{refused}");
    assert_eq!((filled(&cache), cache.stats().capacity, place.lock_directories().len()), (20, MIB, 1));
}

fn resize_with_little(path: &str, what: &str) {
    let cache = Options::new().open(path).unwrap();
    let limit = |of, to| {
        let limit = rustix::process::Rlimit { current: Some(to), maximum: Some(to) };
        rustix::process::setrlimit(of, limit).unwrap();
    };
    let refused: Result<_, Error> = match what {
        "room" => {
            limit(rustix::process::Resource::Fsize, 4 * MIB);
            cache.resize(64 * MIB, &at_once())
        }
        _ => {
            limit(rustix::process::Resource::Nofile, 64);
            let mut taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            let free: usize = what.parse().unwrap();
            taken.truncate(taken.len() - free);
            cache.resize(2 * MIB, &at_once())
        }
    };
    let told = match refused {
        Ok(_) => "resized".to_owned(),
        Err(Error::NoSpace { .. }) => "no room".to_owned(),
        Err(_) => "refused".to_owned(),
    };
    assert_eq!(filled(&cache), 20);
    say(told);
}

#[test]
fn without_room_or_descriptors_the_file_stays_as_it_is() {
    let place = Place::new();
    let cache: Cache = small().create(place.path()).unwrap();
    fill(&cache);
    let mut told = Vec::new();
    for what in ["room", "0", "1", "2", "3", "4", "6", "10"] {
        let mut process = children::start("resize with little", &[arg(&place.path()), what]);
        told.push(process.hear().unwrap());
        process.finish();
        assert_eq!(filled(&cache), 20, "{what}");
        cache.set("key", what).unwrap();
        common::assert_sound(&cache);
    }
    assert_eq!((told[0].as_str(), told[1].as_str(), told[7].as_str()), ("no room", "refused", "resized"), "{told:?}");
    assert_eq!(cache.resize(MIB, &at_once()).unwrap().items, 21);
    assert!(place.is_tidy(|| _ = cache.resize(MIB, &at_once()).unwrap()), "{:?}", place.lock_directories());
}
