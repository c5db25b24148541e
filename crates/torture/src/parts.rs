//! The parts of a cache: the keys without a region, and those of each region.
//!
//! Regions leave keys as they are here, so that whoever reads, deletes or touches a key need not know its part.

use crate::board::PARTS;
use crate::keys::{name, part};
use kennel::{
    Cache, CreateError, CreateOptions, Invalidation, Lookup, Region, RegionOptions, Result, SetOptions, Stamp, Swap,
};

/// A cache with its regions.
pub struct Parts {
    pub all: Cache,
    /// Those of part 1 and up.
    regions: Vec<Region>,
}

impl Parts {
    pub fn of(cache: &Cache) -> Result<Self> {
        let options = RegionOptions::new().key_mangler(|_, key| key.to_vec());
        let regions = (1..PARTS).map(|part| cache.region(&format!("part {part}"), &options)).collect::<Result<_>>()?;
        Ok(Self { all: cache.clone(), regions })
    }

    /// The region of a part, if it is one.
    fn region(&self, part: usize) -> Option<&Region> {
        self.regions.get(part.checked_sub(1)?)
    }

    pub fn set(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<Stamp> {
        match self.region(part(key)) {
            Some(region) => region.set_with(name(key), value, how),
            None => self.all.set_with(name(key), value, how),
        }
    }

    pub fn add(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<bool> {
        match self.region(part(key)) {
            Some(region) => region.add(name(key), value, how),
            None => self.all.add(name(key), value, how),
        }
    }

    pub fn replace(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<bool> {
        match self.region(part(key)) {
            Some(region) => region.replace(name(key), value, how),
            None => self.all.replace(name(key), value, how),
        }
    }

    pub fn compare_and_swap(&self, key: u16, stamp: Stamp, value: &[u8], how: &SetOptions) -> Result<Swap> {
        match self.region(part(key)) {
            Some(region) => region.compare_and_swap(name(key), stamp, value, how),
            None => self.all.compare_and_swap(name(key), stamp, value, how),
        }
    }

    pub fn incr(&self, key: u16) -> Result<Option<u64>> {
        match self.region(part(key)) {
            Some(region) => region.incr(name(key), 1),
            None => self.all.incr(name(key), 1),
        }
    }

    /// Stores items whose keys are all of one part.
    pub fn set_multi(&self, part: usize, items: &[(String, Vec<u8>)]) -> Vec<Result<()>> {
        match self.region(part) {
            Some(region) => region.set_multi(items, &SetOptions::new()),
            None => self.all.set_multi(items, &SetOptions::new()),
        }
    }

    /// Invalidates a part that is a region, or everything.
    pub fn invalidate(&self, part: Option<usize>, how: Invalidation) -> Result<()> {
        match part.and_then(|part| self.region(part)) {
            Some(region) => region.invalidate(how),
            None => self.all.invalidate(how),
        }
    }

    pub fn claim(&self, key: u16, how: &CreateOptions) -> Result<Lookup> {
        match self.region(part(key)) {
            Some(region) => region.claim(name(key), how),
            None => self.all.claim(name(key), how),
        }
    }

    /// As [`get_or_create`](Self::get_or_create), for a caller that needs a value.
    pub fn get_or_create_value(
        &self,
        key: u16,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Vec<u8>, GaveUp>,
    ) -> Result<Vec<u8>, CreateError<GaveUp>> {
        match self.region(part(key)) {
            Some(region) => region.get_or_create(name(key), how, create),
            None => self.all.get_or_create(name(key), how, create),
        }
    }

    pub fn get_or_create(
        &self,
        key: u16,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Option<Vec<u8>>, GaveUp>,
    ) -> Result<Option<Vec<u8>>, CreateError<GaveUp>> {
        match self.region(part(key)) {
            Some(region) => region.get_or_create_optional(name(key), how, create),
            None => self.all.get_or_create_optional(name(key), how, create),
        }
    }

    /// Gets or creates keys that are all of one part.
    pub fn get_or_create_multi(
        &self,
        part: usize,
        keys: &[String],
        how: &CreateOptions,
        create: impl FnOnce(&[&String]) -> Result<Vec<Option<Vec<u8>>>, GaveUp>,
    ) -> Result<Vec<Option<Vec<u8>>>, CreateError<GaveUp>> {
        match self.region(part) {
            Some(region) => region.get_or_create_multi(keys, how, create),
            None => self.all.get_or_create_multi(keys, how, create),
        }
    }
}

/// A creator that creates nothing after all.
#[derive(Debug)]
pub struct GaveUp;
