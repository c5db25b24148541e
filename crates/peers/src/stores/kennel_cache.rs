//! Kennel itself.

use super::Store;
use crate::keys::{Key, SEED};
use anyhow::{Context, Result};
use kennel::{Cache, LockStrategy, Options, record_size};
use std::path::Path;

/// Bytes that hold so many values with room to spare: no key leaves.
pub fn room(items: u64, value_size: usize) -> u64 {
    items * record_size(size_of::<Key>(), value_size) * 5 / 4
}

/// A cache file of its own for each subject, every page present.
pub fn create(path: &Path, locks: &str, capacity: u64, value_size: usize) -> Result<Cache> {
    let locks: LockStrategy = locks.parse()?;
    let options = Options::new().capacity(capacity).mean_item((size_of::<Key>() + value_size) as u64);
    options.locks(locks).seed(SEED).populate(true).create(path).context("Kennel")
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
