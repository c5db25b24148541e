//! The engine's handles behind a cache or a namespace of Python.

use crate::open::Use;
use kennel::Cache;
use std::ops::Deref;
use std::time::Duration;

/// Two handles of one cache, with the same namespace if they have one.
pub(crate) struct Handles {
    pub(crate) cache: Cache,
    /// For an attempt that does not wait, and so need not give up the interpreter's lock.
    pub(crate) at_once: Cache,
}

impl Handles {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { at_once: cache.with_lock_wait(Duration::ZERO), cache }
    }
}

/// A handle while it is used.
pub(crate) struct UsedCache<'a>(pub(crate) Use<'a, Handles>);

impl Deref for UsedCache<'_> {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        &self.0.cache
    }
}
