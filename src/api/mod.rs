//! What a caller holds: the handle, the options, the read path on one screen, the write path on one screen.

mod cache;
mod keys;
mod options;
mod read;
mod stats;
mod values;
mod write;

pub use cache::Cache;
pub use keys::Keys;
pub use options::Options;
pub use read::Item;
pub use stats::{Counters, Limit, Repair, Stats, StripeStats, Verification};
pub use values::Values;
pub use write::{SetOptions, Stamp, Swap};
