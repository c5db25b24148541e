//! What a forked child must not inherit.
//!
//! A lock of `flock` kind belongs to the open file, so a child that keeps the descriptor keeps its dead
//! parent's lock. Therefore every descriptor that can hold a lock is a [`LockFile`], listed here, and a
//! handler in the child closes all of them. It only closes: unlocking would take the parent's lock away.
//! After a fork [`generation`] differs, and whatever is tied to the process ([`PerProcess`]) is made anew at
//! its next use.
#![allow(unsafe_code, reason = "process-wide pointers; each use says why it may")]

use crate::platform::{self, Descriptor};
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A number that differs between a process and its forked children.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Descriptors that can hold a lock. Whoever opens or closes one holds the mutex, and so does a fork: no
/// child is born with a descriptor that is not listed.
static LISTED: Mutex<Vec<Descriptor>> = Mutex::new(Vec::new());

fn listed() -> MutexGuard<'static, Vec<Descriptor>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open file that holds locks; a forked child loses it.
///
/// A lock of `flock` kind belongs to the open file, and a forked child inherits that: with a plain
/// [`File`] the child would keep its parent's locks when the parent dies. Strategies of your own keep theirs in
/// this one, or do without such locks.
#[derive(Debug)]
pub struct LockFile {
    /// `Some` until it is dropped.
    file: Option<File>,
    generation: u32,
}

impl LockFile {
    /// Opens an existing regular file for locking, to read and write. What is anything else is not opened, and a symbolic
    /// link is not followed.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::opened_by(|| platform::open_file(path, true))
    }

    /// Makes a file for locking, with these permission bits whatever the umask.
    pub(crate) fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let file = Self::opened_by(|| OpenOptions::new().read(true).write(true).create_new(true).open(path))?;
        platform::set_mode(&file, mode)?;
        Ok(file)
    }

    /// Opens the very file that is open, whose name is or was `path`, once more.
    pub(crate) fn reopen(file: &File, path: &Path) -> io::Result<Self> {
        Self::opened_by(|| platform::reopen(file, path))
    }

    /// Opens a file for locking by this function.
    pub(crate) fn opened_by(open: impl FnOnce() -> io::Result<File>) -> io::Result<Self> {
        handlers::register();
        let mut listed = listed();
        let file = open()?;
        listed.extend(platform::descriptor(&file));
        Ok(Self { file: Some(file), generation: generation() })
    }
}

impl Deref for LockFile {
    type Target = File;

    fn deref(&self) -> &File {
        match &self.file {
            Some(file) => file,
            None => unreachable!("a lock file is open until it is dropped"),
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let mut listed = listed();
        if self.generation == generation() {
            let descriptor = platform::descriptor(&file);
            listed.retain(|&other| Some(other) != descriptor);
            // Closed while the list is held: a child born in between would keep it, and nobody would know.
            drop(file);
        } else {
            // The child's handler closed the descriptor.
            platform::forget(file);
        }
    }
}

/// What the process that made it has in its address space, and no forked child: a child forgets it.
pub(crate) struct Unforked<T> {
    /// `Some` until it is dropped.
    value: Option<T>,
    generation: u32,
}

impl<T> Unforked<T> {
    /// Makes it while nobody forks: no child is born with one that is half made.
    pub(crate) fn make(value: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        handlers::register();
        let _listed = listed();
        Ok(Self { value: Some(value()?), generation: generation() })
    }
}

impl<T> Drop for Unforked<T> {
    fn drop(&mut self) {
        if self.generation != generation() {
            // What lies there in a child is somebody else's.
            std::mem::forget(self.value.take());
        }
    }
}

mod handlers {
    use super::*;

    thread_local! {
        /// The list, held by the thread that is forking from before until after.
        static HELD: RefCell<Option<MutexGuard<'static, Vec<Descriptor>>>> = const { RefCell::new(None) };
    }

    pub(super) fn register() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| platform::at_fork(before, in_parent, in_child));
    }

    extern "C" fn before() {
        let guard = listed();
        // Without its thread-local storage a thread is about to end; it forks unprotected rather than not.
        let _ = HELD.try_with(|held| held.replace(Some(guard)));
    }

    extern "C" fn in_parent() {
        let _ = HELD.try_with(|held| held.replace(None));
    }

    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        super::super::threads::forget_other_threads();
        let Ok(Some(mut listed)) = HELD.try_with(RefCell::take) else { return };
        listed.drain(..).for_each(platform::close_inherited);
    }
}

/// A value of this process: a forked child finds none and installs its own. Reading it is two loads.
///
/// What a parent installed stays allocated until the whole is dropped, so references to it stay good.
pub(crate) struct PerProcess<T> {
    newest: AtomicPtr<Node<T>>,
}

struct Node<T> {
    generation: u32,
    value: T,
    older: *mut Node<T>,
}

// SAFETY: a node's value is only shared by reference, from any thread, and dropped with the whole.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
// SAFETY: as above; the list itself is changed by compare-exchange only.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> PerProcess<T> {
    pub(crate) fn new() -> Self {
        Self { newest: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The value that this process installed, if it did.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        let node = self.newest.load(Ordering::Acquire);
        // SAFETY: null, or a node that was leaked into the list and is freed only by `drop`.
        let node = unsafe { node.as_ref() }?;
        (node.generation == generation()).then_some(&node.value)
    }

    /// Installs this process's value; if another thread was faster, that one's is kept and `value` dropped.
    pub(crate) fn install(&self, value: T) -> &T {
        // Only `get` looks into a node of somebody else's, and acquires it.
        let mut older = self.newest.load(Ordering::Relaxed);
        let mut node = Box::new(Node { generation: generation(), value, older });
        loop {
            if let Some(value) = self.get() {
                return value;
            }
            node.older = older;
            let raw = Box::into_raw(node);
            match self.newest.compare_exchange(older, raw, Ordering::Release, Ordering::Relaxed) {
                // SAFETY: the node is in the list now, and freed only by `drop`.
                Ok(_) => return unsafe { &(*raw).value },
                Err(seen) => {
                    older = seen;
                    // SAFETY: `raw` came from `into_raw` above and nobody else saw it.
                    node = unsafe { Box::from_raw(raw) };
                }
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let mut node = *self.newest.get_mut();
        while !node.is_null() {
            // SAFETY: each node of the list came from `Box::into_raw` and is taken out once, here.
            let owned = unsafe { Box::from_raw(node) };
            node = owned.older;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_this_process_is_installed_once() {
        let slot = PerProcess::new();
        assert!(slot.get().is_none());
        assert_eq!(slot.install(1), &1);
        assert_eq!(slot.install(2), &1);
        assert_eq!(slot.get(), Some(&1));
    }
}
