//! Cache files as files: created, opened, replaced, destroyed, copied, linked; and what is left after a restart
//! of the host.

mod common;

use common::raw::{Raw, header};
use common::{Place, assert_sound, locks_root, must_end, names_in};
use kennel::{AfterCrash, Cache, Error, Limit, LockStrategy, OnMismatch, Options, SetOptions};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// A small file without eviction in these tests.
fn small() -> Options {
    Options::new().capacity(64 << 10).stripes(2).seats(4).seed(1)
}

fn other_size() -> Options {
    Options::new().capacity(128 << 10).stripes(2).seats(4)
}

fn fill(cache: &Cache) {
    (0..20).for_each(|n: u32| cache.set(n.to_le_bytes(), n.to_string()).unwrap());
}

fn filled(cache: &Cache) -> usize {
    (0..20u32).filter(|n| cache.get(n.to_le_bytes()).is_some_and(|value| value == n.to_string().as_bytes())).count()
}

/// The value of a key, once a read finds the file that took another's place; until then it may miss.
fn in_the_end(cache: &Cache, key: &'static str) -> Option<Vec<u8>> {
    let cache = cache.clone();
    must_end("the search for the new file", move || {
        while !cache.contains(key) {
            thread::sleep(Duration::from_millis(1));
        }
        cache.get(key)
    })
}

