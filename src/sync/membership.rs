//! A process as a member of a cache file: its seat, its lease, and the locks that it is attached to.

use super::lease::Lease;
use super::locks::Locks;

/// This process as a member of one cache file.
pub(crate) struct Member {
    pub seat: u32,
    pub locks: Locks,
    /// Held for the member's life.
    pub _lease: Option<Lease>,
}
