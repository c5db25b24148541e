//! Substitutes for functions that a system lacks: slower, but never wrong.

use memmap2::MmapRaw;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering, fence};

#[cfg(not(any(unix, windows)))]
compile_error!("kennel needs files that processes can map and lock together: a Unix system or Windows");

/// Would open a file without a name. Returns `None`, since every file has a name here.
pub(crate) fn nameless_file(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Would make every page of a mapping present and writable. Returns `false`, since the system has no call for that.
pub(crate) fn prefault(_: &MmapRaw) -> io::Result<bool> {
    Ok(false)
}

/// Whether a file lies on a file system that a restart empties: unknown here.
pub(crate) fn is_in_memory(_: &File) -> bool {
    false
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
