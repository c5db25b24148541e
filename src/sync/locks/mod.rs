//! The locks of stripes: one contract, several strategies.
//!
//! *Contract.* Between [`lock`](LockRegions::lock) and [`unlock`](LockRegions::unlock) of a lock region, no other
//! thread or process that attached to the same place holds that region. `lock` returns within its limit, with the lock
//! or with [`LockError::Busy`]. The lock of a dead process goes to the next thread that asks; the lock of a stopped
//! process does not. A forked child does not hold its parent's locks. Regions are independent of each other. A strategy
//! need not order memory: the engine puts a fence on either side.
//!
//! The crate `kennel-conformance` checks this contract, for the built-in strategies and for custom ones.

#[cfg(not(loom))]
mod attached;
mod contract;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod lease;
pub(crate) mod lock_word;
#[cfg(loom)]
mod model;
#[cfg(all(test, loom))]
mod models;
#[cfg(not(loom))]
mod process;
#[cfg(not(loom))]
mod rw_file;
#[cfg(not(loom))]
mod strategy;

#[cfg(not(loom))]
pub use super::lock_file::LockFile;
#[cfg(not(loom))]
pub(crate) use attached::{Locks, RegionGuard};
pub use contract::{LockError, LockFactory, LockPlace, LockRegions};
#[cfg(not(loom))]
pub(crate) use contract::{is_lock_name, lock_file_path};
#[cfg(loom)]
pub(crate) use model::{ModelLock, RegionGuard};
#[cfg(not(loom))]
pub use strategy::LockStrategy;
