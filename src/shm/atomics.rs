//! The one place that chooses between the atomics of the standard library and those of the model checker.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(test, not(loom)))]
pub(crate) use super::reorder::fence;
#[cfg(not(any(test, loom)))]
pub(crate) use std::sync::atomic::fence;
