//! The handles that callers use, their options, and the read and write paths.

mod acquire;
#[cfg(feature = "tokio")]
mod async_cache;
mod cache;
mod count;
mod create;
mod entry;
mod hold;
mod item;
mod key_lock;
mod keys;
mod namespace;
mod options;
mod random;
mod read;
mod reader;
mod restore;
mod samples;
mod saved;
mod scan;
mod set_options;
mod stats;
mod stripe_lock;
mod take;
mod task;
#[cfg(feature = "typed")]
mod typed;
mod values;
mod waiting;
mod wants;
mod words;
mod write;
mod write_multi;
mod writer;

#[cfg(feature = "tokio")]
pub use async_cache::AsyncCache;
pub use cache::Cache;
pub use create::{Claim, ClaimRequest, CreateError, CreateOptions, Created, CreatorOutput, Lookup, Stored};
pub use entry::{Entries, Entry};
pub use item::{Changed, Item, ItemId, Stamp};
pub use key_lock::{KeyLock, LockOptions};
pub use keys::Keys;
pub use namespace::{NamespaceDefaults, NamespaceOptions};
pub use options::Options;
pub use restore::{RestoreOptions, Restored};
pub use samples::{Sample, SampleKind};
pub use saved::{HottestFirst, SavedItem};
pub use set_options::SetOptions;
pub use stats::{Limit, Repair, Stats, StripeStats, Verification};
pub use task::Task;
#[cfg(all(feature = "tokio", feature = "typed"))]
pub use typed::{AsyncLocal, AsyncTyped};
#[cfg(feature = "typed")]
pub use typed::{Local, LocalOptions, Typed};
pub use values::Values;
pub use waiting::Wait;
pub use write::Swap;
