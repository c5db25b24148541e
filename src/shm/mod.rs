//! The bytes of the cache file, and the only code that touches them.
//!
//! This module knows offsets and words. It knows nothing of keys, locks or evictions.

pub(crate) mod atomics;
pub(crate) mod layout;
#[cfg(not(loom))]
pub(crate) mod mapping;
pub(crate) mod memory;
#[cfg(all(test, not(loom)))]
pub(crate) mod reorder;
mod ring_shape;
#[cfg(all(test, shuttle))]
pub(crate) mod schedules;
mod shape;
pub(crate) mod step;

pub(crate) use layout::Geometry;
pub(crate) use memory::Memory;
pub(crate) use step::Step;
