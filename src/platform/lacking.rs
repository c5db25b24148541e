//! Substitutes for functions that a system lacks: slower, but never wrong.

use super::kinds::{Examined, Pages};
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering, fence};

#[cfg(not(any(unix, windows)))]
compile_error!("kennel needs files that processes can map and lock together: a Unix system or Windows");

/// Would open a file without a name. Returns `None`, since every file has a name here.
pub(crate) fn nameless_file(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// A file in the address space, shared with all other mappings of it. The system chooses its pages.
pub(crate) struct Mapped(MmapRaw);

impl Mapped {
    pub(crate) fn new(file: &File, len: usize, writable: bool, _: Pages) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.len(len);
        Ok(Self(if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? }))
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    /// Writes a range back to its file.
    pub(crate) fn flush_range(&self, offset: usize, len: usize) -> io::Result<()> {
        self.0.flush_range(offset, len)
    }

    /// Would make every page present and writable. Returns `false`, since the system has no call for that.
    pub(crate) fn prefault(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Would put a new file on large pages.
    pub(crate) fn take_large_pages(&self, _: &File, _: bool) -> io::Result<()> {
        Ok(())
    }

    /// Would gather small pages into large ones.
    pub(crate) fn collapse(&self) -> io::Result<()> {
        Ok(())
    }

    /// How many bytes the processor reaches through large pages: unknown here.
    pub(crate) fn large_bytes(&self, _: impl Fn(usize)) -> Option<u64> {
        None
    }
}

/// Would open a file by a path with links, and ask the system for the path without them. Returns `None`: the path is
/// resolved step by step.
pub(crate) fn open_and_name(_: &Path, _: bool) -> Option<(Examined, PathBuf)> {
    None
}

/// The offset of the first data of a file at or after `offset`: `offset` itself, since holes are unknown here.
pub(crate) fn next_data(_: &File, offset: u64) -> io::Result<Option<u64>> {
    Ok(Some(offset))
}

/// Whether a mapping can keep the lock of a file whose descriptor was closed. None of these systems promises that.
pub(crate) const MAPPINGS_KEEP_LOCKS: bool = false;

/// Whether a mapping of this file keeps its lock: see [`MAPPINGS_KEEP_LOCKS`].
pub(crate) fn mappings_keep_locks(_: &File) -> bool {
    false
}

/// Would exclude a mapping from children forked from now on. That is not needed where mappings keep no locks.
pub(crate) fn keep_from_children(_: &MmapRaw) -> io::Result<()> {
    Ok(())
}

/// How many milliseconds this process's monotonic clock is ahead of the host's: 0, since all processes read the same
/// clock.
pub(crate) fn clock_ahead_ms() -> i64 {
    0
}

static PROCESS_WORD: AtomicU32 = AtomicU32::new(0);

/// A word that is 0 when a process starts.
#[inline(always)]
pub(crate) fn process_word() -> &'static AtomicU32 {
    &PROCESS_WORD
}

/// Would make [`process_word`] 0 in each forked child, too. Returns `false`, since the system cannot do that.
pub(crate) fn zero_process_word_in_children() -> bool {
    false
}

/// Half of a barrier between two threads, for the thread that executes it often; the other executes [`heavy_barrier`].
#[inline(always)]
pub(crate) fn light_barrier() {
    fence(Ordering::SeqCst);
}

/// The other half of the barrier: see [`light_barrier`]. Always `true`.
pub(crate) fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    true
}

/// Would give a new file the attributes of an old one that decide which users may use it. Does nothing here.
pub(crate) fn copy_attributes(_: &File, _: &File) -> io::Result<()> {
    Ok(())
}
