//! The locks of a strategy, as the suite and its children use them: through a cache file.

use crate::limits::{LONG, PROCESS_ROUNDS, REGIONS, SHORT, SLACK};
use crate::trouble::{Trouble, fail};
use kennel::{Cache, Error, LockStrategy, Options};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// A key with a value, for the checks of readers.
const KEY: &str = "key";

/// The locks of one process.
pub(crate) struct Attached(Cache);

impl Attached {
    /// Creates the cache file of a check in a directory.
    pub(crate) fn create(strategy: &LockStrategy, directory: &Path) -> Result<(), Error> {
        let options = options(strategy).capacity(256 << 10).stripes(REGIONS).lock_regions(REGIONS);
        options.create(cache_path(directory))?.set(KEY, "value")
    }

    pub(crate) fn open(strategy: &LockStrategy, directory: &Path) -> Result<Self, Trouble> {
        Self::open_with(&options(strategy), directory)
    }

    /// Opens the cache file for a reader that waits at most [`SHORT`] where reads take a lock.
    pub(crate) fn open_impatient(strategy: &LockStrategy, directory: &Path) -> Result<Self, Trouble> {
        Self::open_with(&options(strategy).lock_wait(SHORT), directory)
    }

    fn open_with(options: &Options, directory: &Path) -> Result<Self, Trouble> {
        options.open(cache_path(directory)).map(Self).map_err(|error| fail(error.to_string()))
    }

    /// Runs `work` while this thread holds a lock region, which it must get within a limit.
    pub(crate) fn hold_within<R>(&self, limit: Duration, region: u32, work: impl FnOnce() -> R) -> Result<R, Error> {
        self.0.with_lock_wait(limit).while_locked(region, work)
    }

    /// Runs `work` while this thread holds a lock region, which it must get within a long limit.
    pub(crate) fn hold<R>(&self, region: u32, work: impl FnOnce() -> R) -> Result<R, Trouble> {
        Ok(self.hold_within(LONG, region, work)?)
    }

    /// Whether a read finds the value.
    pub(crate) fn can_read(&self) -> bool {
        self.0.contains(KEY)
    }

    /// The directory of the cache's lock files; see `docs/format.md`.
    pub(crate) fn lock_directory(&self) -> PathBuf {
        let mut root = self.0.path().as_os_str().to_owned();
        root.push(".locks");
        PathBuf::from(root).join(self.0.stats().file_id)
    }

    /// Proves that a region is held: waiting for it ends in `Busy`, at its limit and not before.
    pub(crate) fn expect_busy(&self, region: u32) -> Result<(), Trouble> {
        let start = Instant::now();
        let got = self.hold_within(SHORT, region, || ());
        let took = start.elapsed();
        match got {
            Ok(()) => Err(fail("a lock was acquired although another owner holds it")),
            Err(Error::Busy { .. }) if took < SHORT => {
                Err(fail(format!("Busy after {took:?}, the limit was {SHORT:?}")))
            }
            Err(Error::Busy { .. }) if took > SHORT + SLACK => {
                Err(fail(format!("Busy only after {took:?}, the limit was {SHORT:?}")))
            }
            Err(Error::Busy { .. }) => Ok(()),
            Err(error) => Err(fail(format!("expected Busy, found an error: {error}"))),
        }
    }

    /// Adds to the number in a file, with a separate read and write for each addition.
    pub(crate) fn count_in_file(&self, path: &Path) -> Result<(), Trouble> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        for _ in 0..PROCESS_ROUNDS {
            self.hold(0, || add_one(&mut file))??;
        }
        Ok(())
    }
}

fn add_one(file: &mut File) -> std::io::Result<()> {
    let mut number = [0; 8];
    file.rewind()?;
    file.read_exact(&mut number)?;
    thread::yield_now();
    file.rewind()?;
    file.write_all(&(u64::from_le_bytes(number) + 1).to_le_bytes())
}

fn options(strategy: &LockStrategy) -> Options {
    Options::new().locks(strategy.clone()).lock_wait(LONG)
}

fn cache_path(directory: &Path) -> PathBuf {
    directory.join("cache")
}

/// The file that holds the number of [`Attached::count_in_file`].
pub(crate) fn counter_path(directory: &Path) -> PathBuf {
    directory.join("counter")
}
