//! Something that is there until it is closed, and cannot be closed while somebody uses it.
//!
//! PyO3 has that, too, but counts whoever looks at an object by two locked instructions for each call, and a processor does
//! not begin to load what the next call needs while it carries one out. That took a tenth of a `get`.
#![allow(unsafe_code, reason = "who holds the interpreter's lock needs no other one")]

use pyo3::Python;
use std::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Nothing once it is closed.
///
/// *The value is changed only by who holds the interpreter's lock while nobody uses it.* So whoever holds that lock may look
/// at it for as long as it is held, and whoever [uses](Self::enter) it may give that lock up meanwhile.
pub(crate) struct UntilClosed<T> {
    value: UnsafeCell<Option<T>>,
    users: AtomicUsize,
}

// SAFETY: threads share `&T`, and one that closes takes a `T` that another made; who does what when, the type says.
unsafe impl<T: Send + Sync> Sync for UntilClosed<T> {}

impl<T> UntilClosed<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(Some(value)), users: AtomicUsize::new(0) }
    }

    /// The value for a look at it; `None`: it is closed.
    ///
    /// # Safety
    /// The interpreter's lock is not given up while what is returned is in use, unless it was [entered](Self::enter).
    #[inline(always)]
    pub(crate) unsafe fn look(&self, _: Python<'_>) -> Option<&T> {
        // SAFETY: it is changed under the interpreter's lock only, which this thread holds.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// Uses the value; `None`: it is closed.
    pub(crate) fn enter(&self, py: Python<'_>) -> Option<Use<'_, T>> {
        // SAFETY: from the next line on it is used, and so is not closed.
        let value = unsafe { self.look(py) }?;
        self.users.fetch_add(1, Ordering::Relaxed);
        Some(Use { value, users: &self.users })
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self, py: Python<'_>) -> bool {
        // SAFETY: it is looked at in this line only.
        unsafe { self.look(py) }.is_none()
    }

    /// Closes it: `Err` while it is used. Whoever gets the value may drop it without the interpreter's lock.
    pub(crate) fn close(&self, _: Python<'_>) -> Result<Option<T>, InUse> {
        // Acquires what users did, who may end without the interpreter's lock.
        if self.users.load(Ordering::Acquire) != 0 {
            return Err(InUse);
        }
        // SAFETY: this thread holds the interpreter's lock, and nobody uses the value. Who only looks at it holds that
        // lock meanwhile, so it is no other thread; and nothing runs here that would look.
        Ok(unsafe { (*self.value.get()).take() })
    }
}

/// It cannot be closed now.
pub(crate) struct InUse;

/// A use of the value, until this is dropped.
pub(crate) struct Use<'a, T> {
    value: &'a T,
    users: &'a AtomicUsize,
}

impl<T> Deref for Use<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Drop for Use<'_, T> {
    fn drop(&mut self) {
        // Releases to the `Acquire` of who closes.
        self.users.fetch_sub(1, Ordering::Release);
    }
}
