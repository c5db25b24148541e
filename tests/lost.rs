//! The files of a cache are removed, moved, linked, mounted or copied while it is in use. Members go on with the files
//! that they have open, others get an error that names the missing file, and there are *never* two sets of locks for
//! one file: all additions of two processes to one number are there at the end.

mod common;

use common::children::{self, Process, arg, say, wait_for_word};
#[cfg(target_os = "linux")]
use common::mounted::Mounted;
use common::{Place, names_in};
use kennel::{Cache, Error, LockStrategy, Options, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const STRIPES: u32 = 4;
/// The strategies for several processes.
const SHARED: [LockStrategy; 2] = [LockStrategy::File, LockStrategy::Lease];

#[test]
fn child() {
    children::serve(|task, args| match task {
        "work" => work(args[0]),
        "open" => say(open_error(options().open(args[0]))),
        _ => panic!("no task {task}"),
    });
}

fn options() -> Options {
    Options::new().capacity(512 << 10).stripes(STRIPES).seed(11)
}

/// Adds to the counter of every stripe until told to stop. Reports how often it did.
fn work(path: &str) {
    let cache = options().open(path).unwrap();
    let keys = a_key_per_stripe();
    let (told, stop) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(wait_for_word()));
    let mut added = 0;
    loop {
        for key in &keys {
            cache.incr(key, 1).unwrap().unwrap();
        }
        added += 1;
        if added == 1 {
            say("at work");
        }
        if stop.try_recv().is_ok() {
            break;
        }
    }
    say(added);
}

/// The error of an attempt to open.
fn open_error(opened: Result<Cache>) -> String {
    match opened {
        Ok(cache) => format!("opened {}", cache.stats().file_id),
        Err(Error::LocksLost { detail, .. }) => format!("locks lost: {detail}"),
        Err(error) => format!("{error:?}"),
    }
}

