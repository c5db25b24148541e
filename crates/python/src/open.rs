//! A value that exists until it is closed, and that cannot be closed while a call uses it.
//!
//! PyO3 has such a cell, too, but counts borrows with two locked instructions per call. While the processor executes
//! such an instruction, it does not begin to load the data of the next call. This took a tenth of the time of a `get`.
#![allow(unsafe_code, reason = "the interpreter's lock protects the value, so no other lock is needed")]

use pyo3::Python;
use std::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A value, or nothing once it is closed.
///
/// *A thread changes the value only while it holds the interpreter's lock and no call uses the value.* So a thread may
/// [look](Self::look) at the value while it holds the interpreter's lock, and a thread that [uses](Self::enter) the
/// value may release this lock meanwhile.
pub(crate) struct UntilClosed<T> {
    value: UnsafeCell<Option<T>>,
    users: AtomicUsize,
}

// SAFETY: threads share `&T`, and a thread that closes the cell takes a `T` that another thread may have created. The
// documentation of the type says why a change and a use never coincide.
unsafe impl<T: Send + Sync> Sync for UntilClosed<T> {}

impl<T> UntilClosed<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(Some(value)), users: AtomicUsize::new(0) }
    }

    /// The value, or `None` if it is closed.
    ///
    /// # Safety
    /// The caller must not release the interpreter's lock while it uses the returned reference, unless it
    /// [entered](Self::enter).
    #[inline(always)]
    pub(crate) unsafe fn look(&self, _: Python<'_>) -> Option<&T> {
        // SAFETY: the value changes only under the interpreter's lock, which this thread holds.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// Begins a use of the value, or returns `None` if it is closed.
    pub(crate) fn enter(&self, py: Python<'_>) -> Option<Use<'_, T>> {
        // SAFETY: from the next line on the value is in use, so it is not closed.
        let value = unsafe { self.look(py) }?;
        self.users.fetch_add(1, Ordering::Relaxed);
        Some(Use { value, users: &self.users })
    }

    /// Whether the value was closed.
    pub(crate) fn is_closed(&self, py: Python<'_>) -> bool {
        // SAFETY: the reference does not leave this line.
        unsafe { self.look(py) }.is_none()
    }

    /// Takes the value out of a cell to which nothing else refers.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.value.get_mut().take()
    }

    /// Closes the cell and returns the value, which may be dropped without the interpreter's lock. Returns an error if
    /// a call uses the value.
    pub(crate) fn close(&self, _: Python<'_>) -> Result<Option<T>, InUse> {
        // Pairs with the release at the end of a use, which may happen without the interpreter's lock.
        if self.users.load(Ordering::Acquire) != 0 {
            return Err(InUse);
        }
        // SAFETY: this thread holds the interpreter's lock, and no call uses the value. No other thread looks at the
        // value, because it would hold the interpreter's lock; and this thread does not look at it here.
        Ok(unsafe { (*self.value.get()).take() })
    }
}

/// The error of closing a value that is in use.
pub(crate) struct InUse;

/// A use of the value, which ends when this is dropped.
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
        // Pairs with the `Acquire` in `close`.
        self.users.fetch_sub(1, Ordering::Release);
    }
}