/// Data file, inode and content of a file: what must not change when it is left alone.
fn state(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn create_open_and_open_or_create_do_what_they_say() {
    let place = Place::new();
    let path = place.path();
    assert!(matches!(small().open(&path), Err(Error::NotFound(found)) if found.ends_with("cache")));
    assert!(matches!(small().open_read_only(&path), Err(Error::NotFound(_))));
    assert!(matches!(small().destroy(&path), Err(Error::NotFound(_))));
    assert_eq!(place.names(), [""; 0]);
    let made = small().create(&path).unwrap();
    fill(&made);
    assert!(matches!(small().create(&path), Err(Error::Exists(_))));
    for again in [small().open(&path), small().open_or_create(&path), Cache::open(&path), small().open_read_only(&path)]
    {
        let again = again.unwrap();
        assert_eq!((again.stats().file_id, filled(&again)), (made.stats().file_id, 20));
    }
    drop(made);
    small().destroy(&path).unwrap();
    assert_eq!(place.names(), [""; 0], "nothing is left");
    let anew = small().open_or_create(&path).unwrap();
    assert_eq!(filled(&anew), 0);
}

#[test]
fn create_leaves_an_existing_file_of_any_kind_as_it_is() {
    let place = Place::new();
    let path = place.path();
    drop(small().create(&path).map(|cache| fill(&cache)));
    let (before, names) = (state(&path), place.names());
    let locks = names_in(&locks_root(&path));
    assert!(matches!(other_size().create(&path), Err(Error::Exists(_))));
    assert!(state(&path) == before && place.names() == names && names_in(&locks_root(&path)) == locks);
    let text = place.dir().join("text");
    fs::write(&text, "not a cache").unwrap();
    for mismatch in [OnMismatch::Fail, OnMismatch::UseExisting, OnMismatch::Recreate] {
        let options = small().on_mismatch(mismatch);
        assert!(matches!(options.create(&text), Err(Error::Exists(_))));
        assert!(matches!(options.open(&text), Err(Error::BadFile { .. })));
        assert!(matches!(options.open_or_create(&text), Err(Error::BadFile { .. })));
        assert!(matches!(options.destroy(&text), Err(Error::BadFile { .. })));
        assert_eq!(state(&text), b"not a cache", "{mismatch:?}");
    }
}

/// What becomes of a file that differs from what is asked.
#[derive(Debug, PartialEq)]
enum Outcome {
    Mismatch(&'static str),
    AsItIs,
    Replaced,
}

fn outcome(asked: &Options, path: &Path, id: &str) -> Outcome {
    match asked.open_or_create(path) {
        Ok(cache) if cache.stats().file_id == id => Outcome::AsItIs,
        Ok(_) => Outcome::Replaced,
        Err(Error::Mismatch { what, .. }) => Outcome::Mismatch(what),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_file_that_differs_is_refused_used_or_replaced_as_asked() {
    let sizes: [(&'static str, Options); 5] = [
        ("a capacity of", Options::new().capacity(128 << 10)),
        ("a mean item size of", Options::new().mean_item(99)),
        ("a number of stripes of", Options::new().stripes(4).capacity(64 << 10)),
        ("a number of lock regions of", Options::new().lock_regions(1)),
        ("a number of seats of", Options::new().seats(5)),
    ];
    let strategy = ("the lock strategy", Options::new().locks(LockStrategy::RwFile));
    for (what, asked) in sizes.into_iter().chain([strategy]) {
        for living in [false, true] {
            let expected = [
                (OnMismatch::Fail, Outcome::Mismatch(what)),
                (OnMismatch::UseExisting, Outcome::AsItIs),
                // A difference in sizes only is not worth throwing out living members.
                (
                    OnMismatch::Recreate,
                    if living && what != "the lock strategy" { Outcome::AsItIs } else { Outcome::Replaced },
                ),
            ];
            for (mismatch, expected) in expected {
                let place = Place::new();
                let cache = small().create(place.path()).unwrap();
                let id = cache.stats().file_id;
                let _member = living.then_some(cache);
                let found = outcome(&asked.clone().on_mismatch(mismatch), &place.path(), &id);
                assert_eq!(found, expected, "{what}, {mismatch:?}, living members: {living}");
            }
        }
    }
}

#[test]
fn what_was_not_asked_for_does_not_differ() {
    let place = Place::new();
    let made = small().locks(LockStrategy::RwFile).create(place.path()).unwrap();
    let found = Options::new().open(place.path()).unwrap();
    assert_eq!(found.stats().strategy, "rw-file");
    // What belongs to a handle, and what counts for new files only, differs from nothing.
    let options = Options::new().verify_reads(true).mode(0o640).seed(77).after_crash(AfterCrash::Verify).populate(true);
    assert_eq!(options.open(place.path()).unwrap().stats().file_id, made.stats().file_id);
}

#[test]
fn a_handle_of_a_replaced_file_goes_over_to_the_new_one_on_read_and_on_write() {
    let place = Place::new();
    let handles: Vec<Cache> = [small(), Options::new(), small().capacity(64 << 10)]
        .into_iter()
        .map(|options| options.open_or_create(place.path()).unwrap())
        .collect();
    let reader = Options::new().open_read_only(place.path()).unwrap();
    fill(&handles[0]);
    let anew = small().locks(LockStrategy::RwFile).on_mismatch(OnMismatch::Recreate);
    let anew = anew.open_or_create(place.path()).unwrap();
    assert_ne!(anew.stats().file_id, handles[0].stats().file_id);
    anew.set("key", "new").unwrap();
    assert_eq!(in_the_end(&handles[0], "key").as_deref(), Some(&b"new"[..]), "on read");
    handles[1].set("other", "by an old handle").unwrap();
    assert_eq!(anew.get("other").as_deref(), Some(&b"by an old handle"[..]), "on write");
    assert!(handles[2].delete("other").unwrap());
    assert_eq!(in_the_end(&reader, "key").as_deref(), Some(&b"new"[..]), "read-only");
    for cache in handles.iter().chain([&reader]) {
        assert_eq!((filled(cache), cache.stats().file_id), (0, anew.stats().file_id), "nothing of the old file");
    }
    assert_sound(&anew);
}

#[test]
fn a_handle_that_asked_for_sizes_goes_over_to_a_file_of_other_sizes() {
    // Without lock files nobody can see its living members: such a file is replaced under them.
    let place = Place::new();
    let old = small().locks(LockStrategy::None).create(place.path()).unwrap();
    fill(&old);
    let anew = other_size().on_mismatch(OnMismatch::Recreate).open(place.path()).unwrap();
    assert_ne!(anew.stats().file_id, old.stats().file_id);
    anew.set("key", "new").unwrap();
    assert_eq!(in_the_end(&old, "key").as_deref(), Some(&b"new"[..]));
    old.set("key", "newer").unwrap();
    assert_eq!(anew.get("key").as_deref(), Some(&b"newer"[..]));
}

#[test]
fn handles_of_a_destroyed_file_miss_and_refuse_until_somebody_creates_it_again() {
    let place = Place::new();
    let old = small().create(place.path()).unwrap();
    let reader = Options::new().open_read_only(place.path()).unwrap();
    fill(&old);
    small().destroy(place.path()).unwrap();
    for cache in [&old, &reader] {
        assert_eq!(filled(cache), 0);
        assert!(cache.get_item(0u32.to_le_bytes()).is_none() && !cache.contains(0u32.to_le_bytes()));
        assert_eq!(cache.keys().count(), 0, "and no keys");
    }
    let refused = [
        old.set("key", "value").err(),
        old.delete("key").err(),
        old.incr("key", 1).err(),
        old.clear().err(),
        old.flush().err(),
        old.set_multi(&[("key", "value")], &SetOptions::new()).remove(0).err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::NotFound(_))), "{error:?}");
    }
    assert!(!place.path().exists(), "a write does not bring it back");
    let anew = other_size().create(place.path()).unwrap();
    anew.set("key", "new").unwrap();
    assert_eq!(in_the_end(&old, "key").as_deref(), Some(&b"new"[..]));
    assert_eq!(in_the_end(&reader, "key").as_deref(), Some(&b"new"[..]));
    old.set("key", "newer").unwrap();
    assert_eq!(anew.get("key").as_deref(), Some(&b"newer"[..]));
    assert_eq!(old.stats().file_id, anew.stats().file_id);
}

#[test]
fn a_file_that_was_removed_by_hand_can_be_created_again() {
    let place = Place::new();
    let old = small().create(place.path()).unwrap();
    fill(&old);
    place.take_away(&place.path());
    let anew = small().create(place.path()).unwrap();
    assert_eq!(filled(&anew), 0);
    anew.set("key", "new").unwrap();
    // Nobody marked the old file: its handles go on with what they have, and harm nobody.
    assert_eq!(filled(&old), 20);
    old.set("key", "old").unwrap();
    assert_eq!(anew.get("key").as_deref(), Some(&b"new"[..]));
    drop(old);
    drop(anew);
    drop(small().open(place.path()).unwrap());
    small().destroy(place.path()).unwrap();
    assert_eq!(place.names(), [""; 0], "the locks of both are gone");
}

#[test]
fn the_lock_directory_holds_a_bounded_set_of_files() {
    let expected = |locks: usize, leases: usize| {
        let locks = (0..locks).map(|n| format!("{n:04}.lock"));
        let mut names: Vec<_> = locks.chain((0..leases).map(|n| format!("{n:06}.lease"))).collect();
        names.sort();
        names
    };
    let options = [
        (LockStrategy::File, small().lock_regions(2), 2),
        (LockStrategy::File, small().lock_regions(1), 1),
        (LockStrategy::RwFile, small(), 1),
        (LockStrategy::Lease, small(), 0),
    ];
    for (strategy, options, locks) in options {
        let place = Place::new();
        let options = options.locks(strategy.clone());
        let cache = options.create(place.path()).unwrap();
        let directory = locks_root(&place.path()).join(cache.stats().file_id);
        for round in 0..20u32 {
            let other = options.open(place.path()).unwrap();
            (0..50u32).for_each(|n| other.set((round * 50 + n).to_le_bytes(), "value").unwrap());
            cache.clear().unwrap();
        }
        assert_eq!(names_in(&directory), expected(locks, 2), "{strategy}: two members at a time");
        assert_eq!(place.lock_directories().len(), 1);
        assert_eq!(place.names(), ["cache", "cache.locks"]);
    }
    for strategy in [LockStrategy::Process, LockStrategy::None] {
        let place = Place::new();
        fill(&small().locks(strategy).create(place.path()).unwrap());
        assert_eq!(place.names(), ["cache"], "no lock file is made");
    }
}

#[test]
fn paths_may_be_relative_have_spaces_and_be_no_ascii() {
    // On the disk that the test runs on: on Windows no relative path leads to another.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = place.path().join("ein schöner Zwinger 犬.cache");
    let cache = small().create(&path).unwrap();
    fill(&cache);
    assert_eq!(cache.path(), common::real(&path));
    assert_eq!(filled(&small().open(&path).unwrap()), 20);
    // Up to the root and down again: relative to wherever the test runs.
    let names = |path: &Path| path.components().filter(|part| matches!(part, Component::Normal(_))).count();
    let here = std::env::current_dir().unwrap();
    let down = common::real(&path);
    let skipped = down.components().count() - names(&down);
    let relative: PathBuf =
        (0..names(&here)).map(|_| Component::ParentDir).chain(down.components().skip(skipped)).collect();
    assert!(relative.is_relative());
    assert_eq!(small().open(&relative).unwrap().stats().path, cache.stats().path);
    drop(cache);
    small().destroy(&relative).unwrap();
    assert_eq!(names_in(place.path()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn symbolic_links_to_file_or_directory_lead_to_one_cache_with_one_set_of_locks() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let real = place.dir().join("real");
    fs::create_dir(&real).unwrap();
    let cache = small().create(real.join("cache")).unwrap();
    symlink(real.join("cache"), place.dir().join("link")).unwrap();
    symlink(&real, place.dir().join("directory")).unwrap();
    for path in [place.dir().join("link"), place.dir().join("directory/cache")] {
        let linked = small().open(&path).unwrap();
        assert_eq!((linked.stats().file_id, linked.path()), (cache.stats().file_id, cache.path()));
        linked.set("key", "value").unwrap();
        assert!(matches!(small().create(&path), Err(Error::Exists(_))));
    }
    assert_eq!(place.names(), ["directory", "link", "real"], "no locks beside the links");
    drop(cache);
    // A link without a target is no file, but a name that is taken.
    small().destroy(place.dir().join("link")).unwrap();
    assert_eq!(names_in(&real), [""; 0]);
    assert!(matches!(small().open(place.dir().join("link")), Err(Error::NotFound(_))));
    drop(small().create(place.dir().join("directory/cache")).unwrap());
    assert_eq!(names_in(&real), ["cache", "cache.locks"]);
}

#[cfg(unix)]
#[test]
fn a_file_has_the_mode_that_was_asked_for_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    const PATH: &str = "KENNEL_TEST_MODE_PATH";
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // A umask belongs to the whole process: this test runs itself once more in one of its own.
    if let Some(path) = std::env::var_os(PATH) {
        let path = PathBuf::from(path);
        for (name, options) in [("open", small().mode(0o644)), ("private", small())] {
            let creator = options.create(path.join(name)).unwrap();
            fill(&creator);
            // The next member makes a lease, too, and was told nothing of a mode.
            drop(small().trust(true).open(path.join(name)).unwrap());
        }
        return;
    }
    for umask in ["000", "077"] {
        let place = Place::new();
        let run =
            format!("umask {umask}; exec \"$0\" --exact a_file_has_the_mode_that_was_asked_for_whatever_the_umask");
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(run).arg(std::env::current_exe().unwrap()).env(PATH, place.dir());
        let ran = shell.output().unwrap();
        assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("1 passed"), "{ran:?}");
        assert_eq!(mode(&place.dir().join("open")), 0o644, "umask {umask}");
        assert_eq!(mode(&place.dir().join("private")), 0o600, "umask {umask}");
        for (name, directory, lock) in [("open", 0o755, 0o644), ("private", 0o700, 0o600)] {
            let root = locks_root(&place.dir().join(name));
            assert_eq!(mode(&root), directory, "{name}, umask {umask}");
            let id = root.join(&names_in(&root)[0]);
            assert_eq!(mode(&id), directory, "{name}, umask {umask}");
            let files = names_in(&id);
            assert!(files.iter().filter(|file| file.ends_with(".lease")).count() == 2, "{files:?}");
            for file in files {
                assert_eq!(mode(&id.join(&file)), lock, "{name}, {file}, umask {umask}");
            }
        }
    }
}

#[cfg(windows)]
#[test]
fn a_file_that_a_program_does_not_share_is_replaced_when_that_is_through() {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_SHARE_READ_AND_WRITE: u32 = 3;
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    let scanner = fs::OpenOptions::new().read(true).share_mode(FILE_SHARE_READ_AND_WRITE).open(place.path()).unwrap();
    let other = small().stripes(4).locks(LockStrategy::RwFile).on_mismatch(OnMismatch::Recreate);
    for refused in [other.open(place.path()).map(drop), small().destroy(place.path())] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("move aside") && said.contains("os error 32") && said.contains("try again"), "{said}");
    }
    // Nothing was lost, and all goes on.
    assert_eq!(filled(&cache), 20);
    cache.set("key", "value").unwrap();
    assert_eq!(small().open(place.path()).unwrap().get("key").as_deref(), Some(&b"value"[..]));
    drop(scanner);
    other.open(place.path()).unwrap().set("key", "new").unwrap();
    assert_eq!(cache.get("key").as_deref(), Some(&b"new"[..]));
    small().destroy(place.path()).unwrap();
    drop(cache);
    assert_eq!(place.names(), [""; 0]);
}

