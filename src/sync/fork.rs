//! State that a forked child must not inherit.
//!
//! Each process has a number, its [`generation`]. A value that belongs to a process ([`PerProcess`]) carries the number
//! of the process that made it; a process with another number makes its own value at the next use.
//!
//! A fork is noticed in two ways. Handlers of `pthread_atfork` lock the [list of descriptors](descriptors) during the
//! fork; in the child they close the descriptors that hold locks and give the child its number. `_Fork` and a bare
//! `clone` run no handlers. On Linux the number lies on a page that the kernel zeroes in every child, so such a child
//! finds that it has no number, and does the same work at its first use. This is fully reliable only if the parent had
//! one thread: whatever another thread was doing at the fork stays half done in the child's memory, in the C library as
//! in this one.
#![allow(unsafe_code, reason = "process-wide pointers; each use says why it is sound")]

use super::{calls, descriptors, threads};
use crate::platform;
use std::cell::RefCell;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The process word while a thread is assigning the number.
const SETTLING: u32 = u32::MAX;
/// A number that no process gets: the numbers count up from 1.
const NOBODY: u32 = SETTLING - 1;
/// The last number given to this process or one of its ancestors.
static LAST: AtomicU32 = AtomicU32::new(0);

/// The number of this process, which differs from that of its forked children; 0 or [`SETTLING`] if it has no number
/// yet.
#[inline]
pub(crate) fn generation() -> u32 {
    platform::process_word().load(Ordering::Relaxed)
}

/// The number of this process. If the handlers of a fork have not assigned one, the first call does.
pub(crate) fn settled() -> u32 {
    let word = platform::process_word();
    loop {
        match word.load(Ordering::Acquire) {
            0 => {
                handlers::register();
                if word.compare_exchange(0, SETTLING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    descriptors::forget_inherited();
                    return begin_process();
                }
            }
            SETTLING => std::thread::yield_now(),
            number => return number,
        }
    }
}

fn begin_process() -> u32 {
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    platform::process_word().store(number, Ordering::Release);
    number
}

/// A value whose memory exists only in the process that made it. A forked child does not run its destructor.
pub(crate) struct Unforked<T> {
    /// `Some` until this is dropped.
    value: Option<T>,
    generation: u32,
}

impl<T> Unforked<T> {
    /// Makes the value while no thread can fork, so that no child inherits a half-made one.
    pub(crate) fn make(value: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        let generation = settled();
        let _still = descriptors::list();
        Ok(Self { value: Some(value()?), generation })
    }
}

impl<T> Drop for Unforked<T> {
    fn drop(&mut self) {
        if self.generation != generation() {
            // In a child these addresses may belong to something else.
            std::mem::forget(self.value.take());
        }
    }
}

mod handlers {
    use super::*;
    use crate::sync::descriptors::List;
    use std::sync::MutexGuard;

    thread_local! {
        /// The list's guard, which the forking thread holds from before the fork until after it.
        static HELD: RefCell<Option<MutexGuard<'static, List>>> = const { RefCell::new(None) };
    }

    pub(super) fn register() {
        static ONCE: Once = Once::new();
        // Miri does not support `fork`.
        if !cfg!(miri) {
            ONCE.call_once(|| {
                // The page comes first: a fork in progress on another thread does not run handlers registered now.
                platform::zero_process_word_in_children();
                platform::at_fork(before, in_parent, in_child);
            });
        }
    }

    extern "C" fn before() {
        let guard = descriptors::list();
        // A thread that has lost its thread-local storage is about to end. It may still fork, without this protection.
        let _ = HELD.try_with(|held| held.replace(Some(guard)));
    }

    extern "C" fn in_parent() {
        let _ = HELD.try_with(|held| held.replace(None));
    }

    extern "C" fn in_child() {
        platform::process_word().store(0, Ordering::Relaxed);
        threads::forget_other_threads();
        calls::forget_other_threads();
        // If the list was not held, the child's first use does the rest.
        if let Ok(Some(mut list)) = HELD.try_with(RefCell::take) {
            list.close_locks();
            begin_process();
        }
    }
}

/// Records which process has prepared something that its forked children must prepare again. A check costs two loads.
pub(crate) struct Preparer(AtomicU32);

impl Preparer {
    pub(crate) const fn nobody() -> Self {
        Self(AtomicU32::new(NOBODY))
    }

    /// Records that this process has prepared it.
    pub(crate) fn set(&self) {
        // Publishes the prepared state to the `Acquire` of `difference`.
        self.0.store(settled(), Ordering::Release);
    }

    /// Returns 0 if this process has prepared it. The result is a number so that a caller can test several conditions
    /// with one branch.
    #[inline(always)]
    pub(crate) fn difference(&self) -> u64 {
        (self.0.load(Ordering::Acquire) ^ generation()).into()
    }
}

/// A value that belongs to one process: a forked child finds no value and installs its own. A read costs two loads.
///
/// Values that ancestors installed stay allocated until the whole list is dropped, so references to them stay valid.
pub(crate) struct PerProcess<T> {
    newest: AtomicPtr<Node<T>>,
}

struct Node<T> {
    generation: u32,
    value: T,
    older: *mut Node<T>,
}

// SAFETY: a node's value is only shared by reference, from any thread, and dropped with the whole list.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
// SAFETY: as for `Send`, and the list itself changes only by compare-exchange.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { newest: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The value that this process installed, if any.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        let node = self.newest.load(Ordering::Acquire);
        // SAFETY: the pointer is null, or leads to a node that was leaked into the list and is freed only by `drop`.
        let node = unsafe { node.as_ref() }?;
        (node.generation == generation()).then_some(&node.value)
    }

    /// Installs this process's value. If another thread was faster, its value stays and `value` is dropped.
    pub(crate) fn install(&self, value: T) -> &T {
        // `Relaxed` is enough: only `get` reads another thread's node, and it loads the pointer with `Acquire`.
        let mut older = self.newest.load(Ordering::Relaxed);
        let mut node = Box::new(Node { generation: settled(), value, older });
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
                    // SAFETY: `raw` came from `into_raw` above, and no other thread saw it.
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
            // SAFETY: each node of the list came from `Box::into_raw`, and only this line takes it out, once.
            let owned = unsafe { Box::from_raw(node) };
            node = owned.older;
        }
    }
}

/// The id of this process, which each process asks for once.
pub(crate) fn own_pid() -> u32 {
    static PID: PerProcess<u32> = PerProcess::new();
    *PID.get().unwrap_or_else(|| PID.install(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without handlers a child has the word 0 until its first use, and `SETTLING` while a thread assigns its number.
    #[test]
    fn what_nobody_prepared_is_of_no_process() {
        let preparer = Preparer::nobody();
        assert_ne!(preparer.difference(), 0);
        assert!([0, SETTLING, settled()].iter().all(|&word| word != NOBODY));
        preparer.set();
        assert_eq!(preparer.difference(), 0);
    }

    #[test]
    fn a_value_of_this_process_is_installed_once() {
        let slot = PerProcess::new();
        assert!(slot.get().is_none());
        assert_eq!(slot.install(1), &1);
        assert_eq!(slot.install(2), &1);
        assert_eq!(slot.get(), Some(&1));
    }
}
