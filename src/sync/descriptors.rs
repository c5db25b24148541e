//! The descriptors that this library keeps open, with a check that they still lead to the files that it opened.
//!
//! A program may close descriptors that it never opened: a daemon closes all that it inherited. Files of its own then
//! get the same numbers. So each descriptor is listed here with the [identity](Identity) of its file. Before the
//! library uses or closes a descriptor, it asks the kernel which file the descriptor leads to now, and leaves it alone
//! if that is another file. If the system gives a listed number to a new descriptor, the program must have closed the
//! earlier one, so the earlier entry is dropped. One case cannot be detected: the program closes a descriptor, and
//! opens the same file itself under the same number.
//!
//! The list also says which descriptors hold locks. A `flock` lock belongs to the open file description, which a forked
//! child inherits; so a child closes those descriptors. It must not unlock the files: that would release the parent's
//! lock.
#![allow(unsafe_code, reason = "a child may have to replace the list; see `current`")]

use crate::platform::{self, Descriptor, Identity};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// An open descriptor of this process.
struct Entry {
    /// Unique among all entries, past and future.
    number: u64,
    descriptor: Descriptor,
    file: Identity,
    holds_locks: bool,
}

/// The descriptors of this process. A thread that opens or closes one holds the mutex around the list, and so does a
/// fork: no child inherits a descriptor that is not listed.
#[derive(Default)]
pub(super) struct List(Vec<Entry>);

type Shared = Mutex<List>;

static FIRST: Shared = Mutex::new(List(Vec::new()));
static CURRENT: AtomicPtr<Shared> = AtomicPtr::new((&raw const FIRST).cast_mut());

fn current() -> &'static Shared {
    // SAFETY: the pointer leads to `FIRST`, or to a list that `forget_inherited` leaked; neither is ever freed.
    unsafe { &*CURRENT.load(Ordering::Acquire) }
}

/// Locks the list of this process. No thread can fork through the handlers while the guard is held.
pub(super) fn list() -> MutexGuard<'static, List> {
    current().lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a child that was forked without the handlers: closes the descriptors that hold locks. If another thread of the
/// parent held the list at the fork, the child starts with an empty list instead; the inherited descriptors then stay
/// open, and are never used.
pub(super) fn forget_inherited() {
    match current().try_lock() {
        Ok(mut list) => list.close_locks(),
        Err(TryLockError::Poisoned(list)) => list.into_inner().close_locks(),
        Err(TryLockError::WouldBlock) => CURRENT.store(Box::into_raw(Box::default()), Ordering::Release),
    }
}

impl List {
    pub(super) fn add(&mut self, descriptor: Descriptor, file: Identity, holds_locks: bool) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        self.0.retain(|entry| entry.descriptor != descriptor);
        self.0.push(Entry { number, descriptor, file, holds_locks });
        number
    }

    /// Removes an entry; `false` if it is gone already, since its descriptor was closed here or by the program.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let place = self.0.iter().position(|entry| entry.number == number);
        place.map(|place| self.0.swap_remove(place)).is_some()
    }

    /// Notes that the descriptor of an entry holds no locks any more.
    pub(super) fn holds_no_locks(&mut self, number: u64) {
        self.0.iter_mut().filter(|entry| entry.number == number).for_each(|entry| entry.holds_locks = false);
    }

    /// Closes every descriptor that holds locks. Called in a forked child.
    pub(super) fn close_locks(&mut self) {
        self.0.retain(|entry| {
            if entry.holds_locks {
                platform::close_inherited(entry.descriptor, entry.file);
            }
            !entry.holds_locks
        });
    }
}
