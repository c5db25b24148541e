//! Limits of a process: no space, no right to write large files, no right to enter the lock directory; and the effect
//! of a power failure on a new file.
#![cfg(unix)]

mod common;

use common::children::{self, arg, say};
use common::{Place, fill, filled, locks_root, small};
use kennel::{Cache, Error, OnMismatch, Options, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;

/// A user who is not the one that runs the tests.
const STRANGER: u32 = 12_345;

#[test]
fn child() {
    children::serve(|task, args| match task {
        "small files" => small_files(args[0]),
        "open" => say(told(small().open(args[0]))),
        _ => panic!("no task {task}"),
    });
}

fn told(opened: Result<Cache>) -> String {
    opened.map_or_else(|error| format!("{error:?}: {error}"), |cache| format!("opened with {}", filled(&cache)))
}

#[cfg(target_os = "linux")]
#[test]
fn no_space_is_an_error_at_create_and_nothing_is_left_behind() {
    let place = Place::new();
    let Some(_mounted) = common::mounted::Mounted::in_memory("size=1m", place.dir().to_owned()) else { return };
    let error = Options::new().capacity(4 << 20).create(place.path()).unwrap_err();
    let Error::NoSpace { path, needed, .. } = &error else { panic!("{error}") };
    assert_eq!(*path, common::real(place.dir()).join("cache"));
    assert!((4 << 20..8 << 20).contains(needed));
    let said = format!(
        "no room for {needed} bytes at {}: free some, or choose a smaller capacity",
        common::real(place.dir()).join("cache").display()
    );
    // In `/dev/shm` the advice differs.
    let is_in_shm = place.dir().starts_with("/dev/shm");
    assert!(is_in_shm || error.to_string() == said, "{error}");
    assert_eq!(place.left(), [""; 0]);
    assert!(matches!(Options::new().capacity(4 << 20).open_or_create(place.path()), Err(Error::NoSpace { .. })));
    // Space is reserved at creation: filling the cache later cannot meet a full disk.
    let cache = small().create(place.path()).unwrap();
    let _ = fs::write(place.dir().join("filler"), vec![1; 2 << 20]);
    (0..2000u32).for_each(|n| cache.set(n.to_le_bytes(), [7; 100]).unwrap());
    // A larger file cannot take its place, and leaves it alone.
    let recreate = Options::new().capacity(4 << 20).on_mismatch(OnMismatch::Recreate);
    let id = cache.stats().file_id;
    drop(cache);
    assert!(matches!(recreate.open(place.path()), Err(Error::NoSpace { .. })));
    assert_eq!(small().open(place.path()).unwrap().stats().file_id, id);
    fs::remove_file(place.dir().join("filler")).unwrap();
    small().destroy(place.path()).unwrap();
    assert_eq!(place.left(), [""; 0]);
}

/// Creates files that are larger than allowed.
fn small_files(path: &str) {
    let larger = Options::new().capacity(1 << 20);
    fill(&small().create(path).unwrap());
    let limit = rustix::process::Rlimit { current: Some(512 << 10), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    let new = format!("{path}.new");
    for refused in
        [larger.create(&new), larger.open_or_create(&new), larger.clone().on_mismatch(OnMismatch::Recreate).open(path)]
    {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }) && error.to_string().contains("`ulimit -f`"), "{error}");
    }
    assert_eq!(filled(&small().open(path).unwrap()), 20, "the file that it was to replace is there");
    drop(small().create(&new).unwrap());
    small().destroy(&new).unwrap();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_at_create() {
    let place = Place::new();
    // The default action of the signal would end the process.
    children::start("small files", &[arg(&place.path())]).finish();
    assert_eq!(place.names(), ["cache", "cache.locks"]);
}

