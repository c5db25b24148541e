//! Hostile surroundings, on purpose or not: things that are full, forbidden, closed, truncated or out of step. Each
//! case ends in a miss, an error that names the problem, or in going on, and never with two writers at the same time.
//!
//! Related tests: damaged headers, full disks and full seats in `tests/errors.rs`, positions and lengths that lead
//! anywhere in `tests/verify.rs`, lost locks in `tests/lost.rs`, lock words in `tests/lease.rs`.
#![cfg(unix)]

mod common;

use common::children::PATIENCE;
use common::fork::Forked;
use common::raw::{Raw, stripe};
use common::{Place, TestClock, assert_sound, must_end};
use kennel::{Error, Expiry, LockStrategy, Options, SetOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
#[cfg(target_os = "linux")]
use std::{fs, path::Path};

const STRATEGIES: &[LockStrategy] = &[LockStrategy::File, LockStrategy::Lease];
/// A user who owns nothing.
#[cfg(target_os = "linux")]
const NOBODY: u32 = 65534;

fn options() -> Options {
    Options::new().capacity(1 << 20).stripes(8).seed(31)
}

/// Waits for an action of another process.
#[track_caller]
fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_for(PATIENCE, what, is_so);
}

#[track_caller]
fn wait_for(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this process is root; otherwise prints what is skipped.
#[cfg(target_os = "linux")]
fn is_root(skipped: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {skipped}, since only root can become another user");
    }
    root
}

/// In a child: becomes a user who owns nothing. Only Linux has the calls for one thread.
#[cfg(target_os = "linux")]
fn become_nobody() {
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    set_thread_groups(&[]).unwrap();
    set_thread_gid(rustix::process::Gid::from_raw(NOBODY)).unwrap();
    set_thread_uid(rustix::process::Uid::from_raw(NOBODY)).unwrap();
}

