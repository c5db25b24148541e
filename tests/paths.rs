//! Obstacles at the path of a cache file or of one of its locks, and further answers of the system: each call ends with
//! an error that names the problem, and changes nothing.
#![cfg(unix)]

mod common;

use common::children::{self, arg, say};
use common::raw::header;
use common::{Place, fill, filled, must_end, names_in, small};
use kennel::{Cache, Error, LockStrategy, OnMismatch, Options, Result};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

#[test]
fn child() {
    children::serve(|task, args| match task {
        "few descriptors" => few_descriptors(args[0], args[1]),
        "follow" => follow_with_few_descriptors(args[0]),
        _ => panic!("no task {task}"),
    });
}

fn make_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

type Call = fn(&Options, &Path) -> Result<()>;

/// Every call that takes a path.
const CALLS: [(&str, Call); 5] = [
    ("open", |options, path| options.open(path).map(drop)),
    ("open_read_only", |options, path| options.open_read_only(path).map(drop)),
    ("create", |options, path| options.create(path).map(drop)),
    ("open_or_create", |options, path| options.open_or_create(path).map(drop)),
    ("destroy", |options, path| options.destroy(path)),
];

#[test]
fn what_is_no_regular_file_is_refused_at_once_and_left_alone() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 5] = [
        ("a named pipe", make_pipe),
        ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a symbolic link", |path| symlink("nowhere", path).unwrap()),
        ("a device", |path| symlink("/dev/null", path).unwrap()),
    ];
    for (found, plant) in plants {
        let place = Place::new();
        plant(&place.path());
        let before = fs::symlink_metadata(place.path()).unwrap();
        for (call, run) in CALLS {
            for on_mismatch in [OnMismatch::Fail, OnMismatch::UseExisting, OnMismatch::Recreate] {
                let (path, options) = (place.path(), small().on_mismatch(on_mismatch));
                let refused = must_end(&format!("{call} of {found}"), move || run(&options, &path)).unwrap_err();
                let said = refused.to_string();
                let is_told =
                    matches!(&refused, Error::BadFile { field: "file type", found: told, .. } if told == found);
                assert!(
                    is_told && said.contains("expected a regular file") && said.contains("left alone"),
                    "{call}: {said}"
                );
            }
        }
        let after = fs::symlink_metadata(place.path()).unwrap();
        assert_eq!(after.file_type(), before.file_type(), "{found}");
        assert_eq!(place.names(), ["cache"], "{found}");
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_lock_or_a_lease_that_is_no_regular_file_is_a_lost_one() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 3] = [
        ("a named pipe", make_pipe),
        // Even if it leads to the right file: tomorrow it may lead elsewhere.
        ("a symbolic link", |path| symlink(path.with_extension("kept"), path).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
    ];
    for (found, plant) in plants {
        for (name, locks) in [
            ("0000.lock", LockStrategy::File),
            ("0000.lock", LockStrategy::RwFile),
            ("000000.lease", LockStrategy::Lease),
        ] {
            let place = Place::new();
            let cache = small().lock_regions(1).locks(locks.clone()).create(place.path()).unwrap();
            fill(&cache);
            let path = common::locks_root(&place.path()).join(cache.stats().file_id).join(name);
            if name.ends_with(".lock") {
                drop(cache);
            }
            fs::rename(&path, path.with_extension("kept")).unwrap();
            plant(&path);
            let file = place.path();
            let error = must_end("an open with such a lock", move || {
                let cache = small().lock_regions(1).open(file)?;
                cache.set("key", "value")
            });
            let error = error.unwrap_err();
            assert!(matches!(error, Error::LocksLost { .. }), "{locks}, {found}: {error}");
            assert!(error.to_string().contains(found), "{locks}: {error}");
        }
    }
}