fn copy_of(original: &Path, after_crash: AfterCrash) -> (PathBuf, Cache) {
    let cache = small().after_crash(after_crash).create(original).unwrap();
    fill(&cache);
    let id = cache.stats().file_id;
    drop(cache);
    let copy = original.with_file_name("copy");
    fs::copy(original, &copy).unwrap();
    let cache = Options::new().open(&copy).unwrap();
    assert_ne!(cache.stats().file_id, id, "a copy has an id of its own");
    (copy, cache)
}

#[test]
fn a_copy_is_a_cache_of_its_own_and_empty() {
    let place = Place::new();
    let (path, copy) = copy_of(&place.path(), AfterCrash::Discard);
    assert_eq!((filled(&copy), copy.keys().count()), (0, 0));
    copy.set("key", "of the copy").unwrap();
    let original = Options::new().open(place.path()).unwrap();
    assert_eq!((filled(&original), original.contains("key")), (20, false));
    assert_ne!(names_in(&locks_root(&path)), names_in(&locks_root(&place.path())), "and locks of its own");
    assert_sound(&copy);
    assert_sound(&original);
}

#[test]
fn a_copy_of_a_cache_that_survives_crashes_holds_its_values() {
    let place = Place::new();
    let (_, copy) = copy_of(&place.path(), AfterCrash::Verify);
    assert_eq!(filled(&copy), 20);
    fill(&copy);
    assert_eq!(filled(&copy), 20);
    assert_sound(&copy);
    assert_eq!(copy.stats().counters.dropped, 0);
}

