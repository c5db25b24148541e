//! The locks as the suite and its children have them.

use super::{LONG, PROCESS_ROUNDS, REGIONS, SHORT, SLACK, Trouble, fail};
use crate::shm::Geometry;
use crate::shm::layout::Shape;
use crate::shm::mapping::Mapping;
use crate::sync::lease::Lease;
use crate::sync::locks::{LockError, LockFile, LockPlace, LockStrategy, Locks, RegionGuard, lock_file_path};
use crate::sync::member::{Owner, SeatError, Seats};
use crate::sync::wait::wait_for;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Makes what a cache file's creator would make.
pub(super) fn make(strategy: &LockStrategy, place: &LockPlace) -> io::Result<()> {
    fs::create_dir(&place.directory)?;
    let (data, geometry) = (data_path(&place.directory), geometry()?);
    File::create_new(data)?.set_len(geometry.file_len)?;
    for number in 0..strategy.lock_files(place.regions) {
        File::create_new(lock_file_path(&place.directory, number))?;
    }
    strategy.prepare(place)
}

/// The file that stands for the cache file: nothing but seats and lock words is used of it.
fn data_path(directory: &Path) -> PathBuf {
    directory.with_file_name("data")
}

fn geometry() -> io::Result<Geometry> {
    let (stripes, lock_regions, seats) = (REGIONS, REGIONS, 16);
    let shape = Shape { capacity: 16 << 10, mean_item: 64, stripes, lock_regions, seats, namespaces: 1, claims: 1 };
    Geometry::new(shape).map_err(|bad| io::Error::other(bad.expected))
}

/// The locks as one process has them, with what they stand on.
pub(super) struct Attached {
    pub(super) locks: Locks,
    data: Mapping,
    geometry: Geometry,
    /// The strategy needs no other: a strategy of the caller's own knows nothing of seats.
    _lease: Option<Lease>,
}

impl Attached {
    pub(super) fn new(strategy: &LockStrategy, place: &LockPlace) -> io::Result<Self> {
        let (path, geometry) = (data_path(&place.directory), geometry()?);
        // Opened twice: a mapping keeps the locks of the open file that it was made from.
        let (data, file) = (LockFile::open(&path)?, OpenOptions::new().read(true).write(true).open(&path)?);
        let mapping = Mapping::new(&file, geometry.file_len, true)?;
        let (mut owner, mut lease) = (Owner::default(), None);
        if let LockStrategy::Lease = strategy {
            wait_for(LONG, || data.try_lock_exclusive())?.ok_or(io::ErrorKind::TimedOut)?;
            let seats = Seats { mem: &mapping, geometry: &geometry };
            let (own, held) = seats.take(&place.directory, 0o600, 0).map_err(no_seat)?;
            if !held.is_proof() {
                return Err(io::Error::other("in the temporary directory no lease proves anything"));
            }
            (owner, lease) = (own, Some(held));
        }
        Ok(Self { locks: strategy.attach(place, owner)?, data: mapping, geometry, _lease: lease })
    }

    pub(super) fn lock(&self, region: u32, limit: Duration) -> Result<RegionGuard<'_>, LockError> {
        self.locks.lock(Seats { mem: &self.data, geometry: &self.geometry }, region, limit)
    }
}

fn no_seat(error: SeatError) -> io::Error {
    match error {
        SeatError::Full => io::Error::other("all seats are taken"),
        SeatError::Lost(detail) => io::Error::new(io::ErrorKind::NotFound, detail),
        SeatError::Io(error) => error,
    }
}

/// Locks within a long limit.
pub(super) fn lock(locks: &Attached, region: u32) -> Result<RegionGuard<'_>, Trouble> {
    Ok(locks.lock(region, LONG)?)
}

/// Proves that a region is held: a wait for it ends in `Busy`, at its limit and not before.
pub(super) fn expect_busy(locks: &Attached, region: u32) -> Result<(), Trouble> {
    let start = Instant::now();
    let got = locks.lock(region, SHORT);
    let took = start.elapsed();
    match got {
        Ok(_) => Err(fail("a lock that somebody holds was given away")),
        Err(LockError::Failed(error)) => Err(fail(format!("expected Busy, found an error: {error}"))),
        Err(LockError::Busy) if took < SHORT => Err(fail(format!("Busy after {took:?}, the limit was {SHORT:?}"))),
        Err(LockError::Busy) if took > SHORT + SLACK => {
            Err(fail(format!("Busy only after {took:?}, the limit was {SHORT:?}")))
        }
        Err(LockError::Busy) => Ok(()),
    }
}

pub(super) fn counter_path(directory: &Path) -> PathBuf {
    directory.join("conformance-counter")
}

/// Adds to the number in a file, in a read and a write of its own.
pub(super) fn count_in_file(locks: &Attached, path: &Path) -> Result<(), Trouble> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    for _ in 0..PROCESS_ROUNDS {
        let _held = lock(locks, 0)?;
        let mut number = [0; 8];
        file.rewind()?;
        file.read_exact(&mut number)?;
        thread::yield_now();
        file.rewind()?;
        file.write_all(&(u64::from_le_bytes(number) + 1).to_le_bytes())?;
    }
    Ok(())
}
