//! How a value is stored: when it expires or becomes stale, and its flags.

use crate::clock::Expiry;
use crate::store::namespace::Defaults;
use crate::store::record::Metadata;
use std::time::Duration;

/// What is stored beside a value.
///
/// ```
/// use std::time::Duration;
/// use kennel::{Expiry, SetOptions};
/// let how = SetOptions::new().expiry(Expiry::After(Duration::from_secs(60))).flags(7);
/// # let _ = how;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    expiry: Option<Expiry>,
    soft_expiry: Option<Expiry>,
    flags: u32,
}

impl SetOptions {
    /// Flags 0, and no expiry but the defaults of the handle's namespace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the item expires.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// When the item becomes stale: `get` still returns it; [`get_or_create`](crate::Cache::get_or_create) lets one caller
    /// create it anew and returns the stale value to all others meanwhile. It costs 24 bytes.
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.soft_expiry = Some(expiry);
        self
    }

    /// A number of the caller's that comes back with [`Cache::get_item`](crate::Cache::get_item). Other than 0 it costs 24 bytes.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// The expiry and what lies beside the value of an item stored now. `defaults` hold where these options give no time.
    #[inline(always)]
    pub(super) fn times(&self, defaults: Defaults, now_ms: impl Fn() -> u64) -> (u64, Metadata) {
        let expires_ms = expiry_or(self.expiry, defaults.hard_ttl_ms, &now_ms);
        let soft_expires_ms = expiry_or(self.soft_expiry, defaults.soft_ttl_ms, &now_ms);
        (expires_ms, Metadata { flags: self.flags, soft_expires_ms, ..Metadata::default() })
    }
}

/// An expiry as a record stores it. If none is given it is that of a time to live, of which 0 means none.
#[inline(always)]
fn expiry_or(given: Option<Expiry>, ttl_ms: u64, now_ms: impl FnOnce() -> u64) -> u64 {
    match given {
        None if ttl_ms == 0 => 0,
        given => given.unwrap_or_else(|| after(ttl_ms)).to_ms(now_ms),
    }
}

/// A time to live as a namespace's entry holds it.
pub(super) fn after(ttl_ms: u64) -> Expiry {
    if ttl_ms == 0 { Expiry::Never } else { Expiry::After(Duration::from_millis(ttl_ms)) }
}
