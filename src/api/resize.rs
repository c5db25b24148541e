//! Changing the size of a cache file that is in use.

use super::cache::Cache;
use super::stripe_lock::growing_wait;
use super::waiting::Wait;
use crate::error::{Error, Result};
use crate::file::resize::{NewSizes, resize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many changed buckets are copied before the closed file is opened again for a moment. They take some
/// milliseconds.
const CLOSED_COPIES: u64 = 2048;

/// Options of [`Cache::resize`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ResizeOptions {
    mean_item: Option<u64>,
    wait: Wait,
}

impl ResizeOptions {
    /// The file's present mean item size, and a wait of at most 30 seconds for locked keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The expected mean size of key and value together, in bytes: see
    /// [`Options::mean_item`](crate::Options::mean_item). By default it stays unchanged.
    #[must_use]
    pub fn mean_item(mut self, bytes: u64) -> Self {
        self.mean_item = Some(bytes);
        self
    }

    /// How long to wait until no key is [locked](Cache::lock), since such locks cannot move to another file; default 30
    /// seconds.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }
}

/// The result of [`Cache::resize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resized {
    /// The capacity before, in bytes.
    pub capacity_before: u64,
    /// The capacity now, in bytes.
    pub capacity: u64,
    /// The number of items before. An expired item counts until its memory is needed.
    pub items_before: u64,
    /// The number of items in the new file.
    pub items: u64,
    /// The number of creations that were in progress. Their values were not stored.
    pub voided: u64,
    /// How long the whole call took.
    pub took: Duration,
    /// The longest time for which the file was closed to writers without a break. It may have been closed several
    /// times.
    pub closed_for: Duration,
}

impl Cache {
    /// Changes the capacity of the file to this number of bytes, while all processes continue to use it. A new file
    /// gets the items, namespaces, counters and invalidations of the old one, and takes its place. All handles of all
    /// processes switch to it at their next call.
    ///
    /// Reads do not miss because of the resize, unless not all items fit: then the most used ones are kept. Writers
    /// wait for some milliseconds at the end; if they write without pauses, they wait many times, and can write for a
    /// moment between two waits. Stamps stay the same, so near copies and [`compare_and_swap`](Cache::compare_and_swap)
    /// continue to work. Creations in progress are voided: their callers get their values, but the values are not
    /// stored. The call waits until no key is [locked](Cache::lock). The old file exists until the last process has
    /// switched, so there must be room for both files.
    ///
    /// The numbers of stripes and lock regions follow the capacity as in a new file, unless the creator of the file
    /// chose other numbers. The size of the largest item follows the size of a stripe.
    ///
    /// If the calling process is killed, the file stays as it was. Programs that open the file with another capacity
    /// than the new one get [`Mismatch`](Error::Mismatch) from their next start on, so change their configuration, too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(1 << 20).create(dir.path().join("cache"))?;
    /// use kennel::ResizeOptions;
    /// cache.set("greeting", "hello")?;
    /// let resized = cache.resize(8 << 20, &ResizeOptions::new())?;
    /// assert_eq!((resized.capacity, resized.items), (8 << 20, 1));
    /// assert_eq!(cache.get("greeting").as_deref(), Some(&b"hello"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NotResized`](Error::NotResized) if keys stay locked, if another process is resizing the file, if this process
    /// cannot give the new file the owner, group and mode of the old one, and with the strategy `none`;
    /// [`BadOption`](Error::BadOption) for sizes that no file can have; [`NoSpace`](Error::NoSpace);
    /// [`Busy`](Error::Busy) if a stripe stays locked; and the errors of [`set`](Cache::set). After an error the file
    /// is as it was.
    pub fn resize(&self, capacity: u64, how: &ResizeOptions) -> Result<Resized> {
        self.resize_in_rounds(capacity, how, CLOSED_COPIES)
    }

    fn resize_in_rounds(&self, capacity: u64, how: &ResizeOptions, closed_copies: u64) -> Result<Resized> {
        let began = Instant::now();
        let until = match how.wait {
            Wait::Forever => None,
            wait => wait.deadline(began),
        };
        let old = Arc::clone(&*self.current()?);
        let done = resize(&old, &NewSizes { capacity, mean_item: how.mean_item, until, closed_copies })?;
        drop(old);
        // This releases the old file as soon as possible.
        drop(self.current());
        Ok(Resized {
            capacity_before: done.before.capacity,
            capacity: done.after.capacity,
            items_before: done.items.0,
            items: done.items.1,
            voided: done.voided,
            took: began.elapsed(),
            closed_for: done.closed_for,
        })
    }

    /// Calls `write`. If `write` found the file closed, calls it again until the file is open or has a successor.
    #[inline(always)]
    pub(super) fn while_open<R>(&self, mut write: impl FnMut() -> Result<R>) -> Result<R> {
        match write() {
            Ok(done) => Ok(done),
            Err(error) => self.once_open(error, &mut write),
        }
    }

    /// [`while_open`](Self::while_open) after a first call of `write` that failed with this error, which may be any
    /// error.
    #[cold]
    #[inline(never)]
    fn once_open<R>(&self, error: Error, write: &mut dyn FnMut() -> Result<R>) -> Result<R> {
        if !error.says_closed() {
            return Err(error);
        }
        let (began, mut last) = (Instant::now(), error);
        for attempt in 0.. {
            let left = self.lock_wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(growing_wait(attempt).min(left));
            match write() {
                Err(error) if error.says_closed() => last = error,
                done => return done,
            }
        }
        Err(match last {
            Error::Busy { stripe, .. } => Error::Busy { stripe, waited: self.lock_wait },
            error => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    const KEYS: u32 = 100;
    const MIB: u64 = 1 << 20;

    /// Writes the keys from `first` on without a pause, and checks that each key has the value that was written last.
    fn write_until(stop: &AtomicBool, cache: &Cache, first: u32) {
        let mut last = [0; KEYS as usize];
        for round in 1.. {
            for (key, value) in (first..).zip(&mut last) {
                let found =
                    cache.get(key.to_le_bytes()).map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap());
                assert_eq!(found, *value, "key {key}");
                cache.set(key.to_le_bytes(), round.to_string()).unwrap();
                *value = round;
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    #[test]
    fn what_is_written_between_two_rounds_is_copied_too() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Options::new().capacity(4 * MIB).stripes(4).create(folder.path().join("cache")).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers = [0, KEYS].map(|first| {
                scope.spawn({
                    let (cache, stop) = (&cache, &stop);
                    move || write_until(stop, cache, first)
                })
            });
            // So few copies at a time that the resize takes many rounds.
            let resized = [8, 4].map(|size| cache.resize_in_rounds(size * MIB, &ResizeOptions::new(), 4));
            stop.store(true, Ordering::Relaxed);
            assert!(resized.iter().all(Result::is_ok), "{resized:?}");
            writers.into_iter().for_each(|writer| writer.join().unwrap());
        });
    }
}
