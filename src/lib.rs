#![doc = include_str!("../README.md")]
//!
//! # Where to go from here
//!
//! * [`Options`] creates and opens cache files; [`Cache`] is the handle that reads and writes.
//! * [`Cache::get_or_create`] lets one caller of all processes create a missing value; [`Cache::claim`] is what it is made
//!   of, [`Cache::lock`] locks a key, and [`Cache::namespace`] names a part of the cache that can be invalidated as a whole.
//! * Features: `typed` for values of one type through serde (`Typed`), `tokio` for tasks that wait without a thread
//!   (`AsyncCache`), `serde` for the statistics.
//! * [`LockStrategy`] says how stripes are locked; [`locks`] is the contract for one of your own, and the crate
//!   `kennel-conformance` checks whether a strategy keeps it.
//! * `docs/architecture.md` follows a `get` and a `set` through the rooms of this crate, `docs/guarantees.md`
//!   says what is promised and what is not, `docs/format.md` draws the bytes.

#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the model checker runs only the floors below"))]

#[cfg(not(loom))]
mod api;
mod clock;
#[cfg(not(loom))]
mod error;
mod hash;
mod plant;
mod platform;
mod shm;
mod store;
mod sync;
#[cfg(not(loom))]
mod upkeep;

#[cfg(all(feature = "tokio", not(loom)))]
pub use api::AsyncCache;
#[cfg(all(feature = "typed", not(loom)))]
pub use api::Typed;
#[cfg(not(loom))]
pub use api::{
    Cache, Claim, Counters, CreateError, CreateOptions, Created, Item, KeyLock, Keys, Limit, LockOptions, Lookup,
    NamespaceOptions, Options, Repair, SetOptions, Stamp, Stats, Stored, StripeStats, Swap, Task, Values, Verification,
    Wait,
};
#[cfg(not(loom))]
pub use clock::{Clock, Expiry};
#[cfg(not(loom))]
pub use error::{Error, Result};
pub use store::Invalidation;
pub use store::record::{MAX_KEY, record_size};
#[cfg(not(loom))]
pub use store::verify::Problem;
pub use sync::locks;
#[cfg(not(loom))]
pub use sync::locks::LockStrategy;
#[cfg(not(loom))]
pub use upkeep::header::AfterCrash;
#[cfg(not(loom))]
pub use upkeep::place::{default_path, default_paths};
#[cfg(not(loom))]
pub use upkeep::settings::{DEFAULT_CAPACITY, OnMismatch};

/// Faults that are planted in the engine, for the tests that must find them.
#[cfg(all(feature = "plant", not(loom)))]
pub mod planted {
    pub use crate::plant::{Plant, plant};
}

/// What only the fuzz targets reach.
#[cfg(fuzzing)]
pub mod fuzzed {
    pub use crate::store::fuzzed::{RecordInput, check_record};
}

/// The crash points of the engine, for tests that end a process at each of them.
#[cfg(feature = "crash-points")]
pub mod crash {
    pub use crate::shm::step::{Died, Event, Plan, Step, arm, passed, unwatch, watch};
}
