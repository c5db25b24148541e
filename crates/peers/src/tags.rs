//! Reads of records with tags. The tags are spread over the whole table, which has as many places as a table can have:
//! 1 MiB. That is more than the nearest cache of a processor. The next one may hold it, and shares its room with 64 MiB of
//! records that are read in no order. A larger table cannot be measured, because no file has one.

use crate::group::{Effort, interleave, subject};
use crate::keys::{in_order, shuffled};
use crate::rows::{Table, goal};
use crate::stores::{Store, kennel_cache, room};
use crate::walk::{Walk, one_after_another};
use anyhow::{Result, ensure};
use kennel::{SetOptions, record_size};
use kennel_harness::directory;

const VALUE: [u8; 64] = [1; 64];
/// Bytes of an extension and of the words of eight tags.
const MOST_MORE: usize = 24 + 24;
/// Places of the table. A file of 64 MiB has as many.
const PLACES: u32 = 1 << 16;

/// Reads of values with one, four and eight tags, against reads of values with flags, which have an extension, too.
pub fn tagged(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let size = VALUE.len() + MOST_MORE;
    let items = (64 << 20) / record_size(size_of::<crate::keys::Key>(), size);
    let mut caches = Vec::new();
    for (name, tags) in [("flags", 0), ("1 tag", 1), ("4 tags", 4), ("8 tags", 8)] {
        let cache = kennel_cache(&directory.path().join(name), "process", room(items, size), size)?;
        ensure!(cache.stats().tags == PLACES, "the table of tags has {} places", cache.stats().tags);
        for (number, key) in in_order(items).iter().enumerate() {
            let tags: Vec<_> = (0..tags).map(|tag| format!("{tag} of {number}")).collect();
            cache.set_with(key, VALUE, &SetOptions::new().flags(1).tags(&tags))?;
        }
        caches.push((name, cache));
    }
    let mut keys = shuffled(items);
    keys.retain(|key| caches.iter().all(|(_, cache)| cache.contains(key)));
    let subjects = caches.iter().map(|(name, cache)| {
        let (mut walk, mut into) = (Walk::new(&keys), VALUE);
        subject(*name, move |n| one_after_another(&mut walk, &mut into, n, |key, into| Store::get(cache, key, into)))
    });
    let found = interleave("get_into of records with tags, 64 MiB", effort, subjects.collect())?;
    for of in ["1 tag", "4 tags", "8 tags"] {
        table.add(
            &format!("get_into with {of}, 64 MiB"),
            found.of(of)?,
            "with flags",
            found.of("flags")?,
            goal(1.25, 1.1),
        );
    }
    Ok(())
}
