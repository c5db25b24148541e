//! One near cache for all processes of a host, in front of Redis or Valkey.
//!
//! Redis or Valkey is the *far tier*: the store that many hosts share, and which alone decides what a key's value is. A
//! Kennel file is the *near tier* of a host: its processes share it, and it holds copies of string values whose keys
//! begin with the configured prefixes. The server reports which keys change (`CLIENT TRACKING ON BCAST`), and one
//! process of the host, the *tracker*, deletes them from the near tier.
//!
//! A near value is used only while it is *proved* that the near tier has all changes: the tracker pings the server on
//! the connection on which the changes come, and an answered ping proves that everything which the server had changed
//! before the ping was sent has been applied. Readers look at that time and nothing else, so a tracker that is stopped,
//! cut off or slow cannot make a read stale.
//!
//! ```no_run
//! use kennel_far::{Expiry, Options};
//! use std::time::Duration;
//! let far = Options::new("redis://127.0.0.1").prefix("app:").open("/dev/shm/app.kennel")?;
//! far.set("app:user:7", "Ann", Expiry::After(Duration::from_secs(600)))?;
//! let name: Option<Vec<u8>> = far.get("app:user:7")?;
//! let visits = far.incr("app:visits", 1)?;
//! # Ok::<(), kennel_far::Error>(())
//! ```
//!
//! # What is promised
//!
//! * A value that [`get`](Far::get) returns was the key's value in the far tier at some moment after *the start of the
//!   read minus [`max_staleness`](Options::max_staleness)*.
//! * After a write has returned, no read on this host that begins later returns the value from before the write.
//! * Reads of a key on this host never go back to an older value, as long as the far tier does not.
//! * No call waits for a tracker. If the near tier fails, a call asks the far tier instead of failing.
//!
//! `docs/far-tier.md` in the repository has the rest: all options, what is not promised, and what to do when something is
//! wrong.
#![cfg(unix)]

mod address;
#[cfg(feature = "tokio")]
mod async_far;
mod clock;
mod cluster;
mod connection;
mod create;
mod creating;
mod error;
mod far;
mod fault;
mod generations;
#[cfg(feature = "history")]
pub mod history;
mod hit;
mod inspect;
mod keeper;
mod link;
mod marks;
mod master;
mod near;
mod nears;
mod options;
mod proof;
mod read;
mod redis;
mod report;
pub mod resp;
mod settings;
mod slots;
mod socket;
mod stats;
mod store;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod write;

#[cfg(feature = "tokio")]
pub use async_far::AsyncFar;
pub use create::{Create, CreateError, Creation, Lookup};
pub use error::{Error, Result};
pub use far::{Far, Master};
#[cfg(feature = "faults")]
pub use fault::{Rule, after_copy, leave_out};
pub use inspect::{NearTier, Seat, inspect};
pub use kennel::Expiry;
pub use options::Options;
pub use redis::RedisStore;
pub use report::ProcessReport;
pub use settings::{Degraded, Tracking};
pub use stats::Stats;
pub use store::{Answer, Fetched, Reply, Store, TimeToLive};
#[cfg(feature = "tls")]
pub use tls::Tls;

/// Compiles the examples of the documentation.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../docs/far-tier.md")]
    struct FarTier;
    #[doc = include_str!("../README.md")]
    struct Readme;
}
