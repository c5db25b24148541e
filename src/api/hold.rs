//! Holding the lock of a region for longer than a write takes.

use super::cache::Cache;
use super::stripe_lock::Patience;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

impl Cache {
    /// Runs `work` while this thread holds the lock of one region: meanwhile no other thread and no other process
    /// writes to the region's stripes. Reads continue, except with the strategy `rw-file`, whose readers lock, too.
    /// With the strategy `none`, no lock is taken, and no other writer is excluded.
    ///
    /// Lock regions are numbered from 0 to [`Stats::lock_regions`](crate::Stats::lock_regions) - 1. By default each
    /// stripe is a region of its own, with the same number.
    ///
    /// This is for tests: whether a program copes with a stripe that stays locked for long, and whether a custom [lock
    /// strategy](crate::locks) excludes other writers. If `work` itself writes to the region, it also gets
    /// [`Busy`](Error::Busy), because the region is already locked.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().stripes(1).create(dir.path().join("cache"))?;
    /// let impatient = cache.with_lock_wait(Duration::from_millis(10));
    /// let refused = cache.while_locked(0, || impatient.set("greeting", "hello"))?;
    /// assert!(matches!(refused, Err(kennel::Error::Busy { .. })));
    /// impatient.set("greeting", "hello")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Busy`](Error::Busy) if another thread or process held the region for all of [`lock_wait`](Self::lock_wait);
    /// [`BadOption`](Error::BadOption) if the file has no such region; and the errors of [`set`](Cache::set), such as
    /// [`ReadOnly`](Error::ReadOnly).
    pub fn while_locked<R>(&self, region: u32, work: impl FnOnce() -> R) -> Result<R> {
        let mut work = Some(work);
        self.while_open(|| {
            // For longer than a call, because `work` may take long.
            let file = Arc::clone(&*self.current()?);
            let regions = file.geometry().shape.lock_regions;
            if region >= regions {
                return Err(Error::BadOption {
                    option: "lock_region",
                    given: region.to_string(),
                    expected: format!("one of the file's {regions} lock regions, which are numbered from 0"),
                });
            }
            // The first stripe of a lock region has the region's number.
            let _held = Patience::of_thread(self.lock_wait).lock_region(&file, region, Duration::MAX)?;
            // If the file is closed, holding its lock keeps no process from writing to the successor.
            file.must_be_open()?;
            Ok(work.take().map(|work| work()))
        })
        .map(|done| done.unwrap_or_else(|| unreachable!("the work is done once, in a file that is open")))
    }
}
