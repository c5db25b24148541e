//! The near tiers of a far tier: one, or in a cluster one for each master.

use crate::cluster::{Atlas, FORGET_AFTER_US, MOST_MASTERS, Map, Merged, View};
use crate::error::{Error, Result};
use crate::near::{Basis, Near};
use crate::slots::slot;
use std::sync::{Arc, OnceLock};

#[cfg(all(test, feature = "crash-points"))]
mod kills;

pub(crate) struct Nears {
    /// The only near tier. In a cluster with tracking it has no proved copies, and tells only whether keepers are at
    /// work.
    pub base: Arc<Near>,
    cluster: Option<Parts>,
}

/// The near tiers of a cluster.
struct Parts {
    atlas: Atlas,
    /// By the number of the master. `None`: the file has no room for its namespace.
    nears: Box<[OnceLock<Option<Arc<Near>>>]>,
}

impl Nears {
    pub(crate) fn one(near: Near) -> Self {
        Self { base: Arc::new(near), cluster: None }
    }

    pub(crate) fn of_cluster(near: Near) -> Result<Self> {
        let atlas = Atlas::new(near.namespace_beside("map")?, near.clock);
        let nears = (0..MOST_MASTERS).map(|_| OnceLock::new()).collect();
        Ok(Self { base: Arc::new(near), cluster: Some(Parts { atlas, nears }) })
    }

    /// The near tier for a key. `None`: the key's master is not known, or has no near tier.
    #[inline]
    pub(crate) fn of(&self, key: &[u8]) -> Option<&Arc<Near>> {
        match &self.cluster {
            None => Some(&self.base),
            Some(parts) => self.part_of(parts, key),
        }
    }

    #[inline(never)]
    fn part_of(&self, parts: &Parts, key: &[u8]) -> Option<&Arc<Near>> {
        if !self.base.is_tracked() {
            return Some(&self.base);
        }
        self.part(parts.atlas.owner(slot(key))?)
    }

    /// The map of a cluster.
    pub(crate) fn atlas(&self) -> Option<&Atlas> {
        self.cluster.as_ref().map(|parts| &parts.atlas)
    }

    /// The near tier of the master with this number. `None`: the file has no room for it.
    pub(crate) fn part(&self, number: usize) -> Option<&Arc<Near>> {
        let Some(parts) = &self.cluster else { return Some(&self.base) };
        if !self.base.is_tracked() {
            return Some(&self.base);
        }
        let open = || self.base.part(number).ok().map(Arc::new);
        parts.nears.get(number)?.get_or_init(open).as_ref()
    }

    /// Whether anything was proved within this many microseconds.
    pub(crate) fn was_proved_within(&self, age_us: u64) -> bool {
        match &self.cluster {
            None => self.base.was_proved_within(age_us),
            Some(_) => self.all().any(|near| near.was_proved_within(age_us)),
        }
    }

    /// Removes what the near tier has for a key, and voids every fill of it that has begun.
    pub(crate) fn delete(&self, key: &[u8]) {
        match self.of(key) {
            Some(near) => near.delete(key),
            None => self.delete_everywhere(key),
        }
    }

    /// [`delete`](Self::delete) of many keys.
    pub(crate) fn delete_multi(&self, keys: &[&[u8]]) {
        match keys {
            [] => {}
            [_, _, ..] if self.cluster.is_none() => self.base.delete_multi(keys),
            keys => keys.iter().for_each(|key| self.delete(key)),
        }
    }

    /// Invalidates everything in all namespaces.
    pub(crate) fn flush(&self) {
        match &self.cluster {
            None => {
                self.base.flush();
            }
            Some(_) => {
                for near in self.all() {
                    near.flush();
                }
            }
        }
    }

    /// For each master, a key that lies there.
    pub(crate) fn keys_of_masters(&self) -> Result<Vec<Vec<u8>>> {
        let Some(parts) = &self.cluster else { return Ok(vec![Vec::new()]) };
        let map = parts.atlas.last_known();
        let mut masters: Vec<usize> = map.masters().map(|(number, _)| number).collect();
        let numbers = (0..u64::from(u16::MAX)).map(|number| number.to_string().into_bytes());
        let keys: Vec<Vec<u8>> = numbers
            .filter(|key| {
                let owner = map.owner(slot(key));
                masters.iter().position(|master| Some(*master) == owner).map(|at| masters.swap_remove(at)).is_some()
            })
            .collect();
        if keys.is_empty() {
            return Err(Error::Connection("the masters of the cluster are not known yet".into()));
        }
        Ok(keys)
    }

    /// The near tiers in which keys lie, each with the indices of its keys.
    pub(crate) fn sorted(&self, keys: &[&[u8]]) -> Vec<(&Arc<Near>, Vec<usize>)> {
        if self.cluster.is_none() {
            return vec![(&self.base, (0..keys.len()).collect())];
        }
        let mut sorted: Vec<(&Arc<Near>, Vec<usize>)> = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            let Some(near) = self.of(key) else { continue };
            match sorted.iter_mut().find(|(other, _)| Arc::ptr_eq(other, near)) {
                Some((_, at)) => at.push(i),
                None => sorted.push((near, vec![i])),
            }
        }
        sorted
    }

    /// [`delete`](Self::delete) in the namespaces of all masters, for when it is not known in which one a reader looks.
    pub(crate) fn delete_everywhere(&self, key: &[u8]) {
        match &self.cluster {
            None => self.base.delete(key),
            Some(parts) => {
                if parts.atlas.is_begun() {
                    self.all().for_each(|near| near.delete(key));
                }
                self.base.delete_brief(key);
            }
        }
    }

    /// [`delete`](Self::delete), except where the near tier has this value for the key, and except for values of one
    /// basis.
    pub(crate) fn end_others(&self, key: &[u8], value: Option<&[u8]>, except: Option<Basis>) {
        match self.of(key) {
            Some(near) => near.end_others(key, value, except),
            None if self.atlas().is_some_and(Atlas::is_begun) => {
                self.all().for_each(|near| near.end_others(key, value, except));
            }
            None => self.base.end_others(key, value, except),
        }
    }

    /// The near tiers of all numbers that have one in this file.
    fn all(&self) -> impl Iterator<Item = &Arc<Near>> {
        let numbers = self.base.parts();
        numbers.into_iter().filter_map(|number| self.part(number))
    }

    /// Merges what a node of a cluster says into the map.
    pub(crate) fn join(&self, view: &View) -> Result<()> {
        let is_proved = |number| self.part(number).is_some_and(|near| near.was_proved_within(FORGET_AFTER_US));
        self.change_map(|map| {
            let mut merged = map.merge(&view.own);
            let lost = map.remove_lost(view, is_proved);
            merged.is_changed |= lost.is_changed;
            merged.flushed.extend(lost.flushed);
            merged.replaced.extend(lost.replaced);
            merged
        })
    }

    /// Changes the map of a cluster. A namespace that gains or loses slots, or gets another master, is flushed before
    /// any process sees the new map.
    fn change_map(&self, change: impl Fn(&mut Map) -> Merged) -> Result<()> {
        let Some(parts) = &self.cluster else { return Ok(()) };
        parts.atlas.change(change, |merged, is_all| {
            if !self.base.is_tracked() {
                return;
            }
            if is_all {
                for near in self.all() {
                    near.flush();
                }
            }
            for number in &merged.flushed {
                let Some(near) = self.part(*number) else { continue };
                // What the previous master's tracker proved is not proved of the new master.
                if merged.replaced.contains(number) {
                    near.revoke();
                }
                near.flush();
            }
        })
    }
}
