//! Large pages against small ones.

use crate::group::{Effort, interleave, subject};
use crate::keys::{Key, in_order, shuffled};
use crate::rows::{Table, goal};
use crate::stores::{Store, kennel_cache_in, room};
use crate::walk::{Walk, one_after_another};
use anyhow::Result;
use kennel::{Cache, LargePages, record_size};
use kennel_harness::directory;
use std::hint::black_box;

const VALUE: [u8; 64] = [1; 64];

/// Reads and overwrites of random keys in 1 GiB of values of 64 bytes.
pub fn large_against_small(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let items = (1 << 30) / record_size(size_of::<Key>(), VALUE.len());
    let filled = |large: LargePages| -> Result<Cache> {
        let path = directory.path().join(large.name());
        let cache = kennel_cache_in(large, &path, "lease", room(items, VALUE.len()), VALUE.len())?;
        in_order(items).iter().try_for_each(|key| cache.set(key, VALUE))?;
        Ok(cache)
    };
    let (large, small) = (filled(LargePages::Always)?, filled(LargePages::Never)?);
    let file_size = large.stats().file_size;
    let mapped = large.large_mapped().unwrap_or(0);
    if mapped * 2 < file_size {
        let why = format_args!("the system gave large pages to {} of {} MiB", mapped >> 20, file_size >> 20);
        table.leave_out("large pages", why);
        return Ok(());
    }
    let mut keys = shuffled(items);
    keys.retain(|key| large.contains(key) && small.contains(key));
    let mut walks: [Walk<'_>; 4] = std::array::from_fn(|_| Walk::new(&keys));
    let mut into = [VALUE; 2];
    let ([a, b, c, d], [one, other]) = (&mut walks, &mut into);
    let read = |cache: &Cache, walk: &mut Walk<'_>, into: &mut [u8], n| {
        one_after_another(walk, into, n, |key, into| Store::get(cache, key, into))
    };
    let write = |cache: &Cache, walk: &mut Walk<'_>, n: usize| {
        (0..n).try_for_each(|_| Store::set(cache, walk.step(1), black_box(&VALUE)))
    };
    let found = interleave(
        "large pages, 1 GiB",
        effort,
        vec![
            subject("get_into, large", |n| read(&large, a, one, n)),
            subject("get_into, small", |n| read(&small, b, other, n)),
            subject("set, large", |n| write(&large, c, n)),
            subject("set, small", |n| write(&small, d, n)),
        ],
    )?;
    for call in ["get_into", "set"] {
        let (own, other) = (found.of(&format!("{call}, large"))?, found.of(&format!("{call}, small"))?);
        table.add(&format!("{call} 64 B, 1 GiB, large pages"), own, "small pages", other, goal(0.78, 0.68));
    }
    Ok(())
}
