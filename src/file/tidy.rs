//! Removing unused files beside a cache file: the lock directories of destroyed or replaced files, and the remains of
//! killed creators.
//!
//! Only files that Kennel made are opened and removed. They are recognized by their kind, their owner and the exact
//! form of their names: real directories and regular files of this user (of any user, where others are trusted), with
//! names that only Kennel gives. No symbolic link is followed. A directory that holds anything else stays, with all its
//! content.

use super::header::FileParams;
use super::place::{format_id, held_too_long, is_named, lock_directory, locks_root, open_data};
use super::settings::Settings;
use crate::error::{Error, Result};
use crate::platform::{self, Examined, Folder};
use crate::sync::lock_file::LockFile;
use crate::sync::locks::is_lock_name;
use crate::sync::member::is_lease_name;
use crate::sync::wait::{Attempts, wait_in_crowd};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of a new file in its lock directory, until it gets its final name.
pub(super) const NEW: &str = "new";
/// The name of a replaced file in the lock directory to which it is moved.
const REPLACED: &str = "replaced";

/// The lock of the directory that contains all lock directories of a path. A process that makes a lock directory holds
/// it shared, until the new directory has a lease; a process that tidies up holds it exclusively.
pub(crate) struct RootLock(#[expect(dead_code, reason = "held, never read")] LockFile);

/// How long a process that tidies up waits for processes that create files.
const TIDY_WAIT: Duration = Duration::from_secs(1);

impl RootLock {
    /// Creates the directory if needed, and keeps processes that tidy up out of it.
    pub(crate) fn shared(real: &Path, settings: &Settings) -> Result<Self> {
        let root = locks_root(real);
        let mut attempts = Attempts::within(settings.lock_wait);
        loop {
            // A process that tidies up may remove the directory between any two of these steps.
            let made = platform::make_private_dir(&root, settings.mode, settings.trust);
            let lock = match made.and_then(|()| Self::open(&root)) {
                Err(error) if platform::is_vanishing(&error) && attempts.again() => continue,
                other => other.map_err(Error::io("create the lock directory", &root))?,
            };
            let got = wait_in_crowd(settings.lock_wait, || lock.try_lock_shared());
            let is_locked = got.map_err(Error::io("lock the lock directory", &root))?.is_some();
            if is_locked && Self::is_of(&root, &lock).map_err(Error::io("examine the lock directory", &root))? {
                return Ok(Self(lock));
            }
            if !is_locked || !attempts.again() {
                return Err(held_too_long(real, settings));
            }
        }
    }

    /// Keeps creators out; `None` if one of them does not finish in time.
    fn exclusive(root: &Path) -> io::Result<Option<Self>> {
        let lock = Self::open(root)?;
        let got = wait_in_crowd(TIDY_WAIT, || lock.try_lock_exclusive())?;
        let is_locked = got.is_some() && Self::is_of(root, &lock)?;
        Ok(is_locked.then_some(Self(lock)))
    }

    fn open(root: &Path) -> io::Result<LockFile> {
        LockFile::opened_by(|| Examined::of(platform::open_root_lock(root)?))
    }

    /// Whether the locked directory is the one at the path.
    fn is_of(root: &Path, lock: &LockFile) -> io::Result<bool> {
        is_named(&platform::root_lock_path(root), lock.identity())
    }

    /// Removes the directory if nothing is left in it but this lock.
    fn remove_empty(self, root: &Path) {
        let path = platform::root_lock_path(root);
        if path == root {
            // This removes only an empty directory, and while it is locked: a creator then finds that it is gone.
            let _ = fs::remove_dir(root);
            return;
        }
        let Ok(mut entries) = fs::read_dir(root) else { return };
        if entries.all(|entry| entry.is_ok_and(|entry| entry.path() == path)) {
            // Remove the lock file while it is locked, too. If a creator makes a new lock file meanwhile, that file
            // keeps the directory from being removed.
            let _ = fs::remove_file(&path);
            drop(self);
            let _ = fs::remove_dir(root);
        }
    }
}

/// Frees the path of a cache file that other processes may have mapped; they go on using the file without a path. The
/// caller holds the opening lock. Returns the path to which the file was moved, if it was moved.
///
/// On systems that cannot remove a mapped file, the file is moved into a lock directory of its own, and removed with
/// that directory: when the last process that has it open closes it, or when a process tidies up later.
pub(crate) fn take_path(real: &Path, settings: &Settings) -> Result<Option<PathBuf>> {
    if platform::CAN_REPLACE_MAPPED {
        fs::remove_file(real).map_err(Error::io("remove", real))?;
        return Ok(None);
    }
    let _root_lock = RootLock::shared(real, settings)?;
    let directory = lock_directory(real, [settings.random()?, settings.random()?]);
    settings.make_lock_directory(&directory)?;
    let aside = directory.join(REPLACED);
    platform::move_aside(real, &aside).map_err(Error::io("move aside", real))?;
    Ok(Some(aside))
}

/// Removes unused files beside the cache file at a path, even if that file is gone.
///
/// On an error the files stay: they do no harm, and the next process that tidies up tries again.
pub(crate) fn tidy(real: &Path, trust: bool) {
    let _ = try_to_tidy(real, trust);
}

fn try_to_tidy(real: &Path, trust: bool) -> Result<()> {
    let root = locks_root(real);
    let failed = || Error::io("tidy up", &root);
    let folder = Folder::open(&root).map_err(failed())?;
    if !trust && !folder.is_ours().map_err(failed())? {
        return Ok(());
    }
    let Some(lock) = RootLock::exclusive(&root).map_err(failed())? else { return Ok(()) };
    let keep = id_of(real)?;
    for name in folder.names().map_err(failed())? {
        if is_id(&name) && keep.as_deref().is_none_or(|keep| name != keep) {
            // A directory that cannot be removed must not keep the others from being removed.
            let _ = remove_unused(&folder, &name, trust);
        }
    }
    lock.remove_empty(&root);
    Ok(())
}

/// The id of the cache file at a path; `None` if nothing lies there. Returns an error if the header cannot be read: the
/// locks of such a file must still exist when it can be read again.
fn id_of(real: &Path) -> Result<Option<String>> {
    let data = match open_data(real, false) {
        Err(Error::NotFound(_)) => return Ok(None),
        other => other?,
    };
    Ok(Some(format_id(FileParams::read_with_id(&data.file, real)?.1)))
}

/// Whether a name has the form of a file id.
fn is_id(name: &OsStr) -> bool {
    let digits = name.as_encoded_bytes();
    digits.len() == 32 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Removes a lock directory if no process uses it, which means that all its locks and leases can be taken.
fn remove_unused(root: &Folder, name: &OsStr, trust: bool) -> io::Result<()> {
    let folder = root.folder(name)?;
    if !trust && !folder.is_ours()? {
        return Ok(());
    }
    let names = folder.names()?;
    for name in &names {
        if !is_free(&folder, name, trust)? {
            return Ok(());
        }
    }
    names.iter().try_for_each(|name| folder.remove_file(name))?;
    // Windows does not remove an open directory.
    drop(folder);
    root.remove_folder(name)
}

/// Whether Kennel made this file of a lock directory, and no process uses it.
///
/// The lock is released immediately, since a process may have fewer descriptors than a cache has locks. No process
/// starts to use the file after that: new members join the current cache file.
fn is_free(folder: &Folder, name: &OsStr, trust: bool) -> io::Result<bool> {
    let text = name.to_str().unwrap_or_default();
    if text == NEW || text == REPLACED {
        // No creator is using the file, since the caller holds the root's lock.
        return folder.has_file(name);
    }
    if !is_lock_name(text) && !is_lease_name(text) {
        return Ok(false);
    }
    let lock = LockFile::opened_by(|| folder.file(name, trust))?;
    lock.try_lock_exclusive()
}

/// Tidies up when it is dropped, if `of` is set. It is the last field of the struct that has a file mapped, so the
/// mapping is gone before it is dropped.
#[derive(Default)]
pub(crate) struct TidyAtEnd {
    /// The path, and whether other users are trusted.
    pub of: Option<(PathBuf, bool)>,
}

impl Drop for TidyAtEnd {
    fn drop(&mut self) {
        if let Some((real, trust)) = &self.of {
            tidy(real, *trust);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_exact_form_of_those_that_are_made_here() {
        let id = format_id([0x0123_4567_89ab_cdef, 7]);
        assert!(is_id(OsStr::new(&id)));
        for other in
            ["", "my-thesis", &id[1..], &format!("{id}0"), &id.to_uppercase(), &id.replace('7', "g"), ".", ".."]
        {
            assert!(!is_id(OsStr::new(other)), "{other}");
        }
    }
    #[test]
    fn a_lease_is_named_by_its_seat() {
        assert!(["000000.lease", "123456.lease", "1048575.lease"].iter().all(|name| is_lease_name(name)));
        assert!(
            !["0.lease", ".lease", "00000a.lease", "000000.lease~", "000000"].iter().any(|name| is_lease_name(name))
        );
        assert!(is_lock_name("0000.lock") && is_lock_name("of my own.lock") && !is_lock_name(".lock"));
    }
}
