//! The states that a killed process leaves when its stores were not executed in program order.
//!
//! Every store that a killed process executed stays: the kernel completes it before it passes the lock on. But the
//! compiler may reorder relaxed stores to different words unless a barrier forbids it. So a death between two barriers
//! leaves all stores before the first, and *any* of those between the two. A model checker does not show these states:
//! it executes each thread in program order, and a thread that takes the lock over has synchronized with the end of the
//! dead one.
//!
//! A test sets an observer here, which is called at each barrier. The observer keeps the contents of memory at the last
//! barrier. At the barrier of its choice it takes back some of the stores since, and unwinds.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

type Observer = Box<dyn FnMut()>;

thread_local! {
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Calls `observer` at each barrier of this thread, until the observer unwinds or the next call replaces it; `None`
/// removes it.
pub(crate) fn observe_barriers(observer: Option<Observer>) {
    OBSERVER.set(observer);
}

/// Called at each access with its `order`. An access with release ordering or stronger is a barrier: no earlier store
/// is executed after it.
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