#[cfg(target_os = "linux")]
fn let_others_in(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_user_with_read_permission_reads_if_he_trusts_the_owner() {
    if !is_root("a second user") {
        return;
    }
    let place = Place::new();
    let_others_in(place.dir());
    let cache = options().mode(0o644).create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    let path = place.path();
    Forked::start(|| {
        become_nobody();
        match Options::new().open_read_only(&path) {
            Err(Error::NotTrusted { .. }) => {}
            other => panic!("expected NotTrusted, found {other:?}"),
        }
        let reader = Options::new().trust(true).open_read_only(&path).unwrap();
        assert_eq!(reader.get("key").as_deref(), Some(&b"value"[..]));
        assert!(matches!(reader.set("key", "mine"), Err(Error::ReadOnly(_))));
        let said = Options::new().trust(true).open(&path).unwrap_err().to_string();
        assert!(said.contains("cache") && said.to_lowercase().contains("permission denied"), "{said}");
    })
    .join();
    cache.set("key", "other").unwrap();
    assert_sound(&cache);
}

/// In a child: becomes a user with a private group, who also belongs to a shared group.
#[cfg(target_os = "linux")]
fn become_one_of(group: u32, user: u32) {
    use rustix::process::{Gid, Uid, umask};
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    set_thread_groups(&[Gid::from_raw(group)]).unwrap();
    set_thread_gid(Gid::from_raw(user)).unwrap();
    set_thread_uid(Uid::from_raw(user)).unwrap();
    umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Lease files had the mode that the umask left, and lock files the first user's private group: the second user was
/// denied access, or the first user after the second had been there.
#[cfg(target_os = "linux")]
#[test]
fn users_of_one_group_share_a_cache_in_a_directory_that_hands_on_its_group() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    const GROUP: u32 = 64_000;
    if !is_root("several users") {
        return;
    }
    for locks in STRATEGIES {
        let place = Place::new();
        let_others_in(place.dir());
        let directory = place.dir().join("shared");
        fs::create_dir(&directory).unwrap();
        chown(&directory, None, Some(GROUP)).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
        let path = directory.join("cache");
        let as_user = |user: u32, work: &dyn Fn()| {
            Forked::start(|| {
                become_one_of(GROUP, user);
                work();
            })
            .join();
        };
        let open_and_write = || {
            let cache = Options::new().trust(true).open(&path).unwrap();
            // In every stripe, so with every lock.
            (0..200).for_each(|n| cache.set(format!("key {n}"), "value").unwrap());
            assert_sound(&cache);
        };
        as_user(64_001, &|| {
            let _stays = options().locks(locks.clone()).mode(0o660).create(&path).unwrap();
            // The creator chooses the mode. Later users take seats, and check whether others live.
            Forked::start(open_and_write).join();
        });
        let root = common::locks_root(&path);
        let own = root.join(&common::names_in(&root)[0]);
        // A file left by the first user, killed before it could set the mode of the next seat's lease.
        let left_behind = own.join("000002.lease");
        assert!(own.join("000001.lease").exists() && !left_behind.exists());
        fs::write(&left_behind, "").unwrap();
        fs::set_permissions(&left_behind, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&left_behind, Some(64_001), None).unwrap();
        for user in [64_002, 64_001, 64_003] {
            as_user(user, &|| {
                let _stay = [(); 2].map(|()| Options::new().trust(true).open(&path).unwrap());
                Forked::start(open_and_write).join();
            });
        }
        let files = common::names_in(&own);
        for path in files.iter().map(|name| own.join(name)).chain([path, own.clone()]) {
            let meta = fs::metadata(&path).unwrap();
            let bits = if meta.is_dir() { 0o2770 } else { 0o660 };
            assert_eq!((meta.mode() & 0o7777, meta.gid()), (bits, GROUP), "{}", path.display());
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let directory = place.dir().join("closed");
    fs::create_dir(&directory).unwrap();
    let_others_in(place.dir());
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).unwrap();
    let path = directory.join("cache");
    Forked::start(|| {
        if rustix::process::geteuid().is_root() {
            become_nobody();
        }
        for opened in [options().create(&path), options().open_or_create(&path)] {
            let said = opened.unwrap_err().to_string();
            let named = said.contains(&directory.display().to_string());
            assert!(named && said.to_lowercase().contains("permission denied"), "{said}");
        }
    })
    .join();
    assert_eq!(common::names_in(&directory), [""; 0]);
}

/// Allows only as many descriptors as are in use now.
fn forbid_descriptors() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let next = File::open("/dev/null").unwrap().as_raw_fd();
    setrlimit(Resource::Nofile, Rlimit { current: Some(next as u64), ..before }).unwrap();
    before
}

#[test]
fn without_descriptors_there_is_an_error_and_with_them_it_works_again() {
    let place = Place::new();
    drop(options().create(place.path()).unwrap());
    let path = place.path();
    Forked::start(|| {
        let cache = options().open(&path).unwrap();
        cache.set("key", "value").unwrap();
        let before = forbid_descriptors();
        let too_many = |error: Error| {
            let said = error.to_string();
            assert!(said.contains("cache") && said.to_lowercase().contains("too many open files"), "{said}");
        };
        too_many(options().open(&path).unwrap_err());
        // An open lock stays open, and the others cannot be opened; reads need none.
        cache.set("key", "other").unwrap();
        let failed: Vec<_> = (0..50).filter_map(|n| cache.set(format!("key {n}"), "value").err()).collect();
        assert!(failed.len() > 10, "{}", failed.len());
        failed.into_iter().for_each(too_many);
        assert_eq!(cache.get("key").as_deref(), Some(&b"other"[..]));
        setrlimit(Resource::Nofile, before).unwrap();
        (0..50).for_each(|n| cache.set(format!("key {n}"), "value").unwrap());
        assert_sound(&cache);
        assert_sound(&options().open(&path).unwrap());
    })
    .join();
}

/// A daemon closes all inherited descriptors, and opens other files, which get the numbers of the locks that the cache
/// believes to hold. It may go on or fail, but its additions and those of others must all be there.
#[cfg(target_os = "linux")]
fn a_daemon_closes_everything(locks: &LockStrategy) {
    let place = Place::new();
    let cache = options().stripes(1).locks(locks.clone()).create(place.path()).unwrap();
    for key in ["number", "daemon did", "daemon failed"] {
        cache.set(key, "0").unwrap();
    }
    let path = place.path();
    let log = place.dir().join("log");
    let daemon = Forked::start(|| {
        let cache = options().stripes(1).open(&path).unwrap();
        cache.incr("number", 1).unwrap().unwrap();
        common::fork::close_all_above_two();
        let _files: Vec<_> =
            (0..64).map(|_| OpenOptions::new().create(true).append(true).open(&log).unwrap()).collect();
        let (mut did, mut failed) = (1u64, 0u64);
        for _ in 0..3000 {
            match cache.incr("number", 1) {
                Ok(sum) => did += u64::from(sum.is_some()),
                Err(_) => failed += 1,
            }
        }
        // Its open descriptors are its own now, not the cache's to close.
        std::mem::forget(cache);
        let honest = options().stripes(1).open(&path).unwrap();
        honest.set("daemon failed", failed.to_string()).unwrap();
        honest.set("daemon did", did.to_string()).unwrap();
    });
    let did = || cache.get("daemon did").map(|did| String::from_utf8(did).unwrap().parse::<u64>().unwrap());
    let mut own = 0;
    while did() == Some(0) {
        own += u64::from(cache.incr("number", 1).unwrap().is_some());
    }
    daemon.join();
    let total = own + did().expect("it is never evicted");
    assert_eq!(cache.get("number"), Some(total.to_string().into_bytes()), "under {locks}: additions were lost");
    assert_eq!(cache.stats().counters.repairs, 0, "under {locks}: a living process was taken for dead");
    assert_sound(&cache);
}

#[cfg(target_os = "linux")]
#[test]
fn a_daemon_that_closes_all_descriptors_never_writes_beside_another() {
    STRATEGIES.iter().for_each(a_daemon_closes_everything);
}

#[test]
fn a_thousand_processes_that_open_at_once_are_all_served() {
    const MANY: usize = 1000;
    // This takes two seconds on an idle machine.
    const LIMIT: Duration = PATIENCE.saturating_mul(4);
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("served", "0").unwrap();
    let path = place.path();
    let many: Vec<_> = (0..MANY)
        .map(|_| {
            Forked::start_within(LIMIT, || {
                let cache = options().lock_wait(LIMIT).open(&path).unwrap();
                cache.incr("served", 1).unwrap().unwrap();
                while cache.get("all are here").is_none() {
                    // Rarely enough for the others to get their turn.
                    std::thread::sleep(Duration::from_millis(200));
                }
            })
        })
        .collect();
    let all = MANY.to_string().into_bytes();
    wait_for(LIMIT, "the last of them", || cache.get("served").as_ref() == Some(&all));
    assert_eq!(cache.stats().members as usize, MANY + 1, "all of them at the same time");
    cache.set("all are here", "").unwrap();
    many.into_iter().for_each(Forked::join);
    assert_sound(&cache);
}

/// As documented: a store or load beyond the end of the mapped file ends in SIGBUS, since the kernel has no other way
/// to report it. Processes that open the file later get an error.
#[test]
fn a_file_that_is_cut_off_while_it_is_open_ends_its_users_and_is_refused_to_others() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    drop(cache);
    let (path, ready) = (place.path(), place.dir().join("ready"));
    let user = Forked::start(|| {
        let cache = options().open(&path).unwrap();
        assert!(cache.get("key").is_some());
        File::create(&ready).unwrap();
        loop {
            let _ = (cache.get("key"), cache.set("key", "value"));
        }
    });
    wait_until("the user", || ready.exists());
    OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
    assert_eq!(user.signal_at_end(), Some(libc::SIGBUS));
    let said = options().open(&path).unwrap_err().to_string();
    assert!(said.contains("file length") && said.contains("cut off"), "{said}");
}

