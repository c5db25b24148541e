//! Kennel.

use super::Store;
use crate::keys::{Key, SEED};
use anyhow::{Context, Result};
use kennel::{Cache, LargePages, LockStrategy, Options, record_size};
use std::path::Path;

/// Bytes that hold this many values with space to spare, so that nothing is evicted.
pub fn room(items: u64, value_size: usize) -> u64 {
    items * record_size(size_of::<Key>(), value_size) * 5 / 4
}

/// Creates a cache file with every page present; each subject has its own.
pub fn create(path: &Path, locks: &str, capacity: u64, value_size: usize) -> Result<Cache> {
    create_in(LargePages::Auto, path, locks, capacity, value_size)
}

/// [`create`] in large pages or in small ones.
pub fn create_in(large: LargePages, path: &Path, locks: &str, capacity: u64, value_size: usize) -> Result<Cache> {
    let locks: LockStrategy = locks.parse()?;
    let options = Options::new().capacity(capacity).mean_item((size_of::<Key>() + value_size) as u64);
    options.large_pages(large).locks(locks).seed(SEED).prefault(true).create(path).context("Kennel")
}

impl Store for Cache {
    #[inline]
    fn get(&self, key: &Key, into: &mut [u8]) -> Result<bool> {
        Ok(self.get_into(key, into)?.is_some())
    }

    #[inline]
    fn set(&self, key: &Key, value: &[u8]) -> Result<()> {
        Ok(Cache::set(self, key, value)?)
    }
}
