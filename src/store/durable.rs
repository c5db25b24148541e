//! Durable points: what a `flush` promises, and how a writer withdraws it.
//!
//! The device writes pages back at any time and in any order; only a sync waits for it. So the mark in the header must
//! never say CLEAN *on the device* once a page of a later write may be there.
//!
//! ```text
//! DIRTY(n) --flush--> FLUSHING(n+1) --all stripes passed, file synced--> CLEAN(n+1) --header synced--> done
//!   ^                       | a writer                                       | a writer
//!   +-----------------------+                                                v
//!   +----------------------------- header synced -------------------- DIRTYING(n+1)
//! ```
//!
//! There are no other edges. *A writer stores only after it has seen DIRTY.* It makes that of FLUSHING without a sync,
//! because FLUSHING follows DIRTY alone: the device cannot hold a CLEAN that is still to be withdrawn. It makes it of
//! CLEAN in two steps, with a sync in between, after which the device no longer says CLEAN. Whoever meets DIRTYING does
//! that sync itself.
//!
//! *Flushes at the same time share a phase.* One that meets FLUSHING(n) joins it: it passes all stripes and syncs the
//! file itself, and whoever is first makes it CLEAN(n). A number is used for one phase only, so a mark that is
//! FLUSHING(n) before the passes and after the sync was FLUSHING(n) in between, and nobody wrote. One that meets
//! CLEAN(n) finds its work done: nothing was written since, and only the header may still have to be synced.

use super::table::Store;
use crate::shm::atomics::Ordering;
use crate::shm::layout::{HEADER_LEN, at};
use crate::shm::memory::Word;
use crate::shm::{Memory, Step};
use std::io;

/// Changes of the mark that one operation tries. Each that fails is another's; only a word that somebody changes
/// without end outlasts them.
const ATTEMPTS: u32 = 100;

/// The phase in the header's flush mark; above it is the number of the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    Dirty,
    Flushing,
    Clean,
    Dirtying,
}

impl Flush {
    pub(crate) fn of(word: u64) -> Self {
        match word & 3 {
            0 => Flush::Dirty,
            1 => Flush::Flushing,
            2 => Flush::Clean,
            _ => Flush::Dirtying,
        }
    }

    pub(crate) fn with(self, word: u64) -> u64 {
        word & !3 | self as u64
    }
}

impl<M: Memory> Store<M> {
    fn flush_mark(&self) -> Word<'_> {
        self.mem.word(at!(flush))
    }

    /// Says, before the first store of a writer, that the file is not what was flushed.
    #[inline]
    pub(crate) fn mark_dirty(&self) -> io::Result<()> {
        let word = self.flush_mark().load(Ordering::Acquire);
        if Flush::of(word) == Flush::Dirty { Ok(()) } else { self.mark_dirty_slow() }
    }

    #[cold]
    fn mark_dirty_slow(&self) -> io::Result<()> {
        let mark = self.flush_mark();
        for _ in 0..ATTEMPTS {
            let word = mark.load(Ordering::Acquire);
            match Flush::of(word) {
                Flush::Dirty => return Ok(()),
                Flush::Flushing => self.pass_on(word, Flush::Dirty),
                Flush::Clean => self.pass_on(word, Flush::Dirtying),
                Flush::Dirtying => self.withdraw(word)?,
            }
        }
        Err(restless())
    }

    /// The second step from CLEAN to DIRTY: the device is told first.
    fn withdraw(&self, dirtying: u64) -> io::Result<()> {
        self.mem.sync(0, HEADER_LEN)?;
        self.pass_on(dirtying, Flush::Dirty);
        Ok(())
    }

    /// Changes the phase, unless another writer or a flush has changed it. The caller looks at the mark again.
    fn pass_on(&self, word: u64, next: Flush) {
        let _ = self.flush_mark().compare_exchange(Step::FlushMark, word, next.with(word), Ordering::AcqRel);
    }

    /// Makes a durable point; `false`: somebody wrote meanwhile. Whatever a dead holder left undone has been completed.
    /// `pass` locks and unlocks each stripe, so that writers who were at work are through; `false` from it says that
    /// one of them died.
    pub(crate) fn flush(&self, pass: impl FnOnce() -> bool) -> io::Result<bool> {
        let mut word = self.begin_flush()?;
        if Flush::of(word) == Flush::Flushing {
            if !pass() {
                return Ok(false);
            }
            self.mem.sync(0, self.geometry.file_len)?;
            let clean = Flush::Clean.with(word);
            match self.flush_mark().compare_exchange(Step::FlushMark, word, clean, Ordering::AcqRel) {
                Err(other) if other != clean => return Ok(false),
                _ => word = clean,
            }
        }
        self.mem.sync(0, HEADER_LEN)?;
        Ok(self.flush_mark().load(Ordering::Acquire) == word)
    }

    /// The phase that a flush begins or joins: FLUSHING, or CLEAN if nothing is left to be done.
    fn begin_flush(&self) -> io::Result<u64> {
        let mark = self.flush_mark();
        for _ in 0..ATTEMPTS {
            let word = mark.load(Ordering::Acquire);
            match Flush::of(word) {
                Flush::Flushing | Flush::Clean => return Ok(word),
                Flush::Dirtying => self.withdraw(word)?,
                Flush::Dirty => {
                    let next = Flush::Flushing.with((word >> 2).wrapping_add(1) << 2);
                    if mark.compare_exchange(Step::FlushMark, word, next, Ordering::AcqRel).is_ok() {
                        return Ok(next);
                    }
                }
            }
        }
        Err(restless())
    }
}

fn restless() -> io::Error {
    io::Error::other(format!(
        "expected the flush mark in the header to stand still, found it changed {ATTEMPTS} times in a row: the file is \
         damaged, or a program writes to it that is no user of the cache"
    ))
}