/// Another boot of the host than the one that this process runs in.
const OTHER_BOOT: [u64; 2] = [0x0b00, 0x7];

/// A filled cache that another boot left behind, prepared by `last` before the host went down.
fn after_restart(after_crash: AfterCrash, last: impl FnOnce(&Cache)) -> (Place, Cache) {
    let place = Place::new();
    let cache = small().after_crash(after_crash).create(place.path()).unwrap();
    fill(&cache);
    last(&cache);
    drop(cache);
    let again = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    (place, again)
}

#[test]
fn after_a_restart_of_the_host_the_cache_is_empty() {
    let (_place, cache) = after_restart(AfterCrash::Discard, |_| ());
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.verify_me));
    assert_eq!(cache.keys().count(), 0, "no key that no read would find");
    assert_eq!(cache.stats().items, 0);
    assert_eq!(filled(&cache), 0);
    fill(&cache);
    assert_eq!((filled(&cache), cache.keys().count(), cache.stats().items), (20, 20, 20));
    assert_sound(&cache);
}

#[test]
fn after_a_restart_and_a_clear_the_cache_works_and_is_empty() {
    for after_crash in [AfterCrash::Discard, AfterCrash::Verify] {
        let (place, cache) = after_restart(after_crash, |_| ());
        cache.clear().unwrap();
        assert_eq!((filled(&cache), cache.keys().count()), (0, 0), "{after_crash:?}");
        fill(&cache);
        assert_eq!(filled(&cache), 20);
        drop(cache);
        assert_eq!(filled(&Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap()), 20);
    }
}

