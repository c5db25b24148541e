//! Cache files as files: creating, opening, replacing, destroying and linking them.

mod common;

use common::{Place, assert_sound, fill, filled, locks_root, must_end, names_in, small};
use kennel::{AfterCrash, Cache, Error, LockStrategy, OnMismatch, Options, SetOptions};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

fn other_size() -> Options {
    Options::new().capacity(128 << 10).stripes(2).seats(4)
}

/// The value of a key, once a read uses the new file; until then it may miss.
fn in_the_end(cache: &Cache, key: &'static str) -> Option<Vec<u8>> {
    let cache = cache.clone();
    must_end("the search for the new file", move || {
        while !cache.contains(key) {
            thread::sleep(Duration::from_millis(1));
        }
        cache.get(key)
    })
}

/// The content of a file, which must not change when the file is left alone.
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
    assert_eq!(place.left(), [""; 0]);
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
    assert_eq!(place.left(), [""; 0], "nothing is left");
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

/// The outcome for a file that differs from the options.
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
        Err(Error::Mismatch { option, .. }) => Outcome::Mismatch(option),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_file_that_differs_is_refused_used_or_replaced_as_asked() {
    let sizes: [(&'static str, Options); 7] = [
        ("capacity", Options::new().capacity(128 << 10)),
        ("mean_item", Options::new().mean_item(99)),
        ("stripes", Options::new().stripes(4).capacity(64 << 10)),
        ("lock_regions", Options::new().lock_regions(1)),
        ("seats", Options::new().seats(5)),
        ("namespaces", Options::new().namespaces(7)),
        ("claims", Options::new().claims(7)),
    ];
    let strategy = ("locks", Options::new().locks(LockStrategy::RwFile));
    for (option, asked) in sizes.into_iter().chain([strategy]) {
        for living in [false, true] {
            let expected = [
                (OnMismatch::Fail, Outcome::Mismatch(option)),
                (OnMismatch::UseExisting, Outcome::AsItIs),
                // A difference in sizes alone is no reason to evict living members.
                (OnMismatch::Recreate, if living && option != "locks" { Outcome::AsItIs } else { Outcome::Replaced }),
            ];
            for (mismatch, expected) in expected {
                let place = Place::new();
                let cache = small().create(place.path()).unwrap();
                let id = cache.stats().file_id;
                let _member = living.then_some(cache);
                let found = outcome(&asked.clone().on_mismatch(mismatch), &place.path(), &id);
                assert_eq!(found, expected, "{option}, {mismatch:?}, living members: {living}");
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
    // Options of a handle, and those for new files only, never differ from the file.
    let options = Options::new().verify_reads(true).mode(0o640).seed(77).after_crash(AfterCrash::Verify).prefault(true);
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
    // Without lock files, other processes cannot see its living members: such a file is replaced while they use it.
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
    // The old file was not marked: its handles go on with it, and harm nobody.
    assert_eq!(filled(&old), 20);
    old.set("key", "old").unwrap();
    assert_eq!(anew.get("key").as_deref(), Some(&b"new"[..]));
    drop(old);
    drop(anew);
    drop(small().open(place.path()).unwrap());
    small().destroy(place.path()).unwrap();
    assert_eq!(place.left(), [""; 0], "the locks of both are gone");
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
    // On the disk of the test: on Windows no relative path leads to another disk.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = place.path().join("ein schöner Zwinger 犬.cache");
    let cache = small().create(&path).unwrap();
    fill(&cache);
    assert_eq!(cache.path(), common::real(&path));
    assert_eq!(filled(&small().open(&path).unwrap()), 20);
    // Up to the root and down again: relative to the directory in which the test runs.
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
    small().destroy(place.dir().join("link")).unwrap();
    assert_eq!(names_in(&real), [""; 0]);
    // A link without a target is not a file, but its name is taken.
    assert!(matches!(small().open(place.dir().join("link")), Err(Error::BadFile { field: "file type", .. })));
    drop(small().create(place.dir().join("directory/cache")).unwrap());
    assert_eq!(names_in(&real), ["cache", "cache.locks"]);
}

#[cfg(unix)]
#[test]
fn a_file_has_the_mode_that_was_asked_for_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    const PATH: &str = "KENNEL_TEST_MODE_PATH";
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // A umask belongs to the whole process, so this test runs itself once more in another process.
    if let Some(path) = std::env::var_os(PATH) {
        let path = PathBuf::from(path);
        for (name, options) in [("open", small().mode(0o644)), ("private", small())] {
            let creator = options.create(path.join(name)).unwrap();
            fill(&creator);
            // The next member makes a lease, too, and was not given a mode.
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
        let ran = common::children::output(&mut shell).unwrap();
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
    // Nothing was lost, and everything still works.
    assert_eq!(filled(&cache), 20);
    cache.set("key", "value").unwrap();
    assert_eq!(small().open(place.path()).unwrap().get("key").as_deref(), Some(&b"value"[..]));
    drop(scanner);
    other.open(place.path()).unwrap().set("key", "new").unwrap();
    assert_eq!(cache.get("key").as_deref(), Some(&b"new"[..]));
    small().destroy(place.path()).unwrap();
    drop(cache);
    assert_eq!(place.left(), [""; 0]);
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
                        // Another process may destroy the file at any time: writes may fail, and values may be gone.
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
    // The last process removes files that were in use when others left.
    drop(small().open_or_create(&path).unwrap());
    small().destroy(&path).unwrap();
    assert_eq!(place.left(), [""; 0]);
}
