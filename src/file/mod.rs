//! The life of a cache file: where it lies, how it is created, opened, reset, flushed and destroyed, and which of its
//! members live.
//!
//! This floor knows files, locks and members. It knows nothing of keys and values.

pub(crate) mod attached;
pub(crate) mod create;
pub(crate) mod current;
pub(crate) mod flush;
mod follow;
pub(crate) mod header;
pub(crate) mod notes;
pub(crate) mod open;
mod owners;
pub(crate) mod place;
mod removal;
mod reset;
pub(crate) mod resize;
mod resizer;
pub(crate) mod settings;
pub(crate) mod tidy;

pub(crate) use attached::AttachedFile;