/// A power failure can leave a file whose name reached the device before its content. It loses no data.
#[test]
fn a_file_of_zeros_is_destroyed_or_replaced_when_that_is_asked_for() {
    let place = Place::new();
    let said = format!(
        "{}: content: expected a header, found nothing but zeros; a power failure can leave a file like this, and nothing \
         is lost with it: destroy it, or let it be replaced (`OnMismatch::Recreate`)",
        common::real(place.dir()).join("cache").display()
    );
    // A file just as it is allocated, with holes only, and one that is written.
    for is_written in [false, true] {
        let zeros = || {
            let bytes = if is_written { vec![0; 3 << 20] } else { Vec::new() };
            fs::write(place.path(), bytes).unwrap();
            fs::OpenOptions::new().write(true).open(place.path()).unwrap().set_len(3 << 20).unwrap();
        };
        zeros();
        for options in [small(), small().on_mismatch(OnMismatch::UseExisting)] {
            let opened = [options.open(place.path()), options.open_or_create(place.path())];
            opened.into_iter().for_each(|opened| assert_eq!(opened.unwrap_err().to_string(), said));
            assert_eq!(options.open_read_only(place.path()).unwrap_err().to_string(), said);
        }
        assert!(fs::read(place.path()).unwrap() == vec![0; 3 << 20], "it was left alone");
        small().on_mismatch(OnMismatch::Recreate).open(place.path()).unwrap().set("key", "value").unwrap();
        assert_eq!(small().open(place.path()).unwrap().get("key").as_deref(), Some(&b"value"[..]));
        small().destroy(place.path()).unwrap();
        zeros();
        small().destroy(place.path()).unwrap();
        assert_eq!(place.left(), [""; 0]);
    }
}

/// After any power failure, a new file that has its name also has its header.
#[cfg(feature = "crash-points")]
#[test]
fn the_header_of_a_new_file_reaches_the_device_before_its_name_does() {
    use kennel::crash::{self, Event};
    let place = Place::new();
    for on_mismatch in [OnMismatch::Fail, OnMismatch::Recreate] {
        let synced = std::rc::Rc::new(std::cell::Cell::new(false));
        let (seen, path) = (synced.clone(), place.path());
        let length = move || fs::metadata(&path).ok().map(|meta| meta.len());
        let before = length();
        crash::watch(move |event| {
            if matches!(event, Event::Synced(0, len) if len >= 4096) && length() == before {
                seen.set(true);
            }
        });
        let capacity = if on_mismatch == OnMismatch::Fail { 64 << 10 } else { 1 << 20 };
        small().capacity(capacity).on_mismatch(on_mismatch).open_or_create(place.path()).unwrap();
        crash::unwatch();
        assert!(synced.get(), "{on_mismatch:?}");
    }
}

#[test]
fn a_lock_directory_that_cannot_be_entered_is_not_lost() {
    let place = Place::new();
    let cache = small().create(place.path()).unwrap();
    fill(&cache);
    let root = locks_root(&place.path());
    let directory = root.join(cache.stats().file_id);
    drop(cache);
    // Permissions do not bind root, but root can become another user.
    let user = rustix::process::geteuid().is_root().then_some(STRANGER);
    if user.is_some() {
        let lease = directory.join("000000.lease");
        for path in [&place.dir().to_owned(), &place.path(), &root, &directory, &lease] {
            chown(path, user, None).unwrap();
        }
    }
    let open = || {
        let mut command = children::command("open", &[arg(&place.path())]);
        if let Some(user) = user {
            command.uid(user);
        }
        let mut process = children::start_command(command);
        let told = process.hear().unwrap();
        process.finish();
        told
    };
    for path in [&root, &directory] {
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        let told = open();
        let said = format!("cannot enter the lock directory {}: Permission denied", common::real(path).display());
        assert!(told.starts_with("Io {") && told.contains(&said), "{told}");
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
    let lease = directory.join("000000.lease");
    fs::set_permissions(&lease, Permissions::from_mode(0o0)).unwrap();
    let told = open();
    assert!(told.starts_with("Io {") && told.contains("000000.lease: Permission denied"), "{told}");
    fs::set_permissions(&lease, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(open(), "opened with 20");
}
