//! Kennel is a cache in one memory-mapped file, which any number of processes on a host open and use directly. There is
//! no server. A read takes no lock and makes no system call; a write locks one of many stripes. A process that is
//! killed, at whatever moment, leaves nothing behind that blocks or misleads the others.
//!
//! The cache has a fixed size and evicts the least used values, so any read may miss. The tests run on Linux, and for
//! Windows under Wine; the code for macOS is only type-checked. Kennel needs a 64-bit little-endian target.
//!
//! # Example
//!
//! ```
//! use kennel::{Cache, CreateOptions, Expiry, Options, SetOptions};
//! use std::time::Duration;
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("pages.cache");
//! // The first process creates the file; all others open it.
//! let cache = Options::new().capacity(32 << 20).open_or_create(&path)?;
//! let five_minutes = Expiry::After(Duration::from_secs(300));
//! cache.set_with("page:42", "<h1>Hello</h1>", &SetOptions::new().expiry(five_minutes))?;
//!
//! // A second handle, such as another process would open.
//! let other = Cache::open(&path)?;
//! assert_eq!(other.get("page:42").as_deref(), Some(&b"<h1>Hello</h1>"[..]));
//! assert_eq!(other.get("page:43"), None);
//!
//! // Exactly one caller across all threads and processes runs the query; the others wait for its value.
//! let rows = cache.get_or_create("report", &CreateOptions::new().expiry(five_minutes), || "42 rows")?;
//! assert_eq!(rows, b"42 rows");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Types to start from
//!
//! | type | what it is for |
//! |---|---|
//! | [`Options`] | creates, opens and destroys cache files; the sizes of a new file |
//! | [`Cache`] | the handle: [`get`](Cache::get), [`set`](Cache::set), [`delete`](Cache::delete), [`get_or_create`](Cache::get_or_create), [`lock`](Cache::lock), [`stats`](Cache::stats); cheap to clone, shared between threads |
//! | [`NamespaceOptions`] | a named part of a cache, which has its own times to live and can be invalidated as a whole: see [`Cache::namespace`] |
//! | [`SetOptions`], [`CreateOptions`] | when a value expires; how callers create a missing value and wait for it |
//! | [`Claim`] | the right to create a value, for callers that cannot pass a closure |
//! | [`LockStrategy`] | how stripes are locked; [`locks`] is the contract for a custom strategy |
//! | [`Error`], [`CreateError`] | what can go wrong; a miss is not an error |
//!
//! # Features
//!
//! No feature is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `typed` | `Typed`: a handle whose values have one type, serialized by serde and postcard; `Local`: decoded values that each process keeps |
//! | `tokio` | `AsyncCache`: a handle for tokio tasks, which hold no thread while they wait; with `typed` also `AsyncTyped` and `AsyncLocal` |
//! | `serde` | `Serialize` for [`Stats`], [`Verification`] and their parts |
//!
//! The features `crash-points` and `faults` are for Kennel's own tests. They make every call slower, and may change in
//! any version.
//!
//! # Where to go from here
//!
//! These pages are part of the package, in its folder `docs`.
//!
//! * `guarantees.md`: what Kennel promises, what it does not, and the test of each promise.
//! * `platforms.md`: what differs between Linux, macOS and Windows.
//! * `architecture.md`: the parts of this crate, and the path of a `get` and of a `set` through them.
//! * `format.md`: every byte of the file.
//!
//! The crate `kennel-conformance` checks whether a custom lock strategy keeps the contract of [`locks`].

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the model checker runs only the floors below"))]

#[cfg(not(loom))]
mod api;
mod clock;
#[cfg(not(loom))]
mod error;
mod fault;
#[cfg(not(loom))]
mod file;
mod hash;
mod names;
mod platform;
mod shm;
mod store;
mod sync;

#[cfg(all(feature = "tokio", not(loom)))]
pub use api::AsyncCache;
#[cfg(all(feature = "tokio", feature = "typed", not(loom)))]
pub use api::{AsyncLocal, AsyncTyped};
#[cfg(not(loom))]
pub use api::{
    Cache, Changed, Claim, ClaimRequest, CreateError, CreateOptions, Created, CreatorOutput, Entries, Entry, Got,
    HottestFirst, Item, ItemId, KeyLock, Keys, Limit, LockOptions, Lookup, Moment, NamespaceDefaults, NamespaceOptions,
    NamespaceReads, Options, Repair, ResizeOptions, Resized, RestoreOptions, Restored, Sample, SampleKind, SavedItem,
    SetOptions, Source, Stamp, Stats, Stored, StripeStats, Swap, Tap, TappedKey, Task, Values, Verification, Wait,
};
#[cfg(all(feature = "typed", not(loom)))]
pub use api::{Local, LocalOptions, Typed};
#[cfg(not(loom))]
pub use clock::{Clock, Expiry};
#[cfg(not(loom))]
pub use error::{Advice, Error, ErrorCode, ErrorParts, Result};
#[cfg(not(loom))]
pub use file::header::AfterCrash;
#[cfg(not(loom))]
pub use file::place::{default_path, default_paths};
#[cfg(not(loom))]
pub use file::settings::{DEFAULT_CAPACITY, LargePages, OnMismatch};
pub use names::UnknownName;
pub use store::Invalidation;
#[cfg(not(loom))]
pub use store::counters::Counters;
pub use store::histograms::{Histogram, Times};
pub use store::record::{MAX_KEY, record_size, tagged_record_size};
pub use store::slot::Ring;
pub use store::tag_words::MAX_TAGS;
#[cfg(not(loom))]
pub use store::verify::Problem;
pub use sync::locks;
#[cfg(not(loom))]
pub use sync::locks::LockStrategy;

/// Faults that a test injects into the engine and must then find.
#[cfg(all(feature = "faults", not(loom)))]
pub mod faults {
    pub use crate::fault::{Fault, inject};
}

/// Functions for the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzed {
    pub use crate::store::fuzzed::{RecordInput, check_record};
}

/// The crash points of the engine, for tests that kill a process at each of them.
#[cfg(feature = "crash-points")]
pub mod crash {
    pub use crate::shm::step::{Died, Event, Plan, Step, arm, passed, unwatch, watch};
}

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the example of the page about tags.
#[cfg(doctest)]
#[doc = include_str!("../docs/tags.md")]
struct Tags;
/// Runs the examples of "Making it fast" as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/making-it-fast.md")]
struct MakingItFast;
