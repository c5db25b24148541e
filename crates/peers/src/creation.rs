//! Hits of calls that would create a value, and reads of records with an extension.

use crate::group::{Effort, interleave, subject};
use crate::keys::{Key, in_order, shuffled};
use crate::rows::{Table, goal};
use crate::stores::{kennel_cache, room};
use crate::walk::Walk;
use anyhow::{Result, bail, ensure};
use kennel::{Cache, CreateOptions, Expiry, Lookup, NamespaceOptions, SetOptions, record_size};
use kennel_harness::directory;
use std::hint::black_box;
use std::time::Duration;

const VALUE: [u8; 64] = [1; 64];

/// As many items as fit into 16 MiB.
fn items() -> u64 {
    (16 << 20) / record_size(size_of::<Key>(), VALUE.len())
}

fn never() -> Vec<u8> {
    unreachable!("all keys have values")
}

/// Hits of `get_or_create` on plain records, against `get`.
pub fn hits(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let cache = kennel_cache(&directory.path().join("cache"), "lease", room(items(), VALUE.len()), VALUE.len())?;
    in_order(items()).iter().try_for_each(|key| cache.set(key, VALUE))?;
    // A bucket that is full evicts, even where the cache has space.
    let mut keys = shuffled(items());
    keys.retain(|key| cache.contains(key));
    let how = CreateOptions::new();
    let [mut gets, mut creates, mut batches] = std::array::from_fn(|_| Walk::new(&keys));
    let subjects = vec![
        subject("get", |n| {
            (0..n).for_each(|_| drop(black_box(cache.get(gets.step(1)))));
            Ok(())
        }),
        subject("get_or_create hit", |n| {
            (0..n).try_for_each(|_| Ok(cache.get_or_create(creates.step(1), &how, never).map(drop)?))
        }),
        subject("get_or_create_multi of 16, hits", |n| {
            let mut left = n;
            while left > 0 {
                let keys = batches.next_few(left.min(16));
                let none = |_: &[&Key]| -> Vec<Option<Vec<u8>>> { unreachable!("all keys have values") };
                ensure!(cache.get_or_create_multi(keys, &how, none)?.len() == keys.len(), "too few values");
                left -= keys.len();
            }
            Ok(())
        }),
    ];
    let found = interleave("get_or_create, hits", effort, subjects)?;
    let hit = found.of("get_or_create hit")?;
    table.add("get_or_create hit", hit, "get", found.of("get")?, goal(1.25, 1.1));
    let multi = "get_or_create_multi of 16, hits";
    table.add(multi, found.of(multi)?, "get_or_create hit", hit, goal(0.6, 0.4));
    Ok(())
}

/// Hits of one key that is stale while another caller creates it, against hits of a key that is not.
pub fn stale_hits(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    for locks in ["lease", "file"] {
        let cache = kennel_cache(&directory.path().join(locks), locks, 1 << 20, VALUE.len())?;
        let how = |ms| CreateOptions::new().soft_expiry(Expiry::After(Duration::from_millis(ms)));
        let (fresh, stale) = (how(3_600_000), how(0));
        cache.get_or_create("fresh", &fresh, || VALUE.to_vec())?;
        cache.get_or_create("stale", &stale, || VALUE.to_vec())?;
        let Lookup::Create(_claim) = cache.claim("stale", &stale)? else { bail!("the stale key cannot be claimed") };
        let hits = |key: &'static str, how: CreateOptions| {
            let cache = cache.clone();
            move |n: usize| (0..n).try_for_each(|_| Ok(cache.get_or_create(key, &how, never).map(drop)?))
        };
        let subjects =
            vec![subject("fresh", hits("fresh", fresh.clone())), subject("stale", hits("stale", stale.clone()))];
        let found = interleave(&format!("stale hit while another creates, {locks}"), effort, subjects)?;
        let name = format!("stale hit while another creates, {locks}");
        table.add(&name, found.of("stale")?, "fresh hit", found.of("fresh")?, goal(2.5, 1.5));
    }
    Ok(())
}

/// Typed reads against reads of bytes that the caller decodes.
pub fn typed(effort: &Effort, table: &mut Table) -> Result<()> {
    type Order = (u64, [u32; 8], String);
    let order: Order = (1 << 40, [7; 8], "twenty-four bytes of it".to_owned());
    let directory = directory(None)?;
    let size = VALUE.len() + 32;
    let open = |name: &str| kennel_cache(&directory.path().join(name), "lease", room(items(), size), VALUE.len());
    let (typed, bytes) = (open("typed")?.typed::<Order>(), open("bytes")?);
    let encoded = postcard::to_allocvec(&order)?;
    for key in in_order(items()) {
        typed.set(key, &order)?;
        bytes.set(key, &encoded)?;
    }
    let keys = shuffled(items());
    let [mut one, mut other] = std::array::from_fn(|_| Walk::new(&keys));
    let subjects = vec![
        subject("typed get", |n| (0..n).try_for_each(|_| Ok(drop(black_box(typed.get(one.step(1))?))))),
        subject("get and decode", |n| {
            (0..n).try_for_each(|_| {
                let found = bytes.get(other.step(1));
                let decoded = found.map(|found| postcard::from_bytes::<Order>(&found)).transpose()?;
                Ok(drop(black_box(decoded)))
            })
        }),
    ];
    let found = interleave("typed values", effort, subjects)?;
    table.add("typed get", found.of("typed get")?, "get and decode", found.of("get and decode")?, goal(1.3, 1.1));
    Ok(())
}

/// Reads of records with flags, and of a namespace, against reads of plain ones.
pub fn extended(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let names = ["plain", "flags", "namespace"];
    let mut caches = Vec::new();
    for name in names {
        let size = VALUE.len() + 32;
        let cache = kennel_cache(&directory.path().join(name), "lease", room(items(), size), VALUE.len())?;
        let cache = if name == "namespace" { cache.namespace("n", &NamespaceOptions::new())? } else { cache };
        let how = SetOptions::new().flags(u32::from(name == "flags"));
        in_order(items()).iter().try_for_each(|key| cache.set_with(key, VALUE, &how).map(drop))?;
        caches.push((name, cache));
    }
    let keys = shuffled(items());
    let gets = |cache: &Cache| {
        let (cache, mut walk) = (cache.clone(), Walk::new(&keys));
        move |n: usize| {
            (0..n).for_each(|_| drop(black_box(cache.get(walk.step(1)))));
            Ok(())
        }
    };
    let subjects = caches.iter().map(|(name, cache)| subject(*name, gets(cache))).collect();
    let found = interleave("get of records with an extension", effort, subjects)?;
    for (of, name) in [("flags", "get of a record with flags"), ("namespace", "get of a namespace")] {
        table.add(name, found.of(of)?, "get of a plain record", found.of("plain")?, goal(1.25, 1.1));
    }
    Ok(())
}
