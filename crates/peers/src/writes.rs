//! Single writes: what a file's lock adds to them, and what a full cache does.

use crate::group::{Effort, interleave, subject};
use crate::keys::{Key, in_order, key, shuffled};
use crate::rows::{Table, goal};
use crate::stores::{kennel_cache, room};
use crate::walk::Walk;
use anyhow::{Result, ensure};
use kennel::{Cache, record_size};
use kennel_harness::directory;
use std::hint::black_box;

const VALUE: [u8; 64] = [1; 64];

/// A write under a file's lock against its two parts: the bare lock, and a write under a lock word.
pub fn against_flock(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let items = (16 << 20) / record_size(size_of::<Key>(), VALUE.len());
    let keys = shuffled(items);
    let filled = |locks: &str| -> Result<Cache> {
        let cache = kennel_cache(&directory.path().join(locks), locks, room(items, VALUE.len()), VALUE.len())?;
        in_order(items).iter().try_for_each(|key| cache.set(key, VALUE))?;
        Ok(cache)
    };
    let (with_file, with_word) = (filled("file")?, filled("lease")?);
    let file = std::fs::File::create(directory.path().join("lock"))?;
    let sets = |cache: &Cache| {
        let (cache, mut walk) = (cache.clone(), Walk::new(&keys));
        move |n: usize| (0..n).try_for_each(|_| Ok(cache.set(walk.step(1), black_box(VALUE))?))
    };
    let flock = "flock and unlock of one file";
    let subjects = vec![
        subject("file", sets(&with_file)),
        subject("lease", sets(&with_word)),
        subject(flock, |n| {
            (0..n).try_for_each(|_| {
                fs2::FileExt::lock_exclusive(&file)?;
                Ok(fs2::FileExt::unlock(&file)?)
            })
        }),
    ];
    let found = interleave("set 64 B, file", effort, subjects)?;
    let (own, flock_alone) = (found.of("file")?, found.of(flock)?);
    table.add("set 64 B, file", own, flock, flock_alone, None);
    let parts = flock_alone + found.of("lease")?;
    table.add("set 64 B, file", own, "a bare flock pair and a set, lease", parts, goal(1.1, 1.0));
    Ok(())
}

/// New keys in a full cache of 1 GiB, where each set evicts an item, against overwrites in the same cache.
pub fn in_a_full_cache(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let capacity = 1 << 30;
    let cache = kennel_cache(&directory.path().join("cache"), "lease", capacity, VALUE.len())?;
    let mut next = 0;
    let mut set_new = |n: usize| {
        (next..next + n as u64).try_for_each(|number| cache.set(key(number), black_box(VALUE)))?;
        next += n as u64;
        Ok(())
    };
    let items = capacity / record_size(size_of::<Key>(), VALUE.len());
    set_new(items as usize * 11 / 10)?;
    ensure!(cache.stats().counters.evictions() > 0, "the cache is not full");
    // Few enough that they stay, many enough that none is in the processor's cache: they go to the main ring.
    let kept: Vec<Key> = shuffled(items).into_iter().filter(|key| cache.contains(key)).take(1 << 20).collect();
    let mut walk = Walk::new(&kept);
    let subjects = vec![
        subject("set of a new key", set_new),
        subject("overwrite", |n| (0..n).try_for_each(|_| Ok(cache.set(walk.step(1), black_box(VALUE))?))),
    ];
    let found = interleave("set of new keys, full cache, 1 GiB", effort, subjects)?;
    let name = "set of new keys, full cache, 1 GiB, lease";
    table.add(name, found.of("set of a new key")?, "overwrite", found.of("overwrite")?, None);
    Ok(())
}
