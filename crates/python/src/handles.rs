//! The engine's handles of a Python cache or namespace.

use crate::open::Use;
use kennel::Cache;
use std::ops::Deref;
use std::time::Duration;

/// Two handles of the same cache, with the same namespace if there is one.
pub(crate) struct Handles {
    pub(crate) cache: Cache,
    /// A handle that does not wait for locks, so the interpreter's lock can be kept during its calls.
    pub(crate) nonblocking: Cache,
}

impl Handles {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { nonblocking: cache.with_lock_wait(Duration::ZERO), cache }
    }
}

/// A handle in use.
pub(crate) struct UsedCache<'a>(pub(crate) Use<'a, Handles>);

impl Deref for UsedCache<'_> {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        &self.0.cache
    }
}