/// A counter in every stripe. A separate cache finds the keys: with a fixed seed they are the same in all.
fn a_key_per_stripe() -> Vec<String> {
    let place = Place::new();
    let probe = options().create(place.path()).unwrap();
    let sets = || -> Vec<u64> { probe.stripe_stats().iter().map(|stripe| stripe.counters.sets).collect() };
    let mut keys = vec![None; STRIPES as usize];
    for i in 0.. {
        let (key, before) = (format!("counter {i}"), sets());
        probe.set(&key, "0").unwrap();
        let stripe = sets().iter().zip(before).position(|(now, before)| *now > before).unwrap();
        keys[stripe].get_or_insert(key);
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    keys.into_iter().flatten().collect()
}

/// A cache in use: this process has it open, and has locked one stripe only; another process adds to all counters.
struct InUse {
    place: Place,
    cache: Cache,
    keys: Vec<String>,
    worker: Process,
    /// Additions of this process, by stripe.
    added: Vec<u64>,
}

impl InUse {
    fn new() -> Self {
        Self::with(LockStrategy::File)
    }

    fn with(locks: LockStrategy) -> Self {
        let place = Place::new();
        let cache = options().locks(locks).create(place.path()).unwrap();
        let keys = a_key_per_stripe();
        keys.iter().for_each(|key| cache.set(key, "0").unwrap());
        drop(cache);
        let cache = options().open(place.path()).unwrap();
        let mut worker = children::start("work", &[arg(&place.path())]);
        worker.expect("at work");
        let mut this = Self { place, cache, keys, worker, added: vec![0; STRIPES as usize] };
        this.add(0).unwrap();
        this
    }

    fn path(&self) -> PathBuf {
        self.place.path()
    }

    fn root(&self) -> PathBuf {
        self.place.dir().join("cache.locks")
    }

    fn lock_directory(&self) -> PathBuf {
        self.root().join(self.cache.stats().file_id)
    }

    fn lock_file(&self, stripe: usize) -> PathBuf {
        self.lock_directory().join(format!("{stripe:04}.lock"))
    }

    /// Adds to a stripe's counter a few times.
    fn add(&mut self, stripe: usize) -> Result<()> {
        for _ in 0..50 {
            self.cache.incr(&self.keys[stripe], 1)?.unwrap();
            self.added[stripe] += 1;
        }
        Ok(())
    }

    /// This process needs a lock that it has not opened yet and that is missing.
    fn expect_lost(&mut self, stripe: usize) {
        match self.add(stripe) {
            Err(Error::LocksLost { detail, .. }) => assert!(detail.contains(".lock"), "{detail}"),
            other => panic!("expected LocksLost, found {other:?}"),
        }
        assert_eq!(self.added[stripe], 0);
    }

    /// Stops the worker, and checks that all additions of both are there, so that both excluded each other.
    fn finish(mut self) -> Place {
        self.add(0).unwrap();
        self.worker.tell("stop");
        let worked: u64 = self.worker.hear().unwrap().parse().unwrap();
        for (key, added) in self.keys.iter().zip(&self.added) {
            assert_eq!(self.cache.get(key), Some((worked + added).to_string().into_bytes()), "{key}");
        }
        assert_eq!(self.cache.stats().counters.repairs, 0);
        self.worker.finish();
        self.place
    }
}

/// The result of another process that opens the cache at a path.
fn open_elsewhere(path: &Path) -> String {
    let mut process = children::start("open", &[arg(path)]);
    let told = process.hear().unwrap();
    process.finish();
    told
}

fn expect_opener_lost(path: &Path, detail: &str) {
    let told = open_elsewhere(path);
    assert!(told.starts_with("locks lost: ") && told.contains(detail), "{told}");
    match options().open_or_create(path) {
        Err(Error::LocksLost { .. }) => {}
        other => panic!("expected LocksLost, found {other:?}"),
    }
}

#[test]
fn members_go_on_when_the_file_is_removed_and_a_new_one_is_another_cache() {
    SHARED.into_iter().for_each(removed_file);
}

fn removed_file(locks: LockStrategy) {
    let mut used = InUse::with(locks);
    used.place.take_away(&used.path());
    assert!(open_elsewhere(&used.path()).starts_with("NotFound"));
    for stripe in 0..STRIPES as usize {
        used.add(stripe).unwrap();
    }
    let new = options().create(used.path()).unwrap();
    assert_ne!(new.stats().file_id, used.cache.stats().file_id);
    // No values are mixed up, whichever process writes.
    for key in &used.keys {
        assert_eq!(new.get(key), None);
        new.set(key, "new").unwrap();
        assert_ne!(used.cache.get(key).as_deref(), Some(&b"new"[..]));
    }
    assert!(open_elsewhere(&used.path()).contains(&new.stats().file_id));
    for stripe in 0..STRIPES as usize {
        used.add(stripe).unwrap();
    }
    assert!(used.keys.iter().all(|key| new.get(key).as_deref() == Some(b"new")));
    // The old locks stay while they are in use; the next creator removes them.
    assert_eq!(used.place.lock_directories().len(), 2);
    let (path, root, old) = (used.path(), used.root(), used.cache.stats().file_id);
    let place = used.finish();
    options().destroy(&path).unwrap();
    let _newest = options().create(&path).unwrap();
    assert!(!names_in(&root).contains(&old), "{:?}", names_in(&root));
    drop(place);
}

#[test]
fn a_removed_lock_directory_is_never_made_anew_beside_the_old_one() {
    let mut used = InUse::new();
    let directory = used.lock_directory();
    used.place.take_all_away(&used.root());
    expect_opener_lost(&used.path(), "found none");
    // Both this process and the worker have the open lock; the other locks are out of reach.
    used.add(0).unwrap();
    used.expect_lost(1);
    assert!(!used.root().exists(), "a process made locks");
    // Even similar files do not pass. The worker has the old files open, so their inode numbers are not reused.
    fs::create_dir_all(&directory).unwrap();
    (0..STRIPES as usize).for_each(|stripe| drop(File::create_new(used.lock_file(stripe)).unwrap()));
    expect_opener_lost(&used.path(), "");
    used.expect_lost(1);
    used.expect_lost(2);
    // Reads take no lock.
    assert!(used.cache.get(&used.keys[1]).is_some());
    used.finish();
}

#[test]
fn a_cache_whose_locks_are_lost_can_be_destroyed_and_made_anew() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    place.take_all_away(&place.dir().join("cache.locks"));
    drop(cache);
    assert!(matches!(options().open(place.path()), Err(Error::LocksLost { .. })));
    options().destroy(place.path()).unwrap();
    options().open_or_create(place.path()).unwrap().set("key", "value").unwrap();
}

#[test]
fn a_lock_file_that_was_made_anew_is_not_taken_for_the_old_one() {
    let mut used = InUse::new();
    let lost = used.lock_file(1);
    used.place.take_away(&lost);
    used.expect_lost(1);
    File::create_new(&lost).unwrap();
    used.expect_lost(1);
    // A new member opens lock files when it needs them: it can lock the other stripes, but not this one.
    let new = options().open(used.path()).unwrap();
    match new.set(&used.keys[1], "mine") {
        Err(Error::LocksLost { detail, .. }) => assert!(detail.contains("it was replaced"), "{detail}"),
        other => panic!("expected LocksLost, found {other:?}"),
    }
    new.incr(&used.keys[2], 1).unwrap().unwrap();
    used.added[2] += 1;
    assert!(new.get(&used.keys[1]).is_some());
    for stripe in [0, 2, 3] {
        used.add(stripe).unwrap();
    }
    used.finish();
}

#[test]
fn a_lease_that_was_removed_is_lost_and_no_death() {
    SHARED.into_iter().for_each(removed_lease);
}

