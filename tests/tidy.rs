//! Files that Kennel removes beside a cache file: all that it created and nobody uses, and nothing else.

mod common;

use common::children::{self, arg, say, wait_for_word};
use common::raw::header;
use common::{Place, fill, filled, locks_root, names_in, small};
use kennel::{LockStrategy, OnMismatch, Options};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const SHARED: [LockStrategy; 3] = [LockStrategy::File, LockStrategy::Lease, LockStrategy::RwFile];
/// The form of a file id.
const ID: &str = "0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210";

#[test]
fn child() {
    children::serve(|task, args| match task {
        "hold" => {
            let _cache = Options::new().open(args[0]).unwrap();
            say("open");
            wait_for_word();
        }
        _ => panic!("no task {task}"),
    });
}

/// The contents of a directory, with those of its files and the targets of links.
fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in names_in(directory) {
        let path = directory.join(name);
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let content = if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if kind.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        found.push((path.clone(), content));
        if kind.is_dir() {
            found.extend(tree(&path));
        }
    }
    found
}

/// Makes a directory with files of these names in it.
fn make_directory(path: &Path, files: &[&str]) {
    fs::create_dir_all(path).unwrap();
    files.iter().for_each(|name| fs::write(path.join(name), "content").unwrap());
}

/// Creates, opens, replaces and destroys a cache in all ways.
fn use_cache(path: &Path, locks: &LockStrategy, trust: bool) {
    let options = small().locks(locks.clone()).trust(trust);
    let cache = options.create(path).unwrap();
    fill(&cache);
    drop(cache);
    let other = options.clone().capacity(128 << 10).on_mismatch(OnMismatch::Recreate).open(path).unwrap();
    // Under this strategy a file can have only one handle, which prevents others from destroying it.
    let other = (locks.name() != "process").then_some(other);
    options.destroy(path).unwrap();
    drop(other);
    drop(options.open_or_create(path).unwrap());
    options.destroy(path).unwrap();
}

#[test]
fn nothing_is_removed_that_kennel_did_not_make() {
    for locks in SHARED.into_iter().chain([LockStrategy::Process, LockStrategy::None]) {
        for trust in [false, true] {
            let place = Place::new();
            let (root, elsewhere) = (locks_root(&place.path()), place.dir().join("elsewhere"));
            make_directory(&elsewhere, &["0000.lock", "000000.lease", "thesis"]);
            make_directory(&root.join("my-thesis"), &["f"]);
            // The directory's name has the right form, but not all files in it are Kennel's.
            make_directory(&root.join(ID), &["0000.lock", "000000.lease", "thesis"]);
            make_directory(&root.join(ID.to_uppercase()), &["0000.lock"]);
            make_directory(&root.join(&ID[1..]), &["0000.lock"]);
            fs::write(root.join(OTHER_ID), "a file").unwrap();
            let locks_elsewhere = place.dir().join("locks elsewhere");
            make_directory(&locks_elsewhere, &["0000.lock", "000000.lease"]);
            #[cfg(unix)]
            plant_links(&root, &elsewhere, &locks_elsewhere);
            let before = tree(place.dir());
            use_cache(&place.path(), &locks, trust);
            assert_eq!(tree(place.dir()), before, "{locks}, trust: {trust}");
        }
    }
}

/// Links to other directories and to files in them, with the names of lock files.
#[cfg(unix)]
fn plant_links(root: &Path, elsewhere: &Path, locks_elsewhere: &Path) {
    use std::os::unix::fs::symlink;
    let id = |n: u32| format!("{n:032x}");
    symlink(elsewhere, root.join("x")).unwrap();
    symlink(locks_elsewhere, root.join("x y")).unwrap();
    symlink(locks_elsewhere, root.join(id(1))).unwrap();
    for (n, name) in [(2, "0000.lock"), (3, "000000.lease"), (4, "new")] {
        fs::create_dir(root.join(id(n))).unwrap();
        symlink(locks_elsewhere.join("0000.lock"), root.join(id(n)).join(name)).unwrap();
    }
    // A second name of a file that lies elsewhere.
    fs::create_dir(root.join(id(5))).unwrap();
    fs::hard_link(elsewhere.join("thesis"), root.join(id(5)).join("0000.lock")).unwrap();
    fs::create_dir_all(root.join(id(6)).join("0000.lock")).unwrap();
}

