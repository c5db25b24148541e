//! What a process pays to begin: opening a cache file, one read, and closing it.

use crate::group::{Effort, interleave, subject};
use crate::rows::Table;
use crate::stores::kennel_cache;
use anyhow::{Result, ensure};
use kennel::Options;
use kennel_harness::directory;
use std::fs::File;
use std::hint::black_box;

const CAPACITY: u64 = 64 << 20;

/// Opening, a read and closing, against the bare calls that open, examine and close a file.
pub fn open_get_close(effort: &Effort, table: &mut Table) -> Result<()> {
    let directory = directory(None)?;
    let path = directory.path().join("cache");
    // Another process usually has the file open, too.
    let other = kennel_cache(&path, "lease", CAPACITY, 64)?;
    other.set("key", "value")?;
    let found = interleave(
        "open, get, close",
        effort,
        vec![
            subject("open, get, close", |n| {
                (0..n).try_for_each(|_| {
                    let cache = Options::new().open(&path)?;
                    ensure!(black_box(cache.get("key")).is_some(), "the key is missing");
                    Ok(())
                })
            }),
            subject("open, examine, close a file", |n| {
                (0..n).try_for_each(|_| {
                    black_box(File::open(&path)?.metadata()?);
                    Ok(())
                })
            }),
        ],
    )?;
    let (own, bare) = ("open, get, close", "open, examine, close a file");
    table.add(own, found.of(own)?, bare, found.of(bare)?, None);
    Ok(())
}
