//! Exclusion among threads and processes: members, their seats and leases, and the locks of stripes.
//!
//! Lower floors know nothing of processes; this one knows nothing of keys and records.

#[cfg(not(loom))]
pub(crate) mod calls;
#[cfg(not(loom))]
pub(crate) mod clock;
#[cfg(not(loom))]
pub(crate) mod descriptors;
#[cfg(not(loom))]
pub(crate) mod fork;
#[cfg(not(loom))]
pub(crate) mod lease;
#[cfg(not(loom))]
pub(crate) mod lock_file;
pub mod locks;
#[cfg(not(loom))]
pub(crate) mod member;
#[cfg(not(loom))]
pub(crate) mod membership;
#[cfg(not(loom))]
pub(crate) mod own_file;
#[cfg(all(test, not(loom)))]
mod races;
#[cfg(not(loom))]
pub(crate) mod threads;
#[cfg(not(loom))]
pub(crate) mod wait;
