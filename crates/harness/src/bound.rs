//! The time of the least work that a read from a file of a cell's size must do, measured with the same loop as the
//! cell's own reads.

use crate::keys::key;
use crate::limit::Limit;
use crate::load::draw;
use crate::plan::Cell;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Reads between two readings of the clock.
const BATCH: usize = 1024;

/// Measures how many nanoseconds a read takes from a [`Limit`] with as many buckets and keys as the cell's file. As in
/// the loop of a worker, the keys are known beforehand, so the processor works on several reads at the same time.
pub(crate) fn nanoseconds(
    cell: &Cell,
    buckets: u64,
    items: u32,
    seed: u64,
    measured: Duration,
    directory: &Path,
) -> io::Result<f64> {
    let path = directory.join("limit");
    let keys: Vec<_> = (0..u64::from(items)).map(key).collect();
    let limit = Limit::create(&path, buckets, &keys, cell.value_size)?;
    std::fs::remove_file(&path)?;
    let drawn = draw(&cell.keys, items, 0.0, seed)?;
    let mut into = vec![0; cell.value_size];
    let mut numbers = drawn.iter().cycle();
    let mut read = |for_time: Duration| {
        let (start, mut reads) = (Instant::now(), 0_u64);
        while start.elapsed() < for_time {
            numbers.by_ref().take(BATCH).for_each(|&number| {
                limit.get_into(&key(u64::from(number)), black_box(&mut into));
            });
            reads += BATCH as u64;
        }
        start.elapsed().as_nanos() as f64 / reads as f64
    };
    // The first pass maps the pages.
    read(measured / 4);
    Ok(read(measured))
}
