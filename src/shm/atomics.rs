//! The one place that chooses between the atomics of the standard library and those of a model checker.
//!
//! `--cfg loom` builds the part that a model checker can run, with loom's atomics; with `--cfg shuttle` as well, with
//! shuttle's.

#[cfg(all(loom, not(shuttle)))]
pub(crate) use loom as checker;
#[cfg(shuttle)]
pub(crate) use shuttle as checker;

#[cfg(loom)]
pub(crate) use checker::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(test, not(loom)))]
pub(crate) use super::reorder::fence;
#[cfg(not(any(test, loom)))]
pub(crate) use std::sync::atomic::fence;
