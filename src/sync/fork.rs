//! What a forked child must not inherit.
//!
//! Each process has a number, its [`generation`]. Whatever is tied to the process ([`PerProcess`]) was made under one, and
//! is made anew at its next use where the number is another.
//!
//! A fork is noticed in two ways. Handlers of `pthread_atfork` hold the [list of descriptors](descriptors) still during
//! the fork, and in the child close those that hold locks and give it its number. `_Fork` and a bare `clone` run no
//! handlers. On Linux the number lies on a page that the kernel zeroes in every child, so such a child finds that it has
//! none, and does the same at its first use. It can do so only as far as its parent had one thread: what another thread was
//! at in that moment stays half done in the child, in the C library's memory as in ours.
#![allow(unsafe_code, reason = "process-wide pointers; each use says why it may")]

use super::{calls, descriptors, threads};
use crate::platform;
use std::cell::RefCell;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The word of a process whose number is being found out.
const SETTLING: u32 = u32::MAX;
/// A number that no process gets: they count up from 1.
const NOBODY: u32 = SETTLING - 1;
/// The last number that a process got, among this one and those that it comes from.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A number that differs between a process and its forked children. 0 or [`SETTLING`]: this process has none yet.
#[inline]
pub(crate) fn generation() -> u32 {
    platform::process_word().load(Ordering::Relaxed)
}

/// This process's number. It is given at the first use of a process, or of a child of a fork that ran no handlers.
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

/// What the process that made it has in its address space, and no forked child: a child forgets it.
pub(crate) struct Unforked<T> {
    /// `Some` until it is dropped.
    value: Option<T>,
    generation: u32,
}

impl<T> Unforked<T> {
    /// Makes it while nobody forks: no child is born with one that is half made.
    pub(crate) fn make(value: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        let generation = settled();
        let _still = descriptors::list();
        Ok(Self { value: Some(value()?), generation })
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
    use crate::sync::descriptors::List;
    use std::sync::MutexGuard;

    thread_local! {
        /// The list, held by the thread that is forking from before until after.
        static HELD: RefCell<Option<MutexGuard<'static, List>>> = const { RefCell::new(None) };
    }

    pub(super) fn register() {
        static ONCE: Once = Once::new();
        // Miri knows no fork.
        if !cfg!(miri) {
            ONCE.call_once(|| {
                // First, since a fork that is under way runs no handler that is registered now.
                platform::zero_process_word_in_children();
                platform::at_fork(before, in_parent, in_child);
            });
        }
    }

    extern "C" fn before() {
        let guard = descriptors::list();
        // Without its thread-local storage a thread is about to end; it forks unprotected rather than not.
        let _ = HELD.try_with(|held| held.replace(Some(guard)));
    }

    extern "C" fn in_parent() {
        let _ = HELD.try_with(|held| held.replace(None));
    }

    extern "C" fn in_child() {
        platform::process_word().store(0, Ordering::Relaxed);
        threads::forget_other_threads();
        calls::forget_other_threads();
        // Without the list, the child's first use does the rest.
        if let Ok(Some(mut list)) = HELD.try_with(RefCell::take) {
            list.close_locks();
            begin_process();
        }
    }
}

/// The process for which something was prepared, which its forked children do not inherit. To ask is two loads.
pub(crate) struct Preparer(AtomicU32);

impl Preparer {
    pub(crate) const fn nobody() -> Self {
        Self(AtomicU32::new(NOBODY))
    }

    /// This process has prepared it.
    pub(crate) fn set(&self) {
        // Releases what was prepared to the `Acquire` of `difference`.
        self.0.store(settled(), Ordering::Release);
    }

    /// 0 if this process has prepared it: a number, so that one branch tests it together with others.
    #[inline(always)]
    pub(crate) fn difference(&self) -> u64 {
        (self.0.load(Ordering::Acquire) ^ generation()).into()
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
    pub(crate) const fn new() -> Self {
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

    /// A child that no handler ran in has the word 0 until its first use, and another one while that settles it.
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
