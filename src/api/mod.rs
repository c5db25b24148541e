//! What a caller holds: the handle, the options, the read path on one screen, the write path on one screen.

mod cache;
mod claim;
mod count;
mod create;
mod hold;
mod item;
mod keys;
mod namespace;
mod options;
mod read;
mod stats;
mod stripe_lock;
#[cfg(feature = "tokio")]
mod tasks;
#[cfg(feature = "typed")]
mod typed;
mod values;
mod wants;
mod write;

pub use cache::Cache;
pub use claim::{KeyLock, LockOptions, Task, Wait};
pub use create::{Claim, CreateError, CreateOptions, Created, Lookup, Stored};
pub use item::{Item, Stamp};
pub use keys::Keys;
pub use namespace::{Namespace, NamespaceOptions};
pub use options::Options;
pub use stats::{Counters, Limit, Repair, Stats, StripeStats, Verification};
#[cfg(feature = "typed")]
pub use typed::Typed;
pub use values::Values;
pub use write::{SetOptions, Swap};
