//! Decoded values that a process keeps, each with the id of the write that stored it. This module does not know whether
//! a value is still current: the caller asks the cache before each use.
//!
//! Shards belong to one process. A forked child begins with none, because at the fork another thread of its parent may
//! have held the lock of a shard. Values are decoded and dropped outside the locks, since both run the caller's code.

use crate::api::item::ItemId;
use crate::api::random;
use crate::sync::fork::PerProcess;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The maximum number of shards. The room for items and the room for bytes are divided equally among the shards.
const SHARDS: usize = 16;
/// A shard has room for at least this many items, unless all shards together have room for fewer.
const ITEMS_OF_SHARD: usize = 64;

/// The values that this process keeps.
pub(super) struct Near<V> {
    shards: PerProcess<Shards<V>>,
    seed: u64,
    count: usize,
    room: Room,
}

/// `ManuallyDrop`, because a forked child must not drop the shards that it inherited: they may have been half changed
/// at the fork.
type Shards<V> = ManuallyDrop<Box<[Mutex<Shard<V>>]>>;

/// How much a shard holds.
#[derive(Clone, Copy)]
struct Room {
    items: usize,
    bytes: usize,
}

/// A key with its hash.
#[derive(Clone, Copy)]
pub(super) struct NearKey<'k> {
    bytes: &'k [u8],
    hash: u64,
}

impl<V> Near<V> {
    /// Room for this many values, whose keys and values take at most this many bytes in their stored form.
    pub(super) fn new(items: usize, bytes: usize) -> Self {
        let count = (items / ITEMS_OF_SHARD).clamp(1, SHARDS).next_power_of_two().min(SHARDS);
        let room = Room { items: items.div_ceil(count), bytes: bytes / count };
        Self { shards: PerProcess::new(), seed: random::number(), count, room }
    }

    pub(super) fn key<'k>(&self, bytes: &'k [u8]) -> NearKey<'k> {
        NearKey { bytes, hash: xxh3_64_with_seed(bytes, self.seed) }
    }

    /// The value that is kept for a key, and which write stored it.
    pub(super) fn find(&self, key: NearKey<'_>) -> Option<(ItemId, Arc<V>)> {
        self.shard(key).find(key)
    }

    /// Keeps a value that takes `stored_len` bytes in its stored form.
    pub(super) fn put(&self, key: NearKey<'_>, id: ItemId, value: Arc<V>, stored_len: usize) {
        let bytes = key.bytes.len() + stored_len;
        let entry = Entry { hash: key.hash, key: key.bytes.into(), id, value, bytes, is_used: false };
        let removed = self.shard(key).put(entry, self.room);
        // Dropped here, where the shard's lock is no longer held.
        drop(removed);
    }

    /// Forgets the value of a key.
    pub(super) fn forget(&self, key: NearKey<'_>) {
        let removed = self.shard(key).forget(key);
        drop(removed);
    }

    /// Forgets all values.
    pub(super) fn clear(&self) {
        for shard in self.shards.get().into_iter().flat_map(|shards| shards.iter()) {
            let removed = std::mem::take(&mut *lock(shard));
            drop(removed);
        }
    }

    /// How many values are kept.
    pub(super) fn len(&self) -> usize {
        self.shards.get().into_iter().flat_map(|shards| shards.iter()).map(|shard| lock(shard).entries.len()).sum()
    }

    fn shard(&self, key: NearKey<'_>) -> MutexGuard<'_, Shard<V>> {
        let shards = self.shards.get().unwrap_or_else(|| {
            let shards = (0..self.count).map(|_| Mutex::new(Shard::default())).collect();
            self.shards.install(ManuallyDrop::new(shards))
        });
        // The map of a shard uses the lowest and the highest bits of the hash, so other bits choose the shard.
        lock(&shards[(key.hash >> 32) as usize & (self.count - 1)])
    }
}

impl<V> Drop for Near<V> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Ignores poisoning: a panic leaves a shard intact, because no code of the caller runs under its lock.
fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Some of the values: those whose keys have certain bits of the hash in common.
struct Shard<V> {
    /// The places of the entries, by the hash of their keys. Two keys with the same hash replace each other.
    places: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    entries: Vec<Entry<V>>,
    /// The place where the search for the next entry to remove begins, as in the clock algorithm.
    hand: usize,
    /// The bytes of all entries, in their stored form.
    bytes: usize,
}

struct Entry<V> {
    hash: u64,
    key: Box<[u8]>,
    id: ItemId,
    value: Arc<V>,
    bytes: usize,
    /// Whether the value was used since the hand last passed.
    is_used: bool,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { places: HashMap::default(), entries: Vec::new(), hand: 0, bytes: 0 }
    }
}

impl<V> Shard<V> {
    fn find(&mut self, key: NearKey<'_>) -> Option<(ItemId, Arc<V>)> {
        let place = *self.places.get(&key.hash)?;
        let entry = self.entries.get_mut(place).filter(|entry| *entry.key == *key.bytes)?;
        entry.is_used = true;
        Some((entry.id, entry.value.clone()))
    }