/// Creates the file, whose creator removes what others left. If other tests start processes, a later creator may have to.
fn create_and_tidy(place: &Place, options: &Options) {
    let create = || drop(options.create(place.path()).unwrap());
    create();
    if place.is_disturbed() {
        place.is_tidy(|| {
            small().destroy(place.path()).unwrap();
            create();
        });
    }
    assert_eq!(place.lock_directories().len(), 1);
}

#[test]
fn what_others_left_unused_is_removed() {
    for locks in SHARED {
        let place = Place::new();
        let root = locks_root(&place.path());
        make_directory(&root.join(ID), &["0000.lock", "0001.lock", "of my own.lock", "000000.lease", "1000000.lease"]);
        make_directory(&root.join(OTHER_ID), &["new", "replaced"]);
        create_and_tidy(&place, &small().locks(locks));
        small().destroy(place.path()).unwrap();
        assert_eq!(place.left(), [""; 0]);
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_the_lock_directories_leads_nowhere() {
    use std::os::unix::fs::symlink;
    for trust in [false, true] {
        let place = Place::new();
        let elsewhere = place.dir().join("elsewhere");
        make_directory(&elsewhere.join(ID), &["0000.lock", "000000.lease"]);
        symlink(&elsewhere, locks_root(&place.path())).unwrap();
        let before = tree(place.dir());
        for locks in SHARED {
            let error = small().locks(locks).trust(trust).create(place.path()).unwrap_err();
            assert!(error.to_string().contains("expected a directory, found a symbolic link"), "{error}");
        }
        assert_eq!(tree(place.dir()), before);
        // A strategy without a lock directory creates none, and touches none.
        let process = small().locks(LockStrategy::Process).trust(trust);
        drop(process.create(place.path()).unwrap());
        process.destroy(place.path()).unwrap();
        assert_eq!(tree(place.dir()), before);
    }
}

#[cfg(unix)]
#[test]
fn locks_behind_a_link_are_lost() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    let id = cache.stats().file_id;
    drop(cache);
    let (root, moved) = (locks_root(&place.path()), place.dir().join("moved"));
    for (path, name) in [(root.clone(), "cache.locks"), (root.join(&id), &id)] {
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        let error = small().open(place.path()).unwrap_err();
        assert!(matches!(&error, kennel::Error::LocksLost { .. }), "{error}");
        let said = format!("{name}: expected a directory, found a symbolic link");
        assert!(error.to_string().contains(&said), "{error}");
        fs::remove_file(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
    }
    drop(small().open(place.path()).unwrap());
}

#[cfg(unix)]
#[test]
fn what_another_user_made_is_removed_only_where_others_are_trusted() {
    use std::os::unix::fs::chown;
    for (trust, is_kept) in [(false, true), (true, false)] {
        let place = Place::new();
        let root = locks_root(&place.path());
        make_directory(&root.join(ID), &["0000.lock"]);
        make_directory(&root.join(OTHER_ID), &["0000.lock"]);
        let (directory, file) = (root.join(ID), root.join(OTHER_ID).join("0000.lock"));
        if let Err(error) = chown(&directory, Some(12_345), None).and_then(|()| chown(&file, Some(12_345), None)) {
            return println!("skipped: only root can give files away: {error}");
        }
        use_cache(&place.path(), &LockStrategy::File, trust);
        assert_eq!((directory.exists(), file.exists()), (is_kept, is_kept), "trust: {trust}");
    }
}

#[test]
fn a_destroyed_file_takes_its_locks_with_its_last_handle() {
    for locks in SHARED {
        for in_other_process in [false, true] {
            let place = Place::new();
            let handles =
                [small().locks(locks.clone()).create(place.path()).unwrap(), small().open(place.path()).unwrap()];
            let reader = small().open_read_only(place.path()).unwrap();
            let mut other = in_other_process.then(|| children::start("hold", &[arg(&place.path())]));
            other.iter_mut().for_each(|other| other.expect("open"));
            small().destroy(place.path()).unwrap();
            assert_eq!(place.names(), ["cache.locks"], "{locks}: they are in use");
            drop(handles);
            if let Some(other) = other {
                assert_eq!(place.names(), ["cache.locks"], "{locks}: they are in use elsewhere");
                other.finish();
            }
            drop(reader);
            assert_eq!(place.left(), [""; 0], "{locks}, in another process: {in_other_process}");
        }
    }
}

#[test]
fn what_a_killed_member_of_a_destroyed_file_leaves_goes_with_the_next_creator() {
    let place = Place::new();
    drop(small().create(place.path()).unwrap());
    let mut member = children::start("hold", &[arg(&place.path())]);
    member.expect("open");
    small().destroy(place.path()).unwrap();
    member.kill();
    create_and_tidy(&place, &small());
    small().destroy(place.path()).unwrap();
    assert_eq!(place.left(), [""; 0]);
}

/// A file of another version, a damaged one, or one that could not be read for a moment.
#[test]
fn a_file_whose_header_cannot_be_read_keeps_its_locks() {
    for (at, byte) in [(0, b'k'), (header::FORMAT, 99), (header::CAPACITY, 1), (header::CHECK, 0x5a)] {
        let place = Place::new();
        let old = small().create(place.path()).unwrap();
        small().destroy(place.path()).unwrap();
        let new = small().create(place.path()).unwrap();
        fill(&new);
        let locks = locks_root(&place.path()).join(new.stats().file_id);
        drop(new);
        let mut bytes = fs::read(place.path()).unwrap();
        let good = std::mem::replace(&mut bytes[at], byte);
        fs::write(place.path(), &bytes).unwrap();
        // The last user of a replaced file removes its locks.
        drop(old);
        bytes[at] = good;
        fs::write(place.path(), &bytes).unwrap();
        assert!(locks.exists(), "byte {at}");
        assert_eq!(filled(&small().open(place.path()).unwrap()), 20);
    }
}

/// A new file replaces another one by way of its lock directory: it stays there if its creator was killed on the way.
#[test]
fn what_a_killed_recreator_leaves_goes_with_the_next_who_opens_the_file() {
    for locks in SHARED.into_iter().chain([LockStrategy::Process, LockStrategy::None]) {
        let place = Place::new();
        let options = small().locks(locks.clone());
        drop(options.create(place.path()).map(|cache| fill(&cache)));
        make_directory(&locks_root(&place.path()).join(ID), &["new", "0000.lock", "000000.lease"]);
        let mut file = File::options().write(true).open(place.path()).unwrap();
        file.seek(SeekFrom::Start(header::REPLACED as u64)).unwrap();
        file.write_all(&7u64.to_le_bytes()).unwrap();
        drop(file);
        let cache = options.open(place.path()).unwrap();
        assert_eq!(filled(&cache), 20, "{locks}: it was not replaced");
        assert!(!locks_root(&place.path()).join(ID).exists(), "{locks}");
    }
}

/// Makes the lock directories the only files to remove, whenever a creator is killed.
#[cfg(target_os = "linux")]
#[test]
fn a_file_is_made_and_replaced_under_no_other_name_beside_it() {
    use rustix::fs::inotify;
    let place = Place::new();
    let watcher = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watcher, place.dir(), inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO).unwrap();
    for locks in SHARED.into_iter().chain([LockStrategy::Process, LockStrategy::None]) {
        drop(small().locks(locks.clone()).create(place.path()).unwrap());
        let larger = small().locks(locks).capacity(128 << 10).on_mismatch(OnMismatch::Recreate);
        drop(larger.open(place.path()).unwrap());
        larger.destroy(place.path()).unwrap();
    }
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watcher, &mut buffer);
    let mut names = std::collections::BTreeSet::new();
    while let Ok(event) = events.next() {
        names.insert(event.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert!(names.iter().eq(["cache", "cache.locks"]), "{names:?}");
}
