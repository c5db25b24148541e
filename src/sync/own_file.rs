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
}

impl OwnFile {
    /// Keeps a file that holds no locks.
    pub(crate) fn keep(file: Examined) -> io::Result<Self> {
        Self::opened_by(|| Ok(file), false)
    }

    /// Opens a file while no thread can fork.
    pub(super) fn opened_by(open: impl FnOnce() -> io::Result<Examined>, holds_locks: bool) -> io::Result<Self> {
        fork::settled();
        let mut list = descriptors::list();
        let Examined { file, identity, .. } = open()?;
        let listed = platform::descriptor(&file).map(|descriptor| list.add(descriptor, identity, holds_locks));
        Ok(Self { file: Some(file), identity, listed, unlocks: holds_locks })
    }

    /// The file, even if its descriptor leads to another one by now.
    pub(super) fn unchecked(&self) -> &File {
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

    /// Closes the file without unlocking it.
    pub(super) fn close_as_it_is(mut self) {
        self.unlocks = false;
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
        let is_ours = self.listed.is_none_or(|number| list.remove(number) && is_of(&file, self.identity));
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
