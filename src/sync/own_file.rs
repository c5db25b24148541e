//! A file that this library keeps open and uses only while its descriptor still leads there: see [`descriptors`].

use super::{descriptors, fork};
use crate::platform::{self, Examined, Identity};
use std::fs::File;
use std::io;

/// A file that this library keeps open, unless the program closes its descriptor.
#[derive(Debug)]
pub(crate) struct OwnFile {
    /// `Some` until this is dropped.
    file: Option<File>,
    identity: Identity,
    /// The number of its entry in the list; `None` where the system has no descriptors.
    listed: Option<u64>,
    /// Whether to unlock the file before closing it.
    unlocks: bool,
    /// Whether the call that opened the file also closes it, without a wait in between. Then the system is not asked
    /// whether the descriptor still leads to the file.
    is_brief: bool,
}

impl OwnFile {
    /// Keeps a file that holds no locks.
    pub(crate) fn keep(file: Examined) -> io::Result<Self> {
        Self::opened_by(|| Ok(file), false)
    }

    /// Keeps a file that the caller is about to lock. Until the lock is [given back](Self::unlock_data), a forked child
    /// closes the descriptor.
    pub(crate) fn keep_to_lock(file: Examined) -> io::Result<Self> {
        Self::opened_by(|| Ok(file), true)
    }

    /// Opens a file while no thread can fork.
    pub(super) fn opened_by(open: impl FnOnce() -> io::Result<Examined>, holds_locks: bool) -> io::Result<Self> {
        fork::settled();
        let mut list = descriptors::list();
        let Examined { file, identity, .. } = open()?;
        let listed = platform::descriptor(&file).map(|descriptor| list.add(descriptor, identity, holds_locks));
        Ok(Self { file: Some(file), identity, listed, unlocks: holds_locks, is_brief: false })
    }

    /// The file, even if its descriptor leads to another one by now.
    pub(crate) fn unchecked(&self) -> &File {
        match &self.file {
            Some(file) => file,
            None => unreachable!("a file is open until it is dropped"),
        }
    }

    /// The file, if its descriptor still leads to it.
    pub(crate) fn get(&self) -> Option<&File> {
        self.file.as_ref().filter(|file| is_of(file, self.identity))
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Tries to take the lock of a data file that is [kept for that](Self::keep_to_lock).
    pub(crate) fn try_lock_data(&self) -> io::Result<bool> {
        was_locked(platform::try_lock_data(self.unchecked()))
    }

    /// Gives the lock of a data file back, and keeps the file: from now on, forked children inherit the descriptor.
    pub(crate) fn unlock_data(&mut self) {
        self.unlocks = false;
        let mut list = descriptors::list();
        // The list is held meanwhile, so no child that is forked through the handlers inherits the descriptor of a
        // locked file.
        if let Some(file) = self.get() {
            let _ = platform::unlock_data(file);
        }
        self.listed.inspect(|&number| list.holds_no_locks(number));
    }

    /// Closes the file without unlocking it, in the call that opened it.
    pub(super) fn close_as_it_is(mut self) {
        self.unlocks = false;
        self.is_brief = true;
    }
}

/// `Ok(false)` if the error says that another open file description holds the lock; other errors pass through.
pub(super) fn was_locked(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_of(file: &File, identity: Identity) -> bool {
    platform::identity(file).is_ok_and(|found| found == identity)
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // In a child whose fork ran no handlers this closes inherited descriptors, which the child must not unlock.
        fork::settled();
        let Some(file) = self.file.take() else { return };
        let mut list = descriptors::list();
        let leads_here = || self.is_brief || is_of(&file, self.identity);
        let is_ours = self.listed.is_none_or(|number| list.remove(number) && leads_here());
        if !is_ours {
            return platform::forget(file);
        }
        if self.unlocks {
            // A child forked while the list was not held, or without the handlers, may share the open file description.
            let _ = fs2::FileExt::unlock(&file);
        }
        // Close while the list is held, or a child forked before the close would keep an unlisted descriptor.
        drop(file);
    }
}

#[cfg(all(test, unix))]
#[allow(unsafe_code, reason = "the tests close descriptors that they do not own")]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    fn open(path: &Path, holds_locks: bool) -> OwnFile {
        OwnFile::opened_by(|| Examined::of(File::open(path)?), holds_locks).unwrap()
    }

    /// Makes the descriptor of `file` lead to `by`, as if the program had closed `file` and opened `by`.
    fn replace(file: &OwnFile, by: &File) {
        // SAFETY: these tests are about code that closes a descriptor which it does not own.
        let number = unsafe { libc::dup2(by.as_raw_fd(), file.unchecked().as_raw_fd()) };
        assert_eq!(number, file.unchecked().as_raw_fd());
    }

    fn is_open(descriptor: i32) -> bool {
        // SAFETY: the call only queries, and changes nothing.
        unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
    }

    /// What `finds` returns in a forked child that does nothing else.
    fn in_child(finds: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child makes only the call in `finds`, which takes no lock and allocates nothing, and ends.
        match unsafe { libc::fork() } {
            // SAFETY: as above.
            0 => unsafe { libc::_exit(finds().into()) },
            child => {
                let mut status = 0;
                // SAFETY: the call stores the status.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1
            }
        }
    }

    #[test]
    fn a_child_inherits_a_descriptor_that_was_locked_once_the_lock_is_given_back() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let mut file = OwnFile::keep_to_lock(Examined::of(File::open(&path).unwrap()).unwrap()).unwrap();
        let (other, descriptor) = (open(&path, true), file.unchecked().as_raw_fd());
        assert!(file.try_lock_data().unwrap() && !other.try_lock_data().unwrap());
        assert!(in_child(|| !is_open(descriptor)), "the child would keep the lock after its parent's death");
        file.unlock_data();
        assert!(other.try_lock_data().unwrap() && file.get().is_some());
        assert!(in_child(|| is_open(descriptor)));
        drop(file);
        assert!(!OwnFile::try_lock_data(&open(&path, true)).unwrap(), "the lock of the other one is still held");
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
            // SAFETY: nothing else owns the descriptor, which `replace` made.
            unsafe { libc::close(descriptor) };
        }
    }

    #[test]
    fn a_descriptor_that_was_given_out_again_belongs_to_the_later_file() {
        let one = tempfile::NamedTempFile::new().unwrap();
        let before = open(one.path(), true);
        let descriptor = before.unchecked().as_raw_fd();
        // SAFETY: closing a descriptor that `before` still owns is the subject of this test.
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