#[test]
fn after_a_flush_everything_is_there() {
    for after_crash in [AfterCrash::Discard, AfterCrash::Verify] {
        let (_place, cache) = after_restart(after_crash, |cache| assert!(cache.flush().unwrap()));
        assert_eq!((filled(&cache), cache.keys().count(), cache.stats().items), (20, 20, 20), "{after_crash:?}");
        assert!(cache.stripe_stats().iter().all(|stripe| !stripe.verify_me));
        assert_sound(&cache);
    }
}

#[test]
fn a_flush_survives_more_than_one_restart_and_reads_in_between() {
    let (place, cache) = after_restart(AfterCrash::Discard, |cache| assert!(cache.flush().unwrap()));
    assert_eq!(filled(&cache), 20);
    drop(cache);
    assert_eq!(filled(&Options::new().boot_id([9, 9]).open(place.path()).unwrap()), 20);
}

#[test]
fn a_write_after_a_flush_makes_it_void() {
    type Write = fn(&Cache);
    let writes: [(&str, Write); 7] = [
        ("set", |cache| cache.set(0u32.to_le_bytes(), "0").unwrap()),
        ("add", |cache| assert!(cache.add("more", "0", &SetOptions::new()).unwrap())),
        ("incr", |cache| assert_eq!(cache.incr(0u32.to_le_bytes(), 0).unwrap(), Some(0))),
        ("touch", |cache| assert!(cache.touch(0u32.to_le_bytes(), kennel::Expiry::Never).unwrap())),
        ("delete", |cache| assert!(cache.delete(0u32.to_le_bytes()).unwrap())),
        ("delete_multi", |cache| assert!(cache.delete_multi(&[0u32.to_le_bytes()]).remove(0).unwrap())),
        ("clear", |cache| cache.clear().unwrap()),
    ];
    for (what, write) in writes {
        let (_place, cache) = after_restart(AfterCrash::Discard, |cache| {
            assert!(cache.flush().unwrap());
            write(cache);
        });
        assert_eq!(filled(&cache), 0, "{what}");
    }
}

