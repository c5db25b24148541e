//! Typed values beside raw bytes: postcard, a compact binary form of whatever serde can serialize.

#[cfg(feature = "tokio")]
mod async_handle;
mod codec;
mod handle;
mod search;
mod shape;
mod trace;
mod walk;

#[cfg(feature = "tokio")]
pub use async_handle::AsyncTyped;
pub use handle::Typed;