    /// Adds an entry, and returns the entries that were removed for it. An entry that is too large for the shard is
    /// returned, too.
    fn put(&mut self, entry: Entry<V>, room: Room) -> Vec<Entry<V>> {
        let mut removed = Vec::new();
        removed.extend(self.places.get(&entry.hash).copied().map(|place| self.remove(place)));
        if room.items == 0 || entry.bytes > room.bytes {
            removed.push(entry);
            return removed;
        }
        while self.entries.len() >= room.items || self.bytes > room.bytes - entry.bytes {
            let place = self.victim();
            removed.push(self.remove(place));
        }
        self.bytes += entry.bytes;
        self.places.insert(entry.hash, self.entries.len());
        self.entries.push(entry);
        removed
    }

    fn forget(&mut self, key: NearKey<'_>) -> Option<Entry<V>> {
        let place = *self.places.get(&key.hash)?;
        (*self.entries[place].key == *key.bytes).then(|| self.remove(place))
    }

    /// The entry to remove next: the first one from the hand on that was not used since the hand last passed.
    fn victim(&mut self) -> usize {
        loop {
            self.hand = if self.hand < self.entries.len() { self.hand } else { 0 };
            if !std::mem::take(&mut self.entries[self.hand].is_used) {
                return self.hand;
            }
            self.hand += 1;
        }
    }

    fn remove(&mut self, place: usize) -> Entry<V> {
        let entry = self.entries.swap_remove(place);
        self.places.remove(&entry.hash);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.hash, place);
        }
        self.bytes -= entry.bytes;
        entry
    }
}

/// A hasher for numbers that are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::item::Stamp;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn id(stamp: u64) -> ItemId {
        ItemId { stamp: Stamp(stamp), lineage: 7 }
    }

    fn put(near: &Near<u64>, n: u64, stored_len: usize) {
        near.put(near.key(&n.to_le_bytes()), id(n), Arc::new(n), stored_len);
    }

    fn found(near: &Near<u64>, n: u64) -> Option<u64> {
        near.find(near.key(&n.to_le_bytes())).map(|(id, value)| {
            assert_eq!(id.stamp.0 % 1_000_000, n, "the id of this value");
            *value
        })
    }

    #[test]
    fn what_is_kept_never_exceeds_the_room() {
        for (items, bytes) in [(0, 1 << 20), (1, 1 << 20), (100, 1 << 20), (5000, 1 << 20), (5000, 40_000)] {
            let near = Near::new(items, bytes);
            (0..20_000).for_each(|n| put(&near, n, (n % 100) as usize));
            let shards = near.shards.get().map_or(&[][..], |shards| &**shards);
            let kept: usize = shards.iter().map(|shard| lock(shard).bytes).sum();
            let listed: usize = shards
                .iter()
                .flat_map(|shard| lock(shard).entries.iter().map(|entry| entry.bytes).collect::<Vec<_>>())
                .sum();
            assert_eq!(kept, listed);
            assert!(
                kept <= bytes && near.len() <= items.next_multiple_of(16),
                "{} items of {items}, {kept} bytes",
                near.len()
            );
            assert_eq!(near.len() > 0, items > 0);
            assert!((0..20_000).filter_map(|n| found(&near, n)).count() == near.len());
        }
    }

    #[test]
    fn what_is_used_stays() {
        let near = Near::new(64, 1 << 20);
        put(&near, 0, 8);
        for n in 1..1000 {
            put(&near, n, 8);
            assert_eq!(found(&near, 0), Some(0), "after {n}");
        }
    }

    #[test]
    fn a_value_is_replaced_and_forgotten() {
        let near = Near::new(4, 1000);
        put(&near, 3, 10);
        let key = 3u64.to_le_bytes();
        near.put(near.key(&key), id(1_000_003), Arc::new(4), 10);
        assert_eq!((found(&near, 3), near.len()), (Some(4), 1));
        // A value that is too large is not kept, and the older value is removed, because it is not current any more.
        near.put(near.key(&key), id(2_000_003), Arc::new(5), 10_000);
        assert_eq!((found(&near, 3), near.len()), (None, 0));
        put(&near, 3, 10);
        near.forget(near.key(&key));
        assert_eq!((found(&near, 3), near.len()), (None, 0));
    }

    /// A value that uses its own container when it is dropped.
    struct Reentrant(Arc<Near<Reentrant>>, Arc<AtomicUsize>);

    impl Drop for Reentrant {
        fn drop(&mut self) {
            self.0.forget(self.0.key(b"key"));
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn values_are_dropped_outside_the_lock() {
        let (near, dropped) = (Arc::new(Near::new(2, 1000)), Arc::new(AtomicUsize::new(0)));
        for n in 0..10u64 {
            let value = Arc::new(Reentrant(near.clone(), dropped.clone()));
            near.put(near.key(&(n % 5).to_le_bytes()), id(n), value, 8);
        }
        near.clear();
        assert_eq!((near.len(), dropped.load(Ordering::Relaxed)), (0, 10));
    }
}
