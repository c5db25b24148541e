#![doc = include_str!("../README.md")]
//!
//! # Where to go from here
//!
//! * [`Options`] creates and opens cache files; [`Cache`] is the handle that reads and writes.
//! * [`LockStrategy`] says how stripes are locked; [`locks`] is the contract for one of your own, and
//!   [`conformance`] the suite that checks it.
//! * `docs/architecture.md` follows a `get` and a `set` through the rooms of this crate, `docs/guarantees.md`
//!   says what is promised and what is not, `docs/format.md` draws the bytes.

#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the model checker runs only the floors below"))]

#[cfg(not(loom))]
mod api;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod error;
mod hash;
mod platform;
mod shm;
mod store;
mod sync;
#[cfg(not(loom))]
mod upkeep;

#[cfg(not(loom))]
pub use api::{
    Cache, Counters, Item, Keys, Limit, Options, Repair, SetOptions, Stamp, Stats, StripeStats, Swap, Verification,
};
#[cfg(not(loom))]
pub use clock::{Clock, Expiry};
#[cfg(not(loom))]
pub use error::{Error, Result};
pub use store::record::{MAX_KEY, record_size};
#[cfg(not(loom))]
pub use store::verify::Problem;
#[cfg(not(loom))]
pub use sync::conformance;
pub use sync::locks;
#[cfg(not(loom))]
pub use sync::locks::LockStrategy;
#[cfg(not(loom))]
pub use upkeep::header::AfterCrash;
#[cfg(not(loom))]
pub use upkeep::open::{DEFAULT_CAPACITY, OnMismatch};
#[cfg(not(loom))]
pub use upkeep::place::default_path;

/// The crash points of the engine, for tests that end a process at each of them.
#[cfg(feature = "crash-points")]
pub mod crash {
    pub use crate::shm::step::{Died, Plan, Step, arm, passed};
}
