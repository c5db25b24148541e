//! Descriptors that this library keeps open, and whether they still lead to the files that it opened.
//!
//! A program may close descriptors that it never opened: a daemon closes all that it inherited. Files of its own then
//! get the numbers. So each descriptor is listed here with the [identity](Identity) of its file. Before a descriptor is
//! used or closed, the kernel is asked which file it leads to now, and one of another file is left alone. A number that is
//! listed again was closed for whoever had it before. What cannot be told apart is a file of this library that the
//! program has opened itself, under the very number that was closed.
//!
//! The list also says which descriptors hold locks. A lock of `flock` kind belongs to the open file, which a forked child
//! inherits; so a child closes those, and closes them only: to unlock there would take the parent's lock away.
#![allow(unsafe_code, reason = "a child may have to replace the list; see `current`")]

use super::fork;
use crate::platform::{self, Descriptor, Examined, Identity};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A descriptor that this process has open.
struct Entry {
    /// No other entry ever has it.
    number: u64,
    descriptor: Descriptor,
    file: Identity,
    holds_locks: bool,
}

/// The descriptors of this process. Whoever opens or closes one holds the mutex around the list, and so does a fork: no
/// child is born with a descriptor that is not listed.
#[derive(Default)]
pub(super) struct List(Vec<Entry>);

type Shared = Mutex<List>;

static FIRST: Shared = Mutex::new(List(Vec::new()));
static CURRENT: AtomicPtr<Shared> = AtomicPtr::new((&raw const FIRST).cast_mut());

fn current() -> &'static Shared {
    // SAFETY: the pointer leads to `FIRST`, or to a list that `forget_inherited` leaked: both live as long as the program.
    unsafe { &*CURRENT.load(Ordering::Acquire) }
}

/// The list of this process, and no fork while it is held.
pub(super) fn list() -> MutexGuard<'static, List> {
    current().lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a child that was forked without the handlers: closes what holds locks. Where another thread of the parent was at
/// the list at that moment, the child begins with an empty one. What it inherited then stays open, and is never used.
pub(super) fn forget_inherited() {
    match current().try_lock() {
        Ok(mut list) => list.close_locks(),
        Err(TryLockError::Poisoned(list)) => list.into_inner().close_locks(),
        Err(TryLockError::WouldBlock) => CURRENT.store(Box::into_raw(Box::default()), Ordering::Release),
    }
}

impl List {
    fn add(&mut self, descriptor: Descriptor, file: Identity, holds_locks: bool) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        self.0.retain(|entry| entry.descriptor != descriptor);
        self.0.push(Entry { number, descriptor, file, holds_locks });
        number
    }

    /// Takes an entry out; `false`: its descriptor was closed, here or by the program.
    fn remove(&mut self, number: u64) -> bool {
        let place = self.0.iter().position(|entry| entry.number == number);
        place.map(|place| self.0.swap_remove(place)).is_some()
    }

    /// In a forked child: closes every descriptor that holds locks.
    pub(super) fn close_locks(&mut self) {
        self.0.retain(|entry| {
            if entry.holds_locks {
                platform::close_inherited(entry.descriptor, entry.file);
            }
            !entry.holds_locks
        });
    }
}

/// A file that this library keeps open, as long as nobody closes its descriptor.
#[derive(Debug)]
pub(crate) struct OwnFile {
    /// `Some` until it is dropped.
    file: Option<File>,
    identity: Identity,
    /// The number of its entry; `None` where the system has no descriptors.
    listed: Option<u64>,
    /// Whether it is unlocked before it is closed.
    unlocks: bool,
}

impl OwnFile {
    /// Keeps a file that holds no locks.
    pub(crate) fn keep(file: Examined) -> io::Result<Self> {
        Self::opened_by(|| Ok(file), false)
    }

    /// Opens a file while nobody forks.
    pub(super) fn opened_by(open: impl FnOnce() -> io::Result<Examined>, holds_locks: bool) -> io::Result<Self> {
        fork::settled();
        let mut list = list();
        let Examined { file, identity, .. } = open()?;
        let listed = platform::descriptor(&file).map(|descriptor| list.add(descriptor, identity, holds_locks));
        Ok(Self { file: Some(file), identity, listed, unlocks: holds_locks })
    }

    /// The file, whatever its descriptor leads to now.
    pub(super) fn unchecked(&self) -> &File {
        match &self.file {
            Some(file) => file,
            None => unreachable!("a file is open until it is dropped"),
        }
    }

    /// The file, if its descriptor still leads there.
    pub(crate) fn get(&self) -> Option<&File> {
        self.file.as_ref().filter(|file| is_of(file, self.identity))
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Closes it without unlocking it.
    pub(super) fn close_as_it_is(mut self) {
        self.unlocks = false;
    }
}

fn is_of(file: &File, identity: Identity) -> bool {
    platform::identity(file).is_ok_and(|found| found == identity)
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // A child that nobody told of its birth closes here what it must not unlock.
        fork::settled();
        let Some(file) = self.file.take() else { return };
        let mut list = list();
        let is_ours = self.listed.is_none_or(|number| list.remove(number) && is_of(&file, self.identity));
        if !is_ours {
            return platform::forget(file);
        }
        if self.unlocks {
            // A child that was forked while the list was not watched, or without the handlers, may have the open file, too.
            let _ = fs2::FileExt::unlock(&file);
        }
        // Closed while the list is held: a child born in between would keep it, and nobody would know.
        drop(file);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    fn open(path: &Path, holds_locks: bool) -> OwnFile {
        OwnFile::opened_by(|| Examined::of(File::open(path)?), holds_locks).unwrap()
    }

    /// Lets another file have the descriptor of a file, as if the program had closed it and opened that.
    fn replace(file: &OwnFile, by: &File) {
        // SAFETY: what closes a descriptor of somebody else is the subject of these tests.
        let number = unsafe { libc::dup2(by.as_raw_fd(), file.unchecked().as_raw_fd()) };
        assert_eq!(number, file.unchecked().as_raw_fd());
    }

    fn is_open(descriptor: i32) -> bool {
        // SAFETY: the call asks, and changes nothing.
        unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
    }

    #[test]
    fn a_descriptor_that_leads_to_another_file_is_neither_used_nor_closed() {
        let (one, other) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        for holds_locks in [true, false] {
            let file = open(one.path(), holds_locks);
            let descriptor = file.unchecked().as_raw_fd();
            assert!(file.get().is_some());
            replace(&file, other.as_file());
            assert!(file.get().is_none());
            drop(file);
            assert!(is_open(descriptor), "closed what was another file's");
            // SAFETY: nobody else has the descriptor, which `replace` made.
            unsafe { libc::close(descriptor) };
        }
    }

    #[test]
    fn a_descriptor_that_was_given_out_again_belongs_to_the_later_file() {
        let one = tempfile::NamedTempFile::new().unwrap();
        let before = open(one.path(), true);
        let descriptor = before.unchecked().as_raw_fd();
        // SAFETY: as in `replace`.
        unsafe { libc::close(descriptor) };
        let mut later = vec![open(one.path(), true)];
        // Other tests open files, too.
        while later.len() < 64 && later.iter().all(|file| file.unchecked().as_raw_fd() != descriptor) {
            later.push(open(one.path(), true));
        }
        drop(before);
        assert!(later.iter().all(|file| file.get().is_some()), "closed a descriptor of a later file");
    }
}
