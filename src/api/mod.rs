//! The handles that callers use, their options, and the read and write paths.

mod acquire;
#[cfg(feature = "tokio")]
mod async_cache;
mod cache;
mod count;
mod create;
mod entry;
mod hold;
mod idle;
mod item;
mod kept;
mod key_lock;
mod keys;
mod moment;
mod namespace;
mod options;
mod random;
mod read;
mod reader;
mod remove;
mod resize;
mod restore;
mod samples;
mod saved;
mod scan;
mod set_options;
mod stats;
mod stripe_lock;
mod tags;
mod take;
mod tap;
mod task;
#[cfg(feature = "typed")]
mod typed;
mod values;
mod vouched;
mod waiting;
mod wants;
mod words;
mod write;
mod write_multi;
mod writer;

#[cfg(feature = "tokio")]
pub use async_cache::AsyncCache;
pub use cache::Cache;
pub use create::{
    Claim, ClaimRequest, CreateError, CreateOptions, Created, CreatorOutput, Got, Lookup, Source, Stored,
};
pub use entry::{Entries, Entry};
pub use item::{Changed, Item, ItemId, Stamp};
pub use key_lock::{KeyLock, LockOptions};
pub use keys::Keys;
pub use moment::Moment;
pub use namespace::{NamespaceDefaults, NamespaceOptions};
pub use options::Options;
pub use resize::{ResizeOptions, Resized};
pub use restore::{RestoreOptions, Restored};
pub use samples::{Sample, SampleKind};
pub use saved::{HottestFirst, SavedItem};
pub use set_options::SetOptions;
pub use stats::{Limit, NamespaceReads, Repair, Stats, StripeStats, Verification};
pub use tap::{Tap, TappedKey};
pub use task::Task;
#[cfg(all(feature = "tokio", feature = "typed"))]
pub use typed::{AsyncLocal, AsyncTyped};
#[cfg(feature = "typed")]
pub use typed::{Local, LocalOptions, Typed};
pub use values::Values;
pub use waiting::Wait;
pub use write::Swap;
