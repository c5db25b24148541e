//! What a caller holds: the handle, the options, the read path on one screen, the write path on one screen.

mod cache;
mod claim;
mod create;
mod hold;
mod keys;
mod options;
mod patience;
mod read;
mod region;
mod stats;
#[cfg(feature = "tokio")]
mod tasks;
#[cfg(feature = "typed")]
mod typed;
mod values;
mod write;

pub use cache::Cache;
pub use claim::{KeyLock, LockOptions, Task, Wait};
pub use create::{Claim, CreateError, CreateOptions, Created, Lookup, Stored};
pub use keys::Keys;
pub use options::Options;
pub use read::Item;
pub use region::{Region, RegionOptions};
pub use stats::{Counters, Limit, Repair, Stats, StripeStats, Verification};
#[cfg(feature = "typed")]
pub use typed::Typed;
pub use values::Values;
pub use write::{SetOptions, Stamp, Swap};