#[test]
fn a_second_flush_makes_a_durable_point_of_what_was_written_after_the_first() {
    let (_place, cache) = after_restart(AfterCrash::Discard, |cache| {
        assert!(cache.flush().unwrap());
        cache.set("more", "of it").unwrap();
        assert!(cache.flush().unwrap());
    });
    assert_eq!((filled(&cache), cache.get("more").as_deref()), (20, Some(&b"of it"[..])));
}

#[test]
fn a_cache_that_survives_crashes_holds_its_values_after_a_restart() {
    let (_place, cache) = after_restart(AfterCrash::Verify, |_| ());
    assert!(cache.stripe_stats().iter().all(|stripe| stripe.verify_me));
    assert_eq!((filled(&cache), cache.keys().count()), (20, 20));
    // The first write to each stripe builds its index anew.
    cache.set("more", "of it").unwrap();
    assert_eq!((filled(&cache), cache.get("more").as_deref()), (20, Some(&b"of it"[..])));
    assert_sound(&cache);
    assert!(cache.stripe_stats().iter().all(|stripe| !stripe.verify_me));
    assert_eq!((filled(&cache), cache.stats().items, cache.stats().counters.dropped), (20, 21, 0));
}

#[test]
fn a_damaged_value_is_not_returned_after_a_restart_and_is_dropped_by_the_rebuild() {
    let place = Place::new();
    let cache = small().after_crash(AfterCrash::Verify).create(place.path()).unwrap();
    fill(&cache);
    drop(cache);
    let mut raw = Raw::load(&place.path());
    let found = raw.find(&3u32.to_le_bytes());
    raw.change(found.record_at + 40, |word| word ^ 1);
    raw.save();
    let cache = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    assert_eq!((filled(&cache), cache.get(3u32.to_le_bytes())), (19, None));
    assert_sound(&cache);
    assert_eq!((filled(&cache), cache.stats().counters.dropped), (19, 1));
}

#[test]
fn a_file_with_a_living_member_is_used_as_it_is_whatever_its_boot_id() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    let contained = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    assert_eq!((filled(&contained), filled(&cache)), (20, 20));
    contained.set("key", "value").unwrap();
    assert!(cache.contains("key"));
}