/// Records of length 0, which a walk would never leave, and positions far ahead of the written records.
#[test]
fn a_walk_without_end_is_reported_and_ends() {
    let place = Place::new();
    let cache = options().stripes(1).verify_reads(true).create(place.path()).unwrap();
    (0..500u32).for_each(|n| cache.set(n.to_le_bytes(), [7; 300]).unwrap());
    let mut raw = Raw::load(&place.path());
    // All of the rings: records of length 0, under heads that state that the rings are full.
    let end = raw.bytes.len();
    let arena = raw.arena(0);
    raw.bytes[arena..end].fill(0);
    for (head, tail) in [(stripe::SMALL_HEAD, stripe::SMALL_TAIL), (stripe::MAIN_HEAD, stripe::MAIN_TAIL)] {
        let at = raw.stripe(0);
        assert!(raw.word(at + head) > raw.word(at + tail));
    }
    raw.save();
    let path = place.path();
    must_end("the use of rings without an end", move || {
        let reader = Options::new().verify_reads(true).open_read_only(&path).unwrap();
        assert!((0..500u32).all(|n| reader.get(n.to_le_bytes()).is_none()), "there is nothing to be read");
        assert!(!reader.verify().is_ok(), "verify does not report it");
        assert!(!cache.verify().is_ok(), "verify does not report it");
        assert_eq!(cache.keys().count(), 0);
        (0..5000u32).for_each(|n| cache.set(n.to_le_bytes(), [9; 300]).unwrap());
        assert_eq!(cache.get(4999u32.to_le_bytes()), Some(vec![9; 300]), "it goes on");
        assert_sound(&cache);
    });
}

