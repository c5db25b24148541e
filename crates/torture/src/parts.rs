//! The parts of a cache: the keys without a namespace, and those of each namespace.
//!
//! The namespaces store keys unchanged, so a read, a deletion or a touch need not know the part of its key.

use crate::board::PARTS;
use crate::keys::{name, part};
use kennel::{
    Cache, CreateError, CreateOptions, Invalidation, Lookup, NamespaceOptions, Result, SetOptions, Stamp, Swap,
};
use std::time::Duration;

/// A cache with its namespaces.
pub struct Parts {
    /// The handle without a namespace, for part 0.
    pub all: Cache,
    /// The handles for part 1 and up.
    namespaces: Vec<Cache>,
}

/// How long values of the last part live if they are not read. The time is so short that reads move many expiries.
const IDLE: Duration = Duration::from_millis(100);

impl Parts {
    pub fn of(cache: &Cache) -> Result<Self> {
        let part = |part| {
            let options = NamespaceOptions::new().key_mangler(|_, key| key.to_vec());
            let options = if part == PARTS - 1 { options.idle(IDLE) } else { options };
            cache.namespace(&format!("part {part}"), &options)
        };
        let namespaces = (1..PARTS).map(part).collect::<Result<_>>()?;
        Ok(Self { all: cache.clone(), namespaces })
    }

    fn handle(&self, part: usize) -> &Cache {
        part.checked_sub(1).map_or(&self.all, |namespace| &self.namespaces[namespace])
    }

    fn of_key(&self, key: u16) -> &Cache {
        self.handle(part(key))
    }

    pub fn set(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<Stamp> {
        self.of_key(key).set_with(name(key), value, how)
    }

    pub fn add(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<bool> {
        self.of_key(key).add(name(key), value, how)
    }

    pub fn replace(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<bool> {
        self.of_key(key).replace(name(key), value, how)
    }

    pub fn compare_and_swap(&self, key: u16, stamp: Stamp, value: &[u8], how: &SetOptions) -> Result<Swap> {
        self.of_key(key).compare_and_swap(name(key), stamp, value, how)
    }

    pub fn incr(&self, key: u16) -> Result<Option<u64>> {
        self.of_key(key).incr(name(key), 1)
    }

    /// Stores items whose keys are all of one part.
    pub fn set_multi(&self, part: usize, items: &[(String, Vec<u8>)]) -> Vec<Result<()>> {
        self.handle(part).set_multi(items, &SetOptions::new())
    }

    /// Invalidates a part that is a namespace, or everything.
    pub fn invalidate(&self, part: Option<usize>, how: Invalidation) -> Result<()> {
        self.handle(part.unwrap_or(0)).invalidate(how)
    }

    pub fn claim(&self, key: u16, how: &CreateOptions) -> Result<Lookup> {
        self.of_key(key).claim(name(key), how)
    }

    /// Like [`get_or_create`](Self::get_or_create), for a caller that needs a value.
    pub fn get_or_create_value(
        &self,
        key: u16,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Vec<u8>, GaveUp>,
    ) -> Result<Vec<u8>, CreateError<GaveUp>> {
        self.of_key(key).get_or_create(name(key), how, create)
    }

    pub fn get_or_create(
        &self,
        key: u16,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Option<Vec<u8>>, GaveUp>,
    ) -> Result<Option<Vec<u8>>, CreateError<GaveUp>> {
        self.of_key(key).get_or_create_optional(name(key), how, create)
    }

    /// Gets or creates keys, all of one part.
    pub fn get_or_create_multi(
        &self,
        part: usize,
        keys: &[String],
        how: &CreateOptions,
        create: impl FnOnce(&[&String]) -> Result<Vec<Option<Vec<u8>>>, GaveUp>,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<GaveUp>> {
        self.handle(part).get_or_create_multi(keys, how, create)
    }
}

/// The error of a creator that gives up.
#[derive(Debug)]
pub struct GaveUp;
