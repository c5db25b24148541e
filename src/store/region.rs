//! Regions: named name spaces with defaults and epochs of their own.
//!
//! A record names its region by number, from 1; number 0 is no region. Entries are added under the lock of stripe
//! 0 and never removed; the hash of the name is stored last, so a killed adder leaves an entry that is not used.

use super::claim::RegionEpochs;
use super::epochs::Epochs;
use super::exclusive::{Exclusive, slots};
use super::intent::Intent;
use super::read::Record;
use super::slot::Slot;
use super::table::Store;
use crate::shm::atomics::Ordering;
use crate::shm::layout::{REGION_LEN, REGION_NAME, at};
use crate::shm::memory::Word;
use crate::shm::{Memory, Step};
use xxhash_rust::xxh3::xxh3_64;

/// Times to live that a region's entry holds, in milliseconds; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub hard_ttl_ms: u64,
    pub soft_ttl_ms: u64,
    pub none_ttl_ms: u64,
}

/// 0 says that an entry is not used.
fn name_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes()).max(1)
}

impl<M: Memory> Store<M> {
    fn region_word(&self, region: u16, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.regions_at + (u64::from(region) - 1) * REGION_LEN + field)
    }

    /// The epochs of a region, or of the cache: region 0.
    pub(super) fn epochs_word(&self, region: u16) -> Word<'_> {
        if region == 0 { self.mem.word(at!(epochs)) } else { self.region_word(region, at!(Region.epochs)) }
    }

    /// The epochs of a region; one that does not exist has none.
    pub(crate) fn region_epochs(&self, region: u16) -> Epochs {
        if region == 0 || u32::from(region) > self.geometry.shape.regions {
            return Epochs(0);
        }
        Epochs(self.region_word(region, at!(Region.epochs)).get())
    }

    /// A region with its epochs of this moment.
    pub(crate) fn region_now(&self, region: u16) -> RegionEpochs {
        RegionEpochs::new(region, self.region_epochs(region))
    }

    /// The number of a region that was added, by its name.
    pub(crate) fn region_named(&self, name: &str) -> Option<u16> {
        let hash = name_hash(name);
        self.regions().find(|&region| {
            let word = |field| self.region_word(region, field);
            word(at!(Region.name_hash)).load(Ordering::Acquire) == hash
                && word(at!(Region.name_len)).get() == name.len() as u64
                && self.region_name(region)[..name.len()] == *name.as_bytes()
        })
    }

    /// The names of all regions.
    pub(crate) fn region_names(&self) -> Vec<String> {
        let used = self
            .regions()
            .filter(|&region| self.region_word(region, at!(Region.name_hash)).load(Ordering::Acquire) != 0);
        let name = |region| {
            let len = self.region_word(region, at!(Region.name_len)).get().min(REGION_NAME as u64) as usize;
            String::from_utf8_lossy(&self.region_name(region)[..len]).into_owned()
        };
        used.map(name).collect()
    }

    /// What a region's entry says about times to live.
    pub(crate) fn region_defaults(&self, region: u16) -> Defaults {
        let word = |field| self.region_word(region, field).get();
        Defaults {
            hard_ttl_ms: word(at!(Region.hard_ttl_ms)),
            soft_ttl_ms: word(at!(Region.soft_ttl_ms)),
            none_ttl_ms: word(at!(Region.none_ttl_ms)),
        }
    }

    fn regions(&self) -> impl Iterator<Item = u16> + use<M> {
        // There are at most as many as a record can name.
        (1..=self.geometry.shape.regions).map(|region| region as u16)
    }

    fn region_name(&self, region: u16) -> [u8; REGION_NAME] {
        let mut name = [0; REGION_NAME];
        for (i, chunk) in name.chunks_exact_mut(8).enumerate() {
            let word = self.region_word(region, at!(Region.name) + i as u64 * 8);
            chunk.copy_from_slice(&word.get().to_le_bytes());
        }
        name
    }
}

impl<M: Memory> Exclusive<'_, M> {
    /// Adds a region unless it is there; `None`: all entries are used. The stripe is number 0, for all who add, and
    /// the name has at most [`REGION_NAME`] bytes.
    pub(crate) fn add_region(&mut self, name: &str, defaults: Defaults) -> Option<u16> {
        let store = self.store;
        if let Some(region) = store.region_named(name) {
            return Some(region);
        }
        let hash_of = |region| store.region_word(region, at!(Region.name_hash));
        let region = store.regions().find(|&region| hash_of(region).get() == 0)?;
        let set = |field, value| store.region_word(region, field).set(Step::Region, value);
        set(at!(Region.hard_ttl_ms), defaults.hard_ttl_ms);
        set(at!(Region.soft_ttl_ms), defaults.soft_ttl_ms);
        set(at!(Region.none_ttl_ms), defaults.none_ttl_ms);
        set(at!(Region.name_len), name.len() as u64);
        let name_at = store.geometry.regions_at + (u64::from(region) - 1) * REGION_LEN + at!(Region.name);
        let mut padded = [0; REGION_NAME];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        store.mem.copy_in(Step::Region, name_at, &padded);
        hash_of(region).store(Step::Region, name_hash(name), Ordering::Release);
        Some(region)
    }

    /// Removes all records of a region from this stripe, where its epochs cannot be raised.
    pub(crate) fn remove_region(&mut self, region: u16) {
        self.void_all(|of| of.region() == region);
        // Keys of the region that are created without a claim may lie in any bucket.
        self.buckets().for_each(|bucket_at| self.renew_bucket(bucket_at));
        for slot_at in self.buckets().flat_map(slots) {
            let slot = self.slot(slot_at);
            if !slot.is_live() || !self.is_held(slot) {
                continue;
            }
            let Some(Record { at, head, .. }) = self.store.record_in(self.stripe, slot) else { continue };
            if head.is_extended() && self.store.extension(at, head).region() == region {
                self.unlink(Intent::Delete, slot_at, slot, Slot::EMPTY, head);
            }
        }
    }
}