/// Wall time affects expiry only, not locks, waits or the order of values.
#[test]
fn a_clock_that_is_set_by_an_hour_changes_expiry_and_nothing_else() {
    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_800_000_000_000;
    for locks in STRATEGIES {
        let place = Place::new();
        let clock = TestClock::at(NOW);
        let with_clock = || options().clock(clock.clone());
        let cache = with_clock().locks(locks.clone()).create(place.path()).unwrap();
        let other = with_clock().open(place.path()).unwrap();
        let in_half_an_hour = SetOptions::new().expiry(Expiry::After(Duration::from_millis(HOUR / 2)));
        cache.set("for ever", "value").unwrap();
        cache.set_with("short", "value", &in_half_an_hour).unwrap();
        clock.set(NOW - HOUR);
        // Still there, an hour longer than intended; new values count from now.
        assert!(other.get("short").is_some() && other.get("for ever").is_some());
        other.set_with("short too", "value", &in_half_an_hour).unwrap();
        other.set("for ever", "newer").unwrap();
        assert_eq!(cache.get("for ever").as_deref(), Some(&b"newer"[..]));
        let third = with_clock().open(place.path()).unwrap();
        assert_eq!(third.get("for ever").as_deref(), Some(&b"newer"[..]), "an opener trusts it as before");
        clock.set(NOW + HOUR);
        assert!(cache.get("short").is_none() && cache.get("short too").is_none());
        cache.incr("absent", 1).unwrap();
        cache.set("for ever", "newest").unwrap();
        assert_eq!(third.get("for ever").as_deref(), Some(&b"newest"[..]));
        clock.set(NOW);
        assert!(third.delete("for ever").unwrap());
        assert_eq!(cache.get("for ever"), None);
        for cache in [&cache, &other, &third] {
            assert_eq!((cache.stats().counters.busy, cache.stats().counters.repairs), (0, 0));
            assert_sound(cache);
        }
    }
}
