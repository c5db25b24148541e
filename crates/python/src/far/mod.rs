//! The far tier: one near cache for all processes of a host, in front of Redis or Valkey. It exists on Unix only.
//!
//! A hit in the near tier keeps the interpreter's lock, as a `get` of the cache does. Every call that may ask the server
//! releases it, and a greenlet of gevent hands the call to a thread.

mod ask;
mod cache;
mod creation;
mod error;
mod options;
mod reply;
mod stats;

pub(crate) use cache::FarCache;
pub(crate) use creation::FarCreation;
pub(crate) use options::names;
