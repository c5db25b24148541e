//! The subjects, each behind the same two calls.
//!
//! A read copies the value into the caller's buffer, and a write passes a slice. Whatever a store needs for that, such
//! as a box for the value or a transaction, counts as part of its call.

mod kennel_cache;
mod lmdb;
mod memory;
mod sqlite;
mod store;

pub use kennel_cache::{create as kennel_cache, create_in as kennel_cache_in, room};
pub use lmdb::Lmdb;
pub use memory::{Moka, Quick};
pub use sqlite::Sqlite;
pub use store::{Store, fill};
