//! What stands where a system has nothing of the kind: each answer is slower, never wrong.

use memmap2::MmapRaw;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// Opens a file that has no name yet: no file is without one here.
pub(crate) fn nameless_file(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Makes every page of a mapping present and writable; `false` where the system has no call for it.
pub(crate) fn populate(_: &MmapRaw) -> io::Result<bool> {
    Ok(false)
}

/// Whether a file lies on a file system that does not outlive the boot: not known.
pub(crate) fn is_in_memory(_: &File) -> bool {
    false
}

/// Where a file has data at or after an offset: nobody keeps an account of holes.
pub(crate) fn next_data(_: &File, offset: u64) -> io::Result<Option<u64>> {
    Ok(Some(offset))
}

/// Whether a mapping can keep the lock of a file whose descriptor was closed: nobody promises that.
pub(crate) const MAPPINGS_KEEP_LOCKS: bool = false;

/// Whether a mapping of this very file does.
pub(crate) fn mappings_keep_locks(_: &File) -> bool {
    false
}

/// Keeps a mapping from children that are forked from here on: not asked for where mappings keep no locks.
pub(crate) fn keep_from_children(_: &MmapRaw) -> io::Result<()> {
    Ok(())
}

/// By how many milliseconds this process's monotonic clock is ahead of the host's: all processes read the same clock.
pub(crate) fn clock_ahead_ms() -> i64 {
    0
}

static PROCESS_WORD: AtomicU32 = AtomicU32::new(0);

/// A word that is 0 when a process begins.
#[inline(always)]
pub(crate) fn process_word() -> &'static AtomicU32 {
    &PROCESS_WORD
}

/// Has the word be 0 in each forked child, too; `false`: the system cannot do that.
pub(crate) fn zero_process_word_in_children() -> bool {
    false
}

/// Half of a barrier between two threads, for the one that passes it often; the other passes [`heavy_barrier`].
#[inline(always)]
pub(crate) fn light_barrier() {
    fence(Ordering::SeqCst);
}

/// The other half.
pub(crate) fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    true
}
