//! A changed root without `/proc`: functions that need it work without it, or say so.
#![cfg(target_os = "linux")]

mod common;

use common::children::{self, arg, say};
use common::{fill, filled, small};
use kennel::{Cache, LockStrategy, OnMismatch, Result};
use std::path::Path;

#[test]
fn child() {
    children::serve(|task, args| match task {
        "changed root" => changed_root(args[0], args[1]),
        _ => panic!("no task {task}"),
    });
}

fn told(opened: Result<Cache>) -> String {
    opened.map_or_else(|error| format!("{error:?}: {error}"), |cache| format!("opened with {}", filled(&cache)))
}

/// Does a task in a root without `/proc`.
fn changed_root(root: &str, task: &str) {
    if let Err(error) = std::os::unix::fs::chroot(root) {
        return say(format!("skipped: only root can change the root: {error}"));
    }
    std::env::set_current_dir("/").unwrap();
    match task {
        "all calls" => {
            for locks in [
                LockStrategy::File,
                LockStrategy::Lease,
                LockStrategy::RwFile,
                LockStrategy::Process,
                LockStrategy::None,
            ] {
                let options = small().locks(locks.clone());
                fill(&options.create("/made").unwrap());
                let larger = options.clone().capacity(128 << 10).on_mismatch(OnMismatch::Recreate);
                let recreated = larger.open("/made").unwrap();
                assert_eq!(filled(&recreated), 0, "{locks}");
                fill(&recreated);
                drop(recreated);
                small().destroy("/made").unwrap();
            }
            say("done");
        }
        "use" => {
            say(told(small().open_or_create("/cache")));
            say(told(small().open_read_only("/cache")));
        }
        "fill" => fill(&small().open_or_create("/cache").unwrap()),
        "empty" => say(told(small().on_mismatch(OnMismatch::Recreate).open("/cache"))),
        _ => panic!("no task {task}"),
    }
}

/// The lines of a process whose root is the place.
fn in_changed_root(place: &Path, task: &str) -> Option<Vec<String>> {
    let mut process = children::start("changed root", &[arg(place), task]);
    let told = process.hear_all();
    if told.iter().any(|line| line.starts_with("skipped")) {
        println!("{}", told[0]);
        return None;
    }
    process.finish();
    Some(told)
}

fn in_memory() -> Option<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").ok()
}

/// A directory of a file system that outlives a restart.
fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn without_proc_files_are_made_replaced_and_destroyed() {
    for place in in_memory().into_iter().chain([on_disk()]) {
        let Some(told) = in_changed_root(place.path(), "all calls") else { return };
        let names = common::names_in(place.path());
        assert!(told == ["done"] && names == [""; 0], "{place:?}: {told:?}, {names:?}");
    }
}

#[test]
fn a_file_in_memory_keeps_its_items_although_the_boot_cannot_be_told() {
    let Some(place) = in_memory() else { return println!("skipped: no /dev/shm") };
    let path = place.path().join("cache");
    for from_inside in [true, false] {
        if from_inside {
            if in_changed_root(place.path(), "fill").is_none() {
                return;
            }
        } else {
            fill(&small().create(&path).unwrap());
        }
        assert_eq!(in_changed_root(place.path(), "use").unwrap(), ["opened with 20"; 2]);
        assert_eq!(filled(&small().open_read_only(&path).unwrap()), 20);
        assert_eq!(filled(&small().open(&path).unwrap()), 20);
        small().destroy(&path).unwrap();
    }
}

#[test]
fn a_file_on_a_disk_is_not_emptied_only_because_the_boot_cannot_be_told() {
    let place = on_disk();
    let path = place.path().join("cache");
    let cache = small().create(&path).unwrap();
    fill(&cache);
    // While a member lives, there was no restart.
    let Some(told) = in_changed_root(place.path(), "use") else { return };
    assert_eq!(told[0], "opened with 20");
    drop(cache);
    for told in in_changed_root(place.path(), "use").unwrap() {
        let is_told = told.contains("cannot tell whether the host was restarted") && told.contains("mount /proc");
        assert!(told.starts_with("Io {") && is_told, "{told}");
    }
    let cache = small().open(&path).unwrap();
    assert_eq!(filled(&cache), 20, "nothing was lost");
    // Flushed contents survive a restart.
    assert!(cache.flush().unwrap());
    drop(cache);
    assert_eq!(in_changed_root(place.path(), "use").unwrap()[0], "opened with 20");
    fill(&small().open(&path).unwrap());
    assert_eq!(in_changed_root(place.path(), "empty").unwrap(), ["opened with 0"]);
}
