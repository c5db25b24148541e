//! Holding a lock region for longer than a write takes.

use super::cache::Cache;
use super::stripe_lock::Patience;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

impl Cache {
    /// Runs `work` while this thread holds one lock region: no other thread and no other process writes to the region's
    /// stripes meanwhile. Reads continue, except under strategy `rw-file`, whose readers lock, too. Strategy `none`
    /// takes no lock and excludes no other writer.
    ///
    /// Lock regions are numbered from 0 to one below [`Stats::lock_regions`](crate::Stats::lock_regions). By default
    /// each stripe is a region of its own, with the same number.
    ///
    /// This is for tests: of a program, whether it copes with a stripe that is locked for long, and of a [lock
    /// strategy](crate::locks) of your own, whether it excludes other writers. A write to the region by `work` itself
    /// also fails with [`Busy`](Error::Busy), since the region is locked already.
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
    /// [`Busy`](Error::Busy) if another thread or process held the region for all of [`lock_wait`](Self::lock_wait),
    /// [`BadOption`](Error::BadOption) if the file has no such region, [`ReadOnly`](Error::ReadOnly).
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
            // In a closed file a held lock keeps nobody from writing to the successor.
            file.must_be_open()?;
            Ok(work.take().map(|work| work()))
        })
        .map(|done| done.unwrap_or_else(|| unreachable!("the work is done once, in a file that is open")))
    }
}
