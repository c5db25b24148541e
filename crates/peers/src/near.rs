//! The look of a caller that keeps what it decoded from a value, beside a read of the value.

use crate::group::{Effort, interleave, subject};
use crate::keys::{Key, key, shuffled};
use crate::rows::{Goal, Table, goal};
use crate::stores::{Store, kennel_cache, room};
use crate::walk::Walk;
use anyhow::{Context, Result, ensure};
use kennel::{Cache, Changed, ItemId};
use kennel_harness::directory;
use std::hint::black_box;

/// Few enough that index and records stay in the processor's caches, where a look gains least.
const ITEMS: u64 = 256;

/// The sizes of values, each with its goal.
const SIZES: [(usize, Option<Goal>); 3] =
    [(64, goal(0.85, 0.7)), (1 << 10, goal(0.3, 0.2)), (16 << 10, goal(0.1, 0.05))];

/// Looks at values that have not changed.
pub fn unchanged(effort: &Effort, table: &mut Table) -> Result<()> {
    SIZES.into_iter().try_for_each(|(size, goal)| of_size(effort, table, size, goal))
}

fn of_size(effort: &Effort, table: &mut Table, size: usize, goal: Option<Goal>) -> Result<()> {
    let directory = directory(None)?;
    let cache = kennel_cache(&directory.path().join("cache"), "process", room(ITEMS, size) * 2, size)?;
    (0..ITEMS).try_for_each(|number| Store::set(&cache, &key(number), &vec![1; size]))?;
    let keys = shuffled(ITEMS);
    let ids = keys.iter().map(|key| cache.get_item(key).map(|item| item.id())).collect::<Option<Vec<_>>>();
    let ids = ids.context("a value was evicted")?;
    let mut walks = [Walk::new(&keys), Walk::new(&keys)];
    let [get, look] = &mut walks;
    // In the order of the walk.
    let mut next = ids.iter().cycle();
    let title = format!("look at an unchanged value of {size} B");
    let found = interleave(
        &title,
        effort,
        vec![
            subject("get", |n| all(get, n, |key| black_box(cache.get(key)).is_some())),
            subject("get_if_changed", |n| all(look, n, |key| next.next().is_some_and(|id| is_same(&cache, key, *id)))),
        ],
    )?;
    table.add(&title, found.of("get_if_changed")?, "get", found.of("get")?, goal);
    Ok(())
}

fn is_same(cache: &Cache, key: &Key, id: ItemId) -> bool {
    matches!(cache.get_if_changed(key, id), Ok(Some(Changed::Same { .. })))
}

fn all(walk: &mut Walk<'_>, n: usize, mut get: impl FnMut(&Key) -> bool) -> Result<()> {
    for _ in 0..n {
        ensure!(get(black_box(walk.step(1))), "a key is missing, or its value has changed");
    }
    Ok(())
}
