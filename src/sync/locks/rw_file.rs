//! Strategy `rw-file`: one reader/writer lock file for the whole cache.

use super::file::{open_lock_file, try_lock_exclusive, try_lock_shared};
use super::process::Flag;
use super::strategy::LockPlace;
use super::{LockError, Mode};
use crate::sync::fork::LockFile;
use crate::sync::wait::wait_for;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The threads of a process share one open file and so one `flock`: the first reader takes it, the last
/// one gives it back, and a writer needs all of it.
pub(crate) struct RwFileLock {
    file: LockFile,
    /// Held by a writer throughout, by a reader only while it comes or goes.
    front: Flag,
    readers: AtomicU32,
}

impl RwFileLock {
    pub(super) fn open(place: &LockPlace) -> io::Result<Self> {
        let inode = place.inodes.first().copied().unwrap_or(0);
        let file = open_lock_file(&place.directory, 0, inode)?;
        Ok(Self { file, front: Flag::default(), readers: AtomicU32::new(0) })
    }

    /// Returns whether it had to wait.
    pub(super) fn lock(&self, limit: Duration, mode: Mode) -> Result<bool, LockError> {
        let waited = wait_for(limit, || {
            if !self.front.try_set() {
                return Ok(false);
            }
            let got = match mode {
                Mode::Shared => self.enter_shared(),
                Mode::Exclusive => self.enter_exclusive(),
            };
            // A writer keeps the front; everybody else clears it again.
            if mode == Mode::Shared || !matches!(got, Ok(true)) {
                self.front.clear();
            }
            got
        })?;
        waited.ok_or(LockError::Busy)
    }

    fn enter_shared(&self) -> io::Result<bool> {
        let first = self.readers.load(Ordering::Relaxed) == 0;
        if first && !try_lock_shared(&self.file)? {
            return Ok(false);
        }
        self.readers.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn enter_exclusive(&self) -> io::Result<bool> {
        if self.readers.load(Ordering::Relaxed) > 0 {
            return Ok(false);
        }
        try_lock_exclusive(&self.file)
    }

    pub(super) fn unlock(&self, mode: Mode) {
        if mode == Mode::Shared {
            // The front is held for moments by those who come or go, or by a writer only while none reads.
            while !self.front.try_set() {
                std::thread::yield_now();
            }
            if self.readers.fetch_sub(1, Ordering::Relaxed) > 1 {
                self.front.clear();
                return;
            }
        }
        // Unlocking an open file that is locked does not fail.
        let _ = fs2::FileExt::unlock(&*self.file);
        self.front.clear();
    }
}
