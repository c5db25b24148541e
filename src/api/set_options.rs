//! How a value is stored: when it expires or becomes stale, and its flags.

use crate::clock::Expiry;
use crate::store::namespace::Defaults;
use crate::store::record::Metadata;
use std::time::Duration;

/// Options for storing a value: its expiry, its soft expiry and its flags.
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
    /// No flags, and the default times of the handle's namespace, if it has any.
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

    /// When the item becomes stale. `get` still returns a stale value. [`get_or_create`](crate::Cache::get_or_create)
    /// lets one caller create a new value, and returns the stale one to all others meanwhile. A soft expiry takes 24
    /// bytes.
    #[must_use]
    pub fn soft_expiry(mut self, expiry: Expiry) -> Self {
        self.soft_expiry = Some(expiry);
        self
    }

    /// A number for the caller's own purposes, which [`Cache::get_item`](crate::Cache::get_item) returns. A number
    /// other than 0 takes 24 bytes.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// The expiry and the metadata of an item that is stored now. `defaults` apply where these options set no time.
    #[inline(always)]
    pub(super) fn times(&self, defaults: Defaults, now_ms: impl Fn() -> u64) -> (u64, Metadata) {
        let expires_ms = expiry_or(self.expiry, defaults.hard_ttl_ms, &now_ms);
        let soft_expires_ms = expiry_or(self.soft_expiry, defaults.soft_ttl_ms, &now_ms);
        (expires_ms, Metadata { flags: self.flags, soft_expires_ms, ..Metadata::default() })
    }
}

/// An expiry as a record stores it. If none is given, it follows from the default time to live; 0 means none.
#[inline(always)]
fn expiry_or(given: Option<Expiry>, ttl_ms: u64, now_ms: impl FnOnce() -> u64) -> u64 {
    match given {
        None if ttl_ms == 0 => 0,
        given => given.unwrap_or_else(|| after(ttl_ms)).to_ms(now_ms),
    }
}

/// A time to live as the entry of a namespace stores it.
pub(super) fn after(ttl_ms: u64) -> Expiry {
    if ttl_ms == 0 { Expiry::Never } else { Expiry::After(Duration::from_millis(ttl_ms)) }
}
