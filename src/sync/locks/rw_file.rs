//! Strategy `rw-file`: one reader/writer lock file for the whole cache.

use super::contract::{LockError, LockPlace, Mode};
use super::file::SharedFile;
use super::process::Flag;
use crate::sync::lock_file::LockFile;
use crate::sync::wait::Waited;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The threads of a process share one open file, and so one `flock`: its first reader takes the shared lock, its last
/// reader releases it, and a writer takes the exclusive lock.
pub(crate) struct RwFileLock {
    file: SharedFile,
    /// A writer holds this flag as long as the lock, a reader only while it locks or unlocks.
    front: Flag,
    readers: AtomicU32,
}

impl RwFileLock {
    pub(super) fn open(place: &LockPlace) -> io::Result<Self> {
        let file = SharedFile::new(place, 0);
        file.with(|_| Ok(()))?;
        Ok(Self { file, front: Flag::default(), readers: AtomicU32::new(0) })
    }

    /// Locks the file in `mode`; returns how long it waited.
    pub(super) fn lock(&self, limit: Duration, mode: Mode) -> Result<Waited, LockError> {
        match mode {
            Mode::Exclusive => self.front.lock(limit, || self.enter_exclusive()),
            Mode::Shared => {
                let waited = self.front.lock(limit, || self.enter_shared())?;
                self.front.clear();
                Ok(waited)
            }
        }
    }

    fn enter_shared(&self) -> io::Result<bool> {
        let first = self.readers.load(Ordering::Relaxed) == 0;
        if first && !self.file.with(LockFile::try_lock_shared)? {
            return Ok(false);
        }
        self.readers.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn enter_exclusive(&self) -> io::Result<bool> {
        if self.readers.load(Ordering::Relaxed) > 0 {
            return Ok(false);
        }
        self.file.with(LockFile::try_lock_exclusive)
    }

    pub(super) fn unlock(&self, mode: Mode) {
        if mode == Mode::Shared {
            // This wait is short: other threads hold the flag only while they lock or unlock, since no writer can hold
            // the lock while this thread reads.
            while !self.front.try_set() {
                std::thread::yield_now();
            }
            if self.readers.fetch_sub(1, Ordering::Relaxed) > 1 {
                self.front.clear();
                return;
            }
        }
        // Unlocking a locked file does not fail.
        self.file.unlock();
        self.front.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::lock_file_path;
    use super::*;
    use std::path::Path;

    #[test]
    fn the_readers_of_one_process_share_and_the_last_one_gives_the_lock_back() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(lock_file_path(directory.path(), 0), "").unwrap();
        let attach = |directory: &Path| RwFileLock::open(&LockPlace::new(directory, 1)).unwrap();
        let (lock, other) = (attach(directory.path()), attach(directory.path()));
        let try_lock = |lock: &RwFileLock, mode| lock.lock(Duration::ZERO, mode).is_ok();
        for _ in 0..2 {
            assert!(try_lock(&lock, Mode::Shared));
        }
        for _ in 0..2 {
            assert!(!try_lock(&lock, Mode::Exclusive) && !try_lock(&other, Mode::Exclusive));
            lock.unlock(Mode::Shared);
        }
        assert!(try_lock(&other, Mode::Exclusive));
        assert!(!try_lock(&lock, Mode::Shared) && !try_lock(&lock, Mode::Exclusive));
        other.unlock(Mode::Exclusive);
        assert!(try_lock(&lock, Mode::Exclusive));
    }
}
