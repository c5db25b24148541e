//! The lowest floor: the bytes of the cache file and the only code that touches them.
//!
//! What lies here knows offsets and words. It does not know what a key, a lock or an eviction is.

pub(crate) mod atomics;
pub(crate) mod layout;
#[cfg(not(loom))]
pub(crate) mod mapping;
pub(crate) mod memory;
#[cfg(all(test, not(loom)))]
pub(crate) mod reorder;
#[cfg(all(test, shuttle))]
pub(crate) mod schedules;
pub(crate) mod step;

pub(crate) use layout::Geometry;
pub(crate) use memory::Memory;
pub(crate) use step::Step;
