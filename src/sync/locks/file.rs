//! Strategy `file`: one lock file per lock region.

use super::contract::{LockError, LockPlace, lock_file_path};
use super::process::Flag;
use crate::platform;
use crate::sync::lock_file::LockFile;
use crate::sync::wait::wait_for;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct FileLocks {
    directory: PathBuf,
    regions: Vec<Region>,
}

struct Region {
    /// An `flock` belongs to the open file: the threads that share it exclude each other by this.
    front: Flag,
    /// Opened at the first use; most processes touch few of many regions.
    file: SharedFile,
    /// The last holder could not unlock: the file is locked by us although nobody holds it.
    stuck: AtomicBool,
}

impl FileLocks {
    pub(super) fn new(place: &LockPlace) -> Self {
        let region = |number| Region {
            front: Flag::default(),
            file: SharedFile::new(number, place.inodes.get(number as usize).copied().unwrap_or(0)),
            stuck: AtomicBool::new(false),
        };
        Self { directory: place.directory.clone(), regions: (0..place.regions).map(region).collect() }
    }

    /// Returns whether it had to wait.
    pub(super) fn lock(&self, number: u32, limit: Duration) -> Result<bool, LockError> {
        let region = &self.regions[number as usize];
        let waited = wait_for(limit, || {
            if !region.front.try_set() {
                return Ok(false);
            }
            let got = region.try_lock(&self.directory);
            if !matches!(got, Ok(true)) {
                region.front.clear();
            }
            got
        })?;
        waited.ok_or(LockError::Busy)
    }

    pub(super) fn unlock(&self, number: u32) {
        let region = &self.regions[number as usize];
        // Unlocking an open file that is locked does not fail; should it, we still own the lock, and the next of our
        // threads goes on with it.
        region.stuck.store(!region.file.unlock(), Ordering::Relaxed);
        region.front.clear();
    }
}

impl Region {
    /// Called by the thread that holds the front.
    fn try_lock(&self, directory: &Path) -> io::Result<bool> {
        if self.stuck.load(Ordering::Relaxed) {
            return Ok(true);
        }
        self.file.with(directory, LockFile::try_lock_exclusive)
    }
}

/// A lock file as the threads of this process share it. It is opened at its first use, and again if somebody closed its
/// descriptor.
pub(super) struct SharedFile {
    number: u32,
    inode: u64,
    file: Mutex<Option<Marked>>,
}

impl SharedFile {
    pub(super) fn new(number: u32, inode: u64) -> Self {
        Self { number, inode, file: Mutex::new(None) }
    }

    /// Does something with the file, which lies in this directory.
    pub(super) fn with<R>(&self, directory: &Path, work: impl FnOnce(&LockFile) -> io::Result<R>) -> io::Result<R> {
        let mut file = self.file();
        if !file.as_ref().is_some_and(Marked::is_own) {
            *file = None;
        }
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(Marked::new(open_lock_file(directory, self.number, self.inode)?)?),
        };
        work(&file.file)
    }

    /// Unlocks the file; `false`: it is locked still. With its descriptor a lock has gone, too.
    pub(super) fn unlock(&self) -> bool {
        let file = self.file();
        file.as_ref().is_none_or(|file| fs2::FileExt::unlock(&*file.file).is_ok() || !file.file.is_own())
    }

    fn file(&self) -> MutexGuard<'_, Option<Marked>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open lock file, its descriptor at a position where nothing is read or written, as a mark.
///
/// A daemon closes all descriptors that it has inherited, and opens files of its own, which get their numbers: one of those
/// must not be locked. To ask for the position takes little more than half of the time that it takes to ask which file it
/// is.
struct Marked {
    file: LockFile,
    mark: u64,
}

impl Marked {
    fn new(file: LockFile) -> io::Result<Self> {
        let mark = mark_of(file.identity());
        // Where a descriptor cannot be there, each lock asks which file it is.
        let _ = (&*file).seek(SeekFrom::Start(mark));
        Ok(Self { file, mark })
    }

    /// Whether the descriptor is the one that was marked, or at least leads to the same file.
    fn is_own(&self) -> bool {
        self.is_marked() || self.file.is_own()
    }

    fn is_marked(&self) -> bool {
        (&*self.file).stream_position().is_ok_and(|position| position == self.mark)
    }
}

/// A position for a file's descriptor, below what the common file systems allow for any file, and above the length of
/// nearly all. Lock files, which a process may have many of, differ in it.
fn mark_of(file: platform::Identity) -> u64 {
    const ABOVE: u64 = 1 << 39;
    let spread = file.device.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ABOVE | file.inode.wrapping_add(spread) & (ABOVE - 1)
}

/// Opens a lock file that must exist and be the one that was made with the cache file.
fn open_lock_file(directory: &Path, number: u32, inode: u64) -> io::Result<LockFile> {
    let path = lock_file_path(directory, number);
    let explain = |why: String| {
        let advice = "a lock that not all processes share protects nothing; destroy the cache file and create it anew";
        io::Error::new(io::ErrorKind::NotFound, format!("lock file {}: {why}; {advice}", path.display()))
    };
    let file = LockFile::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => explain("expected the file that was made with the cache, found none".into()),
        // No regular file.
        io::ErrorKind::InvalidInput => explain(format!("{error}: it was replaced")),
        kind => io::Error::new(kind, format!("lock file {}: {error}", path.display())),
    })?;
    let found = file.identity().inode;
    if inode != 0 && found != inode {
        return Err(explain(format!("expected inode {inode}, found {found}: it was replaced")));
    }
    Ok(file)
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
            Marked::new(LockFile::open(&path).unwrap()).unwrap()
        };
        let (one, other) = (marked("0"), marked("1"));
        assert!(one.is_marked() && other.is_marked());
        assert!(!Marked { file: other.file, mark: one.mark }.is_marked(), "the lock file of another region");
        let opened_by_others = LockFile::open(&dir.path().join("0")).unwrap();
        assert!(!Marked { file: opened_by_others, mark: one.mark }.is_marked(), "a descriptor of the same file");
    }
}
