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

use crate::platform::{self, Descriptor, Identity};
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
    pub(super) fn add(&mut self, descriptor: Descriptor, file: Identity, holds_locks: bool) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        self.0.retain(|entry| entry.descriptor != descriptor);
        self.0.push(Entry { number, descriptor, file, holds_locks });
        number
    }

    /// Takes an entry out; `false`: its descriptor was closed, here or by the program.
    pub(super) fn remove(&mut self, number: u64) -> bool {
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