fn limit_descriptors() {
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

/// Uses up all descriptors of this process but a few.
fn take_descriptors(free: usize) -> Vec<File> {
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    taken.truncate(taken.len() - free);
    taken
}

/// Makes a call with few descriptors.
fn few_descriptors(call: &str, directory: &str) {
    let path = Path::new(directory).join("cache");
    limit_descriptors();
    let run = CALLS.iter().find(|(name, _)| *name == call).unwrap().1;
    for free in 0..12 {
        if call != "create" {
            fill(&small().open_or_create(&path).unwrap());
        }
        let taken = take_descriptors(free);
        let result = run(&small(), &path);
        drop(taken);
        say(format!("{free}: {}", result.map_or_else(|error| error.to_string(), |()| "done".into())));
        // Whatever the result was, nothing is broken.
        fill(&small().open_or_create(&path).unwrap());
        small().destroy(&path).unwrap();
    }
}

#[test]
fn with_few_descriptors_every_call_ends() {
    for (call, _) in CALLS {
        let place = Place::new();
        let mut process = children::start("few descriptors", &[call, arg(place.dir())]);
        let told = process.hear_all();
        process.finish();
        assert!(told.len() == 12 && told[0].contains("Too many open files"), "{call}: {told:#?}");
        assert!(told[11].ends_with("done"), "{call}: {told:#?}");
    }
}

/// Uses a handle whose file was replaced, with few descriptors left to follow the replacement.
fn follow_with_few_descriptors(path: &str) {
    limit_descriptors();
    for free in 0..12 {
        let cache = small().open_or_create(path).unwrap();
        fill(&cache);
        small().destroy(path).unwrap();
        drop(small().create(path).unwrap());
        let taken = take_descriptors(free);
        assert_eq!(filled(&cache), 0);
        let written = cache.set("key", "value").map_or_else(|error| error.to_string(), |()| "done".into());
        drop(taken);
        say(format!("{free}: {written}"));
        small().destroy(path).unwrap();
    }
}

#[test]
fn a_handle_that_has_no_descriptor_to_follow_with_misses_and_does_not_hang() {
    let place = Place::new();
    let mut process = children::start("follow", &[arg(&place.path())]);
    let told = process.hear_all();
    process.finish();
    assert!(told.len() == 12 && told[0].contains("Too many open files") && told[11].ends_with("done"), "{told:#?}");
}

/// Another file takes the place of the file of a read-only handle, which has seen the replacement mark before.
#[test]
fn a_reader_that_meets_the_mark_before_the_new_file_is_there_finds_that_in_the_end() {
    let place = Place::new();
    drop(small().create(place.path()).map(|cache| fill(&cache)));
    let reader = Options::new().open_read_only(place.path()).unwrap();
    let mark = |mark: u64| {
        let mut file = File::options().write(true).open(place.path()).unwrap();
        file.seek(SeekFrom::Start(header::REPLACED as u64)).unwrap();
        file.write_all(&mark.to_le_bytes()).unwrap();
    };
    mark(7);
    for _ in 0..5 {
        assert_eq!((filled(&reader), reader.stats().items), (20, 20), "the file has not been replaced yet");
    }
    let new = place.dir().join("new");
    let writer = small().create(&new).unwrap();
    writer.set("key", "new").unwrap();
    fs::rename(&new, place.path()).unwrap();
    let value = must_end("the search for the new file", move || {
        while !reader.contains("key") {
            assert_eq!(filled(&reader), 0, "the replaced items are gone");
        }
        reader.get("key")
    });
    assert_eq!(value.as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_refused_destroy_leaves_the_file_to_its_handles() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    let reader = Options::new().open_read_only(place.path()).unwrap();
    // A directory in which nobody can remove anything, not even root.
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(place.path()).unwrap());
    let frozen = std::process::Command::new("chattr").arg("+i").arg(place.dir()).status();
    if !frozen.is_ok_and(|status| status.success()) {
        return println!("skipped: an immutable directory needs rights, and a file system, that this test lacks");
    }
    let refused = small().destroy(place.path());
    std::process::Command::new("chattr").arg("-i").arg(place.dir()).status().unwrap();
    assert!(matches!(refused, Err(Error::Io { what: "remove", .. })), "{refused:?}");
    let mut mark = [1; 8];
    let file = File::open(place.path()).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut mark, header::REPLACED as u64).unwrap();
    assert_eq!(mark, [0; 8], "a mark that says nothing");
    assert_eq!((filled(&cache), filled(&reader)), (20, 20));
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(place.path()).unwrap()), inode);
    cache.set("key", "value").unwrap();
    assert_eq!(Cache::open(place.path()).unwrap().get("key").as_deref(), Some(&b"value"[..]));
    assert_eq!(names_in(place.dir()), ["cache", "cache.locks"]);
}
