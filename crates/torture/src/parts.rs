//! The parts of a cache: the keys without a namespace, and those of each namespace.
//!
//! Namespaces leave keys as they are here, so that whoever reads, deletes or touches a key need not know its part.

use crate::board::PARTS;
use crate::keys::{name, part};
use kennel::{
    Cache, CreateError, CreateOptions, Invalidation, Lookup, Namespace, NamespaceOptions, Result, SetOptions, Stamp,
    Swap,
};

/// A cache with its namespaces.
pub struct Parts {
    pub all: Cache,
    /// Those of part 1 and up.
    namespaces: Vec<Namespace>,
}

impl Parts {
    pub fn of(cache: &Cache) -> Result<Self> {
        let options = NamespaceOptions::new().key_mangler(|_, key| key.to_vec());
        let namespaces =
            (1..PARTS).map(|part| cache.namespace(&format!("part {part}"), &options)).collect::<Result<_>>()?;
        Ok(Self { all: cache.clone(), namespaces })
    }

    /// The namespace of a part, if it is one.
    fn namespace(&self, part: usize) -> Option<&Namespace> {
        self.namespaces.get(part.checked_sub(1)?)
    }

    pub fn set(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<Stamp> {
        match self.namespace(part(key)) {
            Some(namespace) => namespace.set_with(name(key), value, how),
            None => self.all.set_with(name(key), value, how),
        }
    }

    pub fn add(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<bool> {
        match self.namespace(part(key)) {
            Some(namespace) => namespace.add(name(key), value, how),
            None => self.all.add(name(key), value, how),
        }
    }

    pub fn replace(&self, key: u16, value: &[u8], how: &SetOptions) -> Result<bool> {
        match self.namespace(part(key)) {
            Some(namespace) => namespace.replace(name(key), value, how),
            None => self.all.replace(name(key), value, how),
        }
    }

    pub fn compare_and_swap(&self, key: u16, stamp: Stamp, value: &[u8], how: &SetOptions) -> Result<Swap> {
        match self.namespace(part(key)) {
            Some(namespace) => namespace.compare_and_swap(name(key), stamp, value, how),
            None => self.all.compare_and_swap(name(key), stamp, value, how),
        }
    }

    pub fn incr(&self, key: u16) -> Result<Option<u64>> {
        match self.namespace(part(key)) {
            Some(namespace) => namespace.incr(name(key), 1),
            None => self.all.incr(name(key), 1),
        }
    }

    /// Stores items whose keys are all of one part.
    pub fn set_multi(&self, part: usize, items: &[(String, Vec<u8>)]) -> Vec<Result<()>> {
        match self.namespace(part) {
            Some(namespace) => namespace.set_multi(items, &SetOptions::new()),
            None => self.all.set_multi(items, &SetOptions::new()),
        }
    }

    /// Invalidates a part that is a namespace, or everything.
    pub fn invalidate(&self, part: Option<usize>, how: Invalidation) -> Result<()> {
        match part.and_then(|part| self.namespace(part)) {
            Some(namespace) => namespace.invalidate(how),
            None => self.all.invalidate(how),
        }
    }

    pub fn claim(&self, key: u16, how: &CreateOptions) -> Result<Lookup> {
        match self.namespace(part(key)) {
            Some(namespace) => namespace.claim(name(key), how),
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
        match self.namespace(part(key)) {
            Some(namespace) => namespace.get_or_create(name(key), how, create),
            None => self.all.get_or_create(name(key), how, create),
        }
    }

    pub fn get_or_create(
        &self,
        key: u16,
        how: &CreateOptions,
        create: impl FnOnce() -> Result<Option<Vec<u8>>, GaveUp>,
    ) -> Result<Option<Vec<u8>>, CreateError<GaveUp>> {
        match self.namespace(part(key)) {
            Some(namespace) => namespace.get_or_create_optional(name(key), how, create),
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
        match self.namespace(part) {
            Some(namespace) => namespace.get_or_create_multi(keys, how, create),
            None => self.all.get_or_create_multi(keys, how, create),
        }
    }
}

/// A creator that creates nothing after all.
#[derive(Debug)]
pub struct GaveUp;
