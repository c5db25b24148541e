//! Typed values beside raw bytes: postcard, a compact binary form of whatever serde can serialize.

#[cfg(feature = "tokio")]
mod async_handle;
#[cfg(feature = "tokio")]
mod async_local;
mod codec;
mod handle;
mod local;
mod near;
mod search;
mod shape;
mod trace;
mod walk;

#[cfg(feature = "tokio")]
pub use async_handle::AsyncTyped;
#[cfg(feature = "tokio")]
pub use async_local::AsyncLocal;
pub use handle::Typed;
pub use local::{Local, LocalOptions};
