//! A member's lease: an exclusive lock on a file, held exactly as long as the member lives.
//!
//! On Linux a *mapping* of the file holds the lock: the descriptor is closed, and the open file description with its
//! lock lives on for as long as the page is mapped. Nothing that a program does to its descriptors can lose such a
//! lease, and a forked child does not get the mapping, so no child keeps the lease after the member has died. Two cases
//! need care:
//!
//! * a child forked after the page is mapped but before it is marked as not inherited would get the mapping. So both
//!   steps happen under the mutex that a fork takes first;
//! * on a file system that is laid over others (overlayfs) the mapping belongs to the file beneath, and the lock is
//!   lost with the descriptor. Overlayfs is recognized by its file system number, any other such system by a test: if a
//!   second descriptor can take the lock, too, that descriptor holds the lease instead. File systems that are known not
//!   to be laid over others need no test.
//!
//! On such file systems, and on other operating systems, a descriptor holds the lease; a forked child closes it.

use super::fork::Unforked;
use super::lock_file::LockFile;
use crate::platform;
use memmap2::{MmapOptions, MmapRaw};
use std::io;
use std::path::Path;

/// A held lease.
pub(crate) enum Lease {
    Mapped { _page: Unforked<MmapRaw> },
    Kept { _file: LockFile },
}

impl Lease {
    /// Keeps the lock of a lease file until the lease is dropped. `file` is locked, and its path is `path`. A file on
    /// `plain_device` lies on a file system that is known not to be laid over others, and needs no test.
    pub(super) fn keep(file: LockFile, path: &Path, plain_device: Option<u64>) -> io::Result<Self> {
        if plain_device == Some(file.identity().device) {
            let page = Self::page(&file)?;
            file.close_as_it_is();
            return Ok(Self::Mapped { _page: page });
        }
        if platform::mappings_keep_locks(&file) { Self::map(file, path) } else { Ok(Self::Kept { _file: file }) }
    }

    fn page(file: &LockFile) -> io::Result<Unforked<MmapRaw>> {
        Unforked::make(|| {
            let page = MmapOptions::new().len(1).map_raw(&**file)?;
            platform::keep_from_children(&page)?;
            Ok(page)
        })
    }

    fn map(file: LockFile, path: &Path) -> io::Result<Self> {
        let page = Self::page(&file)?;
        file.close_as_it_is();
        let probe = LockFile::open(path)?;
        if probe.try_lock_exclusive()? {
            return Ok(Self::Kept { _file: probe });
        }
        probe.close_as_it_is();
        Ok(Self::Mapped { _page: page })
    }

    /// Whether a process that can take this lease has proved the member dead, no matter what the member does to its
    /// descriptors. On systems where only a descriptor can hold a lease, a descriptor counts as proof.
    pub(crate) fn is_proof(&self) -> bool {
        match self {
            Self::Mapped { .. } => true,
            Self::Kept { .. } => !platform::MAPPINGS_KEEP_LOCKS,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn taken_again(path: &Path) -> bool {
        LockFile::open(path).unwrap().try_lock_exclusive().unwrap()
    }

    #[test]
    fn a_mapping_holds_a_lease_without_a_descriptor() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lock = LockFile::open(file.path()).unwrap();
        assert!(lock.try_lock_exclusive().unwrap());
        let descriptors = || {
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
                std::fs::read_link(entry.unwrap().path()).ok().filter(|target| target == file.path())
            })
        };
        let lease = Lease::map(lock, file.path()).unwrap();
        // Only the descriptor of `file` itself is left.
        assert_eq!(descriptors().count(), 1);
        assert!(lease.is_proof() && !taken_again(file.path()));
        drop(lease);
        assert!(taken_again(file.path()));
    }

    #[test]
    fn where_the_lock_goes_with_the_descriptor_one_is_kept() {
        // The missing lock stands for a file system other than overlayfs that loses the lock with the descriptor.
        let file = tempfile::NamedTempFile::new().unwrap();
        let lock = LockFile::open(file.path()).unwrap();
        let lease = Lease::map(lock, file.path()).unwrap();
        assert!(!lease.is_proof(), "nobody had locked it");
        assert!(!taken_again(file.path()));
    }
}
