//! Batches of writes against single writes.

use crate::group::{Effort, Subject, interleave, subject};
use crate::keys::{Key, in_order, shuffled};
use crate::rows::{Table, goal};
use crate::stores::{kennel_cache, room};
use crate::walk::Walk;
use anyhow::{Result, ensure};
use kennel::{Cache, SetOptions, record_size};
use kennel_harness::directory;
use std::hint::black_box;
use std::time::Duration;

const VALUE: [u8; 64] = [1; 64];

/// A cache with this many values.
fn filled(path: &std::path::Path, locks: &str, items: u64) -> Result<Cache> {
    let cache = kennel_cache(path, locks, room(items, VALUE.len()), VALUE.len())?;
    in_order(items).iter().try_for_each(|key| cache.set(key, VALUE))?;
    Ok(cache)
}

fn single<'a>(cache: &'a Cache, keys: &'a [Key]) -> Subject<'a> {
    let mut walk = Walk::new(keys);
    subject("set", move |n| (0..n).try_for_each(|_| Ok(cache.set(walk.step(1), black_box(VALUE))?)))
}

fn batch<'a>(cache: &'a Cache, keys: &'a [Key], size: usize) -> Subject<'a> {
    let mut walk = Walk::new(keys);
    subject(format!("set_multi of {size}"), move |n| {
        let mut left = n;
        while left > 0 {
            let items: Vec<_> = walk.next_few(left.min(size)).iter().map(|key| (key, black_box(VALUE))).collect();
            ensure!(cache.set_multi(&items, &SetOptions::new()).iter().all(Result::is_ok), "a set failed");
            left -= items.len();
        }
        Ok(())
    })
}

/// Batches under lock words. Deletions take keys that no other subject uses, and each key is deleted once: a deletion of
/// a key that is gone would cost less.
pub fn batches(effort: &Effort, table: &mut Table, data: u64) -> Result<()> {
    let directory = directory(None)?;
    let items = data / record_size(size_of::<Key>(), VALUE.len());
    let cache = filled(&directory.path().join("cache"), "lease", items)?;
    let keys = shuffled(items);
    let (written, deleted) = keys.split_at(keys.len() / 3);
    let (singly, together) = deleted.split_at(deleted.len() / 2);
    let is_large = data >= 1 << 30;
    let size = if is_large { "1 GiB" } else { "16 MiB" };
    let sizes = [16, 1000];
    let mut subjects = vec![single(&cache, written)];
    subjects.extend(sizes.iter().map(|&size| batch(&cache, written, size)));
    let found = interleave(&format!("writes in batches, {size}"), effort, subjects)?;
    let goals = if is_large { [goal(0.35, 0.25); 2] } else { [goal(0.8, 0.65), goal(0.8, 0.6)] };
    for (batch, goal) in sizes.into_iter().zip(goals) {
        let name = format!("set_multi of {batch}");
        table.add(&format!("{name}, {size}, lease"), found.of(&name)?, "set", found.of("set")?, goal);
    }
    // A small file has too few keys.
    if is_large {
        let (mut singly, mut together) = (singly.iter(), together.chunks(16));
        let subjects = vec![
            subject("delete", |n| {
                singly.by_ref().take(n).try_for_each(|key| cache.delete(key).map(drop))?;
                ensure!(singly.len() > 0, "no key is left to delete");
                Ok(())
            }),
            subject("delete_multi of 16", |n| {
                for keys in together.by_ref().take(n.div_ceil(16)) {
                    ensure!(cache.delete_multi(keys).iter().all(Result::is_ok), "a deletion failed");
                }
                ensure!(together.len() > 0, "no key is left to delete");
                Ok(())
            }),
        ];
        // Short turns, so that there are enough keys.
        let effort =
            Effort { rounds: effort.rounds.min(21), turn: effort.turn.min(Duration::from_millis(10)), ..*effort };
        let found = interleave(&format!("deletions in batches, {size}"), &effort, subjects)?;
        let (own, other) = (found.of("delete_multi of 16")?, found.of("delete")?);
        table.add(&format!("delete_multi of 16, {size}, lease"), own, "delete", other, goal(0.4, 0.3));
    }
    Ok(())
}

/// Batches under file locks, where one lock serves several items.
pub fn under_file_locks(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let items = (16 << 20) / record_size(size_of::<Key>(), VALUE.len());
    let cache = filled(&directory.path().join("cache"), "file", items)?;
    let keys = shuffled(items);
    let found = interleave("writes in batches, file", effort, vec![single(&cache, &keys), batch(&cache, &keys, 64)])?;
    let own = found.of("set_multi of 64")?;
    table.add("set_multi of 64, 16 MiB, file", own, "set", found.of("set")?, goal(0.3, 0.22));
    Ok(())
}
