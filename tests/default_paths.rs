//! The default paths of a cache: only those that this user can use.
#![cfg(unix)]

mod common;

use common::children::{self, say};
use common::{Place, locks_root};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

const SHM: &str = "/dev/shm";
/// A user who is not the one that runs the tests.
const STRANGER: u32 = 12_345;

#[test]
fn child() {
    children::serve(|_, _| {
        assert_eq!(kennel::default_paths().next(), Some(kennel::default_path()));
        kennel::default_paths().for_each(|path| say(path.display()));
    });
}

/// The default paths of a process with these directories.
fn all_default_paths(runtime: &Path, temporary: &Path, user: Option<u32>) -> Vec<PathBuf> {
    let mut command = children::command("paths", &[]);
    command.env("XDG_RUNTIME_DIR", runtime).env("TMPDIR", temporary);
    if let Some(user) = user {
        command.uid(user);
    }
    let mut process = children::start_command(command);
    let paths = process.hear_all().into_iter().map(PathBuf::from).collect();
    process.finish();
    paths
}

/// These paths without the one in `/dev/shm`, which depends on the machine.
fn default_paths(runtime: &Path, temporary: &Path, user: Option<u32>) -> Vec<PathBuf> {
    let mut paths = all_default_paths(runtime, temporary, user);
    paths.retain(|path| path.parent() != Some(SHM.as_ref()));
    paths
}

fn in_shared(directory: &Path) -> PathBuf {
    directory.join(format!("kennel-{}.cache", rustix::process::geteuid().as_raw()))
}

/// Two directories, not in `/dev/shm` itself.
fn directories() -> (Place, PathBuf, PathBuf) {
    let place = Place::new();
    let (runtime, temporary) = (place.dir().join("runtime"), place.dir().join("temporary"));
    fs::create_dir(&runtime).unwrap();
    fs::create_dir(&temporary).unwrap();
    (place, runtime, temporary)
}

#[test]
fn the_runtime_directory_is_the_first_and_the_temporary_one_the_last() {
    let (_place, runtime, temporary) = directories();
    assert_eq!(default_paths(&runtime, &temporary, None), [runtime.join("kennel.cache"), in_shared(&temporary)]);
    // Paths that are not absolute, or not a directory, are ignored.
    let file = runtime.join("file");
    fs::write(&file, "").unwrap();
    for unusable in [Path::new(""), Path::new("."), &file, &runtime.join("missing")] {
        assert_eq!(default_paths(unusable, &temporary, None), [in_shared(&temporary)], "{unusable:?}");
    }
    let twice = all_default_paths(Path::new(""), Path::new(SHM), None);
    assert_eq!(twice, [in_shared(Path::new(SHM))], "each path once");
}

#[test]
fn a_runtime_directory_of_another_user_is_left_out() {
    let (_place, runtime, temporary) = directories();
    if let Err(error) = chown(&runtime, Some(STRANGER), None) {
        return println!("skipped: only root can give a directory away: {error}");
    }
    assert_eq!(default_paths(&runtime, &temporary, None), [in_shared(&temporary)]);
}

#[test]
fn a_directory_in_which_nothing_can_be_created_is_left_out() {
    let (place, runtime, temporary) = directories();
    // Permissions do not bind root, but root can become another user.
    let user = rustix::process::geteuid().is_root().then_some(STRANGER);
    if user.is_some() {
        fs::set_permissions(place.dir(), Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&temporary, Permissions::from_mode(0o777)).unwrap();
        chown(&runtime, user, None).unwrap();
    }
    let name = format!("kennel-{}.cache", user.unwrap_or(rustix::process::geteuid().as_raw()));
    for (mode, is_usable) in [(0o700, true), (0o500, false), (0o600, false), (0o0, false)] {
        fs::set_permissions(&runtime, Permissions::from_mode(mode)).unwrap();
        let mut expected = vec![runtime.join("kennel.cache"), temporary.join(&name)];
        expected.drain(..usize::from(!is_usable));
        assert_eq!(default_paths(&runtime, &temporary, user), expected, "mode {mode:o}");
    }
    fs::set_permissions(&runtime, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_name_that_another_user_has_taken_is_left_out() {
    let (_place, runtime, temporary) = directories();
    let path = runtime.join("kennel.cache");
    let locks = locks_root(&path);
    type Plant = fn(&Path);
    let plants: [(&Path, Plant); 4] = [
        (&path, |path| fs::write(path, "").unwrap()),
        (&path, |path| symlink("/nowhere", path).unwrap()),
        (&locks, |path| fs::create_dir(path).unwrap()),
        (&locks, |path| symlink("/", path).unwrap()),
    ];
    for (planted, plant) in plants {
        plant(planted);
        assert_eq!(default_paths(&runtime, &temporary, None).len(), 2, "what is our own is no plant");
        if let Err(error) = std::os::unix::fs::lchown(planted, Some(STRANGER), None) {
            return println!("skipped: only root can give a file away: {error}");
        }
        assert_eq!(default_paths(&runtime, &temporary, None), [in_shared(&temporary)], "{planted:?}");
        fs::remove_file(planted).or_else(|_| fs::remove_dir(planted)).unwrap();
    }
}

#[test]
fn where_no_place_can_be_used_the_last_one_is_named() {
    let (place, runtime, _) = directories();
    if !rustix::process::geteuid().is_root() || !Path::new(SHM).is_dir() {
        return println!("skipped: only root can leave something in the way of another user");
    }
    let name = format!("kennel-{STRANGER}.cache");
    let in_the_way = Path::new(SHM).join(&name);
    fs::write(&in_the_way, "").unwrap();
    let _in_the_way = tempfile::TempPath::try_from_path(in_the_way).unwrap();
    fs::set_permissions(place.dir(), Permissions::from_mode(0o711)).unwrap();
    let missing = runtime.join("missing");
    assert_eq!(all_default_paths(Path::new(""), &missing, Some(STRANGER)), [missing.join(name)]);
}