fn removed_lease(locks: LockStrategy) {
    let used = InUse::with(locks);
    let is_lease = |name: &String| name.ends_with(".lease");
    let leases: Vec<_> = names_in(&used.lock_directory()).into_iter().filter(is_lease).collect();
    assert_eq!(leases.len(), 2);
    leases.iter().for_each(|lease| used.place.take_away(&used.lock_directory().join(lease)));
    expect_opener_lost(&used.path(), "lease");
    // A recreated lease has no owner: it could be locked although the member lives.
    leases.iter().for_each(|lease| drop(File::create_new(used.lock_directory().join(lease)).unwrap()));
    expect_opener_lost(&used.path(), "lease");
    used.finish();
}

#[test]
fn a_hard_link_elsewhere_has_no_locks() {
    SHARED.into_iter().for_each(hard_link);
}

fn hard_link(locks: LockStrategy) {
    let used = InUse::with(locks);
    let link = used.place.dir().join("link");
    fs::hard_link(used.path(), &link).unwrap();
    expect_opener_lost(&link, "link.locks");
    assert!(!used.place.dir().join("link.locks").exists());
    used.finish();
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_leads_to_the_same_locks() {
    let mut used = InUse::new();
    let link = used.place.dir().join("link");
    std::os::unix::fs::symlink(used.path(), &link).unwrap();
    let through = options().open(&link).unwrap();
    assert_eq!(through.path(), used.cache.path());
    for _ in 0..50 {
        through.incr(&used.keys[2], 1).unwrap().unwrap();
        used.added[2] += 1;
    }
    drop(through);
    used.finish();
}

#[test]
fn a_file_that_was_moved_alone_has_no_locks_and_moved_with_them_it_has() {
    let mut used = InUse::new();
    let (path, root) = (used.path(), used.root());
    let (moved, moved_root) = (used.place.dir().join("moved"), used.place.dir().join("moved.locks"));
    fs::rename(&path, &moved).unwrap();
    expect_opener_lost(&moved, "moved.locks");
    if cfg!(windows) {
        // Windows does not rename a directory in which a file is open. Wine does.
        used.finish();
        return;
    }
    fs::rename(&root, &moved_root).unwrap();
    let there = options().open(&moved).unwrap();
    for _ in 0..50 {
        for stripe in 0..STRIPES as usize {
            there.incr(&used.keys[stripe], 1).unwrap().unwrap();
            used.added[stripe] += 1;
        }
    }
    drop(there);
    used.finish();
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_is_mounted_alone_has_no_locks_and_with_its_directory_it_has() {
    let mut used = InUse::new();
    let (alone, both) = (used.place.dir().join("alone"), used.place.dir().join("both"));
    File::create_new(&alone).unwrap();
    fs::create_dir(&both).unwrap();
    let Some(mounted) = Mounted::new(&["--bind", arg(&used.path())], alone.clone()) else { return };
    expect_opener_lost(&alone, "alone.locks");
    drop(mounted);
    let _mounted = Mounted::new(&["--bind", arg(used.place.dir())], both.clone()).unwrap();
    let there = options().open(both.join("cache")).unwrap();
    for _ in 0..50 {
        there.incr(&used.keys[3], 1).unwrap().unwrap();
        used.added[3] += 1;
    }
    drop(there);
    used.finish();
}

#[test]
fn a_copy_is_a_cache_of_its_own_even_with_copied_locks() {
    SHARED.into_iter().for_each(copy);
}

fn copy(locks: LockStrategy) {
    let used = InUse::with(locks);
    let (path, copy) = (used.path(), used.place.dir().join("copy"));
    let copy_root = used.place.dir().join("copy.locks");
    fs::copy(&path, &copy).unwrap();
    let id = used.cache.stats().file_id;
    fs::create_dir_all(copy_root.join(&id)).unwrap();
    for name in names_in(&used.lock_directory()) {
        fs::copy(used.lock_directory().join(&name), copy_root.join(&id).join(&name)).unwrap();
    }
    let other = options().open(&copy).unwrap();
    assert_ne!(other.stats().file_id, id);
    // The copy was made in the middle of writes, without a flush: it is not trusted.
    for key in &used.keys {
        assert_eq!(other.get(key), None);
        other.set(key, "of the copy").unwrap();
    }
    assert!(open_elsewhere(&copy).contains(&other.stats().file_id));
    assert!(other.verify().is_ok());
    used.finish();
    assert_eq!(other.stats().items, u64::from(STRIPES));
}

#[test]
fn a_destroyed_cache_is_gone_for_its_members_and_comes_back_when_it_is_created() {
    let place = Place::new();
    let cache = options().create(place.path()).unwrap();
    cache.set("key", "value").unwrap();
    options().destroy(place.path()).unwrap();
    assert_eq!(cache.get("key"), None);
    assert!(matches!(cache.set("key", "value"), Err(Error::NotFound(_))));
    let new = options().create(place.path()).unwrap();
    cache.set("key", "again").unwrap();
    assert_eq!(new.get("key").as_deref(), Some(&b"again"[..]));
    assert_eq!(cache.stats().file_id, new.stats().file_id);
}
