//! What a killed process leaves when its stores ran in another order than they were written down in.
//!
//! A killed process leaves every store that it executed; the kernel sees to that before it gives the lock on. But
//! relaxed stores to different words may be executed in any order that no barrier forbids: the compiler may
//! reorder them. So a death between two barriers leaves all stores before the first, and *any* of those between
//! them. A model checker does not show that, for it executes each thread as it is written, and whoever takes the
//! lock over has seen the dead thread end.
//!
//! A test sets an observer here. It is called at each barrier, keeps what memory was like at the last one, and at
//! the barrier of its choice takes some of the stores back and unwinds.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

type Observer = Box<dyn FnMut()>;

thread_local! {
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Calls `observer` at each barrier of this thread, until it unwinds or another, or none, is set.
pub(crate) fn observe_barriers(observer: Option<Observer>) {
    OBSERVER.set(observer);
}

/// Called at an access of `order`. If that is one of a release, no store in front of it is executed after it.
pub(super) fn barrier(order: Ordering) {
    if matches!(order, Ordering::Relaxed | Ordering::Acquire) {
        return;
    }
    if let Ok(Some(mut observer)) = OBSERVER.try_with(RefCell::take) {
        observer();
        OBSERVER.set(Some(observer));
    }
}

pub(crate) fn fence(order: Ordering) {
    barrier(order);
    std::sync::atomic::fence(order);
}
