//! A cache file that was removed without Kennel: processes that have it open notice, and meet those that open its path
//! later.
#![cfg(unix)]

mod common;

use common::{Place, must_end};
use kennel::{Cache, CreateOptions, KeyLock, Lookup, Options, Wait};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn options() -> Options {
    Options::new().capacity(512 << 10).stripes(2).mean_item(64)
}

fn opened(place: &Place) -> Cache {
    options().open_or_create(place.path()).unwrap()
}

/// Reads until a handle has switched to another file; the reads miss meanwhile.
fn until_it_moves(cache: &Cache, from: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while cache.stats().file_id == from {
        assert!(Instant::now() < end, "the handle still has the removed file");
        if cache.get("nothing").is_none() {
            cache.notice_removal();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn id(cache: &Cache) -> String {
    cache.stats().file_id
}

#[test]
fn those_who_have_a_removed_file_open_meet_in_the_file_at_its_path() {
    must_end("those who have a removed file open meet in the file at its path", || {
        let place = Place::new();
        let (one, other) = (opened(&place), opened(&place));
        one.set("key", "old").unwrap();
        let before = id(&one);
        fs::remove_file(place.path()).unwrap();
        assert_eq!(other.get("key").as_deref(), Some(&b"old"[..]));
        let newcomer = opened(&place);
        until_it_moves(&one, &before);
        // The other handle switches, too, once `one` has noticed the removal.
        assert_eq!(other.get("key"), None);
        one.set("key", "new").unwrap();
        for cache in [&one, &other, &newcomer] {
            assert_eq!((cache.get("key").as_deref(), id(cache)), (Some(&b"new"[..]), id(&newcomer)));
        }
        assert!(newcomer.verify().is_ok());
    });
}

#[test]
fn who_may_make_the_file_makes_it_as_it_was() {
    must_end("who may make the file makes it as it was", || {
        let place = Place::new();
        let (one, other) = (opened(&place), opened(&place));
        for _ in 0..2 {
            let before = id(&one);
            fs::remove_file(place.path()).unwrap();
            until_it_moves(&one, &before);
            one.set("key", "value").unwrap();
            assert_eq!(other.get("key").as_deref(), Some(&b"value"[..]));
            let stats = opened(&place).stats();
            assert_eq!((stats.file_id, stats.capacity, stats.stripes), (id(&one), 512 << 10, 2));
        }
        // The other handle, too, which never created one.
        let before = id(&other);
        fs::remove_file(place.path()).unwrap();
        until_it_moves(&other, &before);
        assert_eq!(other.stats().capacity, 512 << 10);
    });
}

#[test]
fn where_no_file_can_be_made_the_removed_one_still_serves() {
    must_end("where no file can be made the removed one still serves", || {
        let place = Place::new();
        let cache = options().create(place.path()).unwrap();
        cache.set("key", "value").unwrap();
        fs::remove_file(place.path()).unwrap();
        let end = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < end {
            cache.notice_removal();
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(cache.get("key").as_deref(), Some(&b"value"[..]));
        cache.set("key", "other").unwrap();
        assert!(!place.path().exists());
    });
}

#[test]
fn a_destroyed_file_is_not_made_anew() {
    must_end("a destroyed file is not made anew", || {
        let place = Place::new();
        let cache = opened(&place);
        options().destroy(place.path()).unwrap();
        let end = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < end {
            cache.notice_removal();
            assert_eq!(cache.get("key"), None);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!place.path().exists());
    });
}

#[test]
fn a_read_only_handle_goes_over_by_itself() {
    must_end("a read only handle goes over by itself", || {
        let place = Place::new();
        opened(&place).set("key", "old").unwrap();
        let reader = options().open_read_only(place.path()).unwrap();
        let before = id(&reader);
        fs::remove_file(place.path()).unwrap();
        opened(&place).set("key", "new").unwrap();
        until_it_moves(&reader, &before);
        assert_eq!(reader.get("key").as_deref(), Some(&b"new"[..]));
    });
}

/// Repeats work that needs the right to create or to lock, until the file at the path exists again.
fn until_made(path: &Path, mut work: impl FnMut()) {
    let end = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < end);
        work();
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn creating_and_locking_look_by_themselves() {
    must_end("creating and locking look by themselves", || {
        let place = Place::new();
        let cache = opened(&place);
        let mut number = 0;
        fs::remove_file(place.path()).unwrap();
        until_made(&place.path(), || {
            number += 1;
            let Lookup::Create(claim) = cache.claim(format!("key {number}"), &CreateOptions::new()).unwrap() else {
                panic!("no process has this key")
            };
            claim.fail();
        });
        fs::remove_file(place.path()).unwrap();
        until_made(&place.path(), || drop::<KeyLock>(cache.lock("key", Wait::No).unwrap()));
        // The lock of the process that had the file open excludes one that opens the path.
        let _lock = cache.lock("key", Wait::No).unwrap();
        assert!(opened(&place).try_lock("key").unwrap().is_none());
    });
}
