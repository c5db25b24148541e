//! Caches in the memory of one process.
//!
//! Both hold values of any length as `Arc<[u8]>`: a read clones the pointer and copies out of it, a write creates a new
//! `Arc`.

use super::Store;
use crate::keys::Key;
use anyhow::Result;
use std::sync::Arc;

type Value = Arc<[u8]>;

fn copy_out(found: Option<Value>, into: &mut [u8]) -> bool {
    match found {
        Some(value) => {
            into.copy_from_slice(&value);
            true
        }
        None => false,
    }
}

/// `quick_cache`.
pub struct Quick(quick_cache::sync::Cache<Key, Value>);

impl Quick {
    /// A cache with room for this many values.
    pub fn new(items: usize) -> Self {
        Self(quick_cache::sync::Cache::new(items))
    }
}

impl Store for Quick {
    #[inline]
    fn get(&self, key: &Key, into: &mut [u8]) -> Result<bool> {
        Ok(copy_out(self.0.get(key), into))
    }

    #[inline]
    fn set(&self, key: &Key, value: &[u8]) -> Result<()> {
        self.0.insert(*key, value.into());
        Ok(())
    }
}

/// `moka`.
pub struct Moka(moka::sync::Cache<Key, Value>);

impl Moka {
    /// A cache with room for this many values.
    pub fn new(items: u64) -> Self {
        Self(moka::sync::Cache::new(items))
    }
}

impl Store for Moka {
    #[inline]
    fn get(&self, key: &Key, into: &mut [u8]) -> Result<bool> {
        Ok(copy_out(self.0.get(key), into))
    }

    #[inline]
    fn set(&self, key: &Key, value: &[u8]) -> Result<()> {
        self.0.insert(*key, value.into());
        Ok(())
    }
}