#[test]
fn a_read_only_handle_of_a_file_of_another_boot_always_misses_unless_it_verifies() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    drop(cache);
    let reader = Options::new().boot_id(OTHER_BOOT).open_read_only(place.path()).unwrap();
    let careful = Options::new().boot_id(OTHER_BOOT).verify_reads(true).open_read_only(place.path()).unwrap();
    assert_eq!((filled(&reader), reader.keys().count()), (0, 0));
    assert_eq!(filled(&careful), 20);
    // It looks again at each read: once a writer of that boot has opened the file, it is as good as any.
    let writer = Options::new().boot_id(OTHER_BOOT).open(place.path()).unwrap();
    fill(&writer);
    assert_eq!(filled(&reader), 20);
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
    // A sparse copy: each page of records or buckets that somebody wrote to would show as a block.
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
        let seats = half(header::SEATS) * 1280 + half(header::REGIONS) * 256;
        4096 + seats + half(header::STRIPES) * stripe_len
    };
    fs::write(&sparse, &raw_head[..end_of_heads]).unwrap();
    let len = fs::metadata(place.path()).unwrap().len();
    fs::OpenOptions::new().write(true).open(&sparse).unwrap().set_len(len).unwrap();
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    let before = blocks(&sparse);
    assert!(before < 4 << 20 && len > 256 << 20, "{before} of {len}");
    let cache = Options::new().open(&sparse).unwrap();
    assert!(cache.get("absent").is_none());
    assert_eq!(cache.stats().items, 0);
    let after = blocks(&sparse);
    assert!(after <= before + (64 << 10), "{before} bytes were allocated, now {after}");
}

/// A hit and a miss, beyond the first read of a member.
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
        assert!(stores.get() > 0, "nobody watched");
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
fn of_many_who_create_at_once_one_does() {
    for round in 0..30 {
        let place = Place::new();
        let (path, together) = (&place.path(), Barrier::new(6));
        let made: Vec<_> = thread::scope(|scope| {
            let create = || {
                together.wait();
                small().create(path)
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for error in made.iter().filter_map(|made| made.as_ref().err()) {
            assert!(matches!(error, Error::Exists(_)), "round {round}: {error}");
        }
        let winners: Vec<_> = made.iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        fill(winners[0]);
        assert_eq!(filled(&small().open(path).unwrap()), 20, "round {round}");
        assert_eq!(
            place.lock_directories(),
            [winners[0].stats().file_id],
            "round {round}: what the others made is gone"
        );
        assert_eq!(place.names(), ["cache", "cache.locks"]);
    }
}

#[test]
fn all_who_open_or_create_at_once_get_one_file() {
    for round in 0..30 {
        let place = Place::new();
        let (path, together) = (&place.path(), Barrier::new(4));
        let opened: Vec<Cache> = thread::scope(|scope| {
            let open = || {
                together.wait();
                small().open_or_create(path).unwrap_or_else(|error| panic!("round {round}: {error}"))
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        fill(&opened[0]);
        for cache in &opened {
            assert_eq!((cache.stats().file_id, filled(cache)), (opened[0].stats().file_id, 20), "round {round}");
        }
        assert_eq!(opened[0].stats().members, 4);
    }
}

#[test]
fn create_and_destroy_in_turns_by_many_leave_nothing_behind() {
    let place = Place::new();
    let path = place.path();
    thread::scope(|scope| {
        for n in 0..3u32 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..40 {
                    match small().open_or_create(path) {
                        // Somebody else may destroy it at any time: writes may fail, values may be gone.
                        Ok(cache) => drop((cache.set(n.to_le_bytes(), "value"), cache.get(n.to_le_bytes()))),
                        Err(error) => panic!("open or create: {error}"),
                    }
                    match small().destroy(path) {
                        Ok(()) | Err(Error::NotFound(_)) => {}
                        Err(error) => panic!("destroy: {error}"),
                    }
                }
            });
        }
    });
    // Whoever comes last tidies up what was in use when others left.
    drop(small().open_or_create(&path).unwrap());
    small().destroy(&path).unwrap();
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn stats_tell_what_the_file_is_and_what_happened() {
    let place = Place::new();
    let options = Options::new().capacity(1 << 20).mean_item(100).stripes(4).lock_regions(2).seats(7);
    let cache = options.create(place.path()).unwrap();
    let s = cache.stats();
    assert_eq!((s.path, s.format), (common::real(&place.path()), 2));
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
    // What others counted stays when they leave.
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
