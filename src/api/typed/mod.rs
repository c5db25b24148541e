//! Typed values beside raw bytes. They are stored by postcard, in a compact binary form of what serde serializes.

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
