//! The engine: an index of buckets over two ring logs per stripe.
//!
//! The engine is generic over its [`Memory`](crate::shm::Memory), so the same code runs on a mapped file, under the
//! model checker and under Miri. It knows offsets, records and epochs; it does not know files, paths, processes or
//! options.
//!
//! * [`read`] looks up a key without a lock; [`mod@write`] changes a stripe under its lock.
//! * [`intent`] makes a kill harmless: each operation is recorded before it starts.
//! * [`claim`] lets one caller create a key's value while others wait, and [`rest`] keeps all callers from a key whose
//!   creation failed; [`namespace`] manages the namespaces; [`tags`] invalidates the values that bear a tag; [`idle`]
//!   lets values live as long as they are used.
//! * [`evict`] makes room; [`rebuild`] rebuilds a stripe's index after an operating-system crash, unless nothing was
//!   written since the last [`durable`] point.
//! * [`heat`] orders the items by their use, and [`restore`] stores saved items in free space.
//! * [`counters`], [`histograms`] and `namespace_reads` count what happens; [`tap`] tells observers what is read.
//! * [`transfer`] copies what a file holds to a file of another size, while the first one is in use.
//! * [`verify`] checks the invariants that these modules rely on.

pub(crate) mod claim;
pub(crate) mod copied;
pub(crate) mod counters;
pub(crate) mod durable;
mod ends;
pub(crate) mod epochs;
pub(crate) mod evict;
pub(crate) mod find;
#[cfg(fuzzing)]
pub(crate) mod fuzzed;
pub(crate) mod head;
mod header;
pub(crate) mod heat;
pub(crate) mod histograms;
pub(crate) mod idle;
pub(crate) mod intent;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod namespace;
mod namespace_reads;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod record;
#[cfg(all(test, not(loom)))]
mod reordered;
mod repair;
mod reset;
pub(crate) mod rest;
pub(crate) mod restore;
pub(crate) mod ring;
mod rings;
pub(crate) mod slot;
pub(crate) mod stripe_guard;
pub(crate) mod table;
pub(crate) mod tag_words;
pub(crate) mod tags;
pub(crate) mod tap;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(not(loom))]
pub(crate) mod transfer;
pub(crate) mod verify;
mod visibility;
pub(crate) mod write;

pub use epochs::Invalidation;
pub(crate) use epochs::{CrashState, Epochs, NamespaceEpochs, NamespaceId};
pub(crate) use header::{HeaderWords, IdentityWords};
pub(crate) use table::{KeyLocation, Store};
