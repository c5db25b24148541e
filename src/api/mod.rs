//! What a caller holds: the handle, the options, the read path on one screen, the write path on one screen.

#[cfg(feature = "tokio")]
mod async_cache;
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
mod set_options;
mod stats;
mod stripe_lock;
#[cfg(feature = "typed")]
mod typed;
mod values;
mod wants;
mod words;
mod write;
mod writer;

#[cfg(feature = "tokio")]
pub use async_cache::AsyncCache;
pub use cache::Cache;
pub use claim::{KeyLock, LockOptions, Task, Wait};
pub use create::{Claim, CreateError, CreateOptions, Created, CreatorOutput, Lookup, Stored};
pub use item::{Item, Stamp};
pub use keys::Keys;
pub use namespace::NamespaceOptions;
pub use options::Options;
pub use set_options::SetOptions;
pub use stats::{Counters, Limit, Repair, Stats, StripeStats, Verification};
#[cfg(feature = "typed")]
pub use typed::Typed;
pub use values::Values;
pub use write::Swap;
