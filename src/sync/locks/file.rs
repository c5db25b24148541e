//! Strategy `file`: one lock file per lock region.

use super::contract::{LockError, LockPlace, lock_file_path};
use super::process::Flag;
use crate::platform;
use crate::sync::lock_file::LockFile;
use crate::sync::wait::Waited;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct FileLocks(Vec<Region>);

struct Region {
    /// Excludes the threads of this process from each other: they share one open file, which the `flock` belongs to.
    front: Flag,
    /// Opened at the first use: most processes use only a few of many regions.
    file: SharedFile,
    /// The last holder failed to unlock: the file is still locked by this process although no thread holds the region.
    stuck: AtomicBool,
}

impl FileLocks {
    pub(super) fn new(place: &LockPlace) -> Self {
        let region = |number| Region {
            front: Flag::default(),
            file: SharedFile::new(place, number),
            stuck: AtomicBool::new(false),
        };
        Self((0..place.regions).map(region).collect())
    }

    /// Locks a region; returns how long it waited.
    pub(super) fn lock(&self, number: u32, limit: Duration) -> Result<Waited, LockError> {
        let region = &self.0[number as usize];
        let try_lock = || Ok(region.stuck.load(Ordering::Relaxed) || region.file.with(LockFile::try_lock_exclusive)?);
        region.front.lock(limit, try_lock)
    }

    pub(super) fn unlock(&self, number: u32) {
        let region = &self.0[number as usize];
        // Unlocking a locked file does not fail. If it did, this process would still own the lock, and its next thread
        // would use it.
        region.stuck.store(!region.file.unlock(), Ordering::Relaxed);
        region.front.clear();
    }
}

/// A lock file that the threads of this process share. It is opened at its first use, and again if the program has
/// closed its descriptor.
pub(super) struct SharedFile {
    path: PathBuf,
    inode: u64,
    file: Mutex<Option<Marked>>,
}

impl SharedFile {
    /// The lock file of this number at a place.
    pub(super) fn new(place: &LockPlace, number: u32) -> Self {
        let inode = place.inodes.get(number as usize).copied().unwrap_or(0);
        Self { path: lock_file_path(&place.directory, number), inode, file: Mutex::new(None) }
    }

    /// Calls `work` with the file.
    pub(super) fn with<R>(&self, work: impl FnOnce(&LockFile) -> io::Result<R>) -> io::Result<R> {
        let mut file = self.file();
        if !file.as_ref().is_some_and(Marked::is_own) {
            *file = None;
        }
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(Marked::new(LockFile::open_known(&self.path, "lock file", self.inode)?)),
        };
        work(&file.file)
    }

    /// Unlocks the file; `false` if it is still locked. If its descriptor is gone, so is the lock.
    pub(super) fn unlock(&self) -> bool {
        let file = self.file();
        file.as_ref().is_none_or(|file| fs2::FileExt::unlock(&*file.file).is_ok() || !file.file.is_own())
    }

    fn file(&self) -> MutexGuard<'_, Option<Marked>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open lock file whose descriptor is marked by its file position, at which nothing is read or written.
///
/// A daemon closes all descriptors that it has inherited, and opens files of its own, which get the same numbers; such
/// a file must not be locked. Reading the position takes little more than half the time of reading the file's identity.
struct Marked {
    file: LockFile,
    mark: u64,
}

impl Marked {
    fn new(file: LockFile) -> Self {
        let mark = mark_of(file.identity());
        // Where a descriptor cannot be set to this position, each lock reads the identity instead.
        let _ = (&*file).seek(SeekFrom::Start(mark));
        Self { file, mark }
    }

    /// Whether the descriptor carries the mark, or at least leads to the same file.
    fn is_own(&self) -> bool {
        self.is_marked() || self.file.is_own()
    }

    fn is_marked(&self) -> bool {
        (&*self.file).stream_position().is_ok_and(|position| position == self.mark)
    }
}

/// The mark for a file's descriptor: a position below the file size limit of the common file systems and above the
/// length of nearly all files. It differs between lock files, of which a process may have many.
fn mark_of(file: platform::Identity) -> u64 {
    const ABOVE: u64 = 1 << 39;
    let spread = file.device.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ABOVE | file.inode.wrapping_add(spread) & (ABOVE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_one_lock_file_only() {
        let dir = tempfile::tempdir().unwrap();
        let marked = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            Marked::new(LockFile::open(&path).unwrap())
        };
        let (one, other) = (marked("0"), marked("1"));
        assert!(one.is_marked() && other.is_marked());
        assert!(!Marked { file: other.file, mark: one.mark }.is_marked(), "the lock file of another region");
        let opened_by_others = LockFile::open(&dir.path().join("0")).unwrap();
        assert!(!Marked { file: opened_by_others, mark: one.mark }.is_marked(), "a descriptor of the same file");
    }
}
