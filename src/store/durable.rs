//! Durable points: what a `flush` promises, and how a writer withdraws it.
//!
//! The operating system writes pages to the device at any time and in any order; only a sync waits for it. So the mark
//! in the header must not say CLEAN *on the device* once the device may hold a page of a later write.
//!
//! ```text
//! DIRTY(n) --flush--> FLUSHING(n+1) --all stripes passed, file synced--> CLEAN(n+1) --header synced--> done
//!   ^                       | a writer                                       | a writer
//!   +-----------------------+                                                v
//!   +----------------------------- header synced -------------------- DIRTYING(n+1)
//! ```
//!
//! There are no other edges. *A writer stores only after it has seen DIRTY.* It turns FLUSHING into DIRTY without a
//! sync: FLUSHING follows only DIRTY, so the device holds no CLEAN to withdraw. It turns CLEAN into DIRTY in two steps
//! with a sync in between, after which the device no longer says CLEAN. A process that meets DIRTYING does that sync
//! itself.
//!
//! *Concurrent flushes share a phase.* A flush that meets FLUSHING(n) joins it: it passes all stripes and syncs the
//! file itself, and the first flush to finish sets CLEAN(n). A number is used for one phase only. So a mark that is
//! FLUSHING(n) before the passes and after the sync was FLUSHING(n) all the time in between, and nothing was written. A
//! flush that meets CLEAN(n) finds its work done: nothing was written since, and only the header may still need a sync.
//!
//! *No thread writes to a closed file.* The bit `CLOSED` says that a file of another size is about to take the place of
//! this one. A writer loads this word under its stripe's lock in any case, so the bit costs it nothing. The process
//! that closes the file then locks and unlocks every stripe; after that no writer is at work. An invalidation takes no
//! lock. It stores its epoch and then loads this word, while the closing process sets the bit and then loads the
//! epochs. So at least one of them sees what the other stored.

use super::table::Store;
use crate::fault::{Fault, injected};
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::{HEADER_LEN, STATE_FLUSH, at};
use crate::shm::memory::Word;
use crate::shm::{Memory, Step};
use std::fmt;
use std::io;

/// How often one operation tries to change the mark. Each failure is another process's success, so only a mark that
/// some process changes endlessly exhausts the attempts.
const ATTEMPTS: u32 = 100;

/// The phase's number begins at this bit of the mark.
const NUMBER_AT: u32 = 3;
/// The file is closed: writers wait, since another file is about to replace this one.
const CLOSED: u64 = 1 << 2;
/// The phase and [`CLOSED`].
const PHASE: u64 = 7;

/// The error for a writer that a closed file refuses.
#[derive(Debug)]
struct IsClosed;

impl fmt::Display for IsClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file is closed to writers: it is being resized")
    }
}

impl std::error::Error for IsClosed {}

/// Whether an error says that the file is closed.
pub(crate) fn says_closed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<IsClosed>())
}

fn closed() -> io::Error {
    io::Error::other(IsClosed)
}

/// The phase, in the lowest two bits of the header's flush mark.
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
    #[inline(always)]
    fn flush_mark(&self) -> Word<'_> {
        self.mem.state().at(STATE_FLUSH)
    }

    /// Withdraws the flush before a writer's first store, after which the file differs from what was flushed. In a
    /// closed file this is an error, and the writer must store nothing.
    #[inline]
    pub(crate) fn mark_dirty(&self) -> io::Result<()> {
        let word = self.flush_mark().load(Ordering::Acquire);
        if word & PHASE == Flush::Dirty as u64 { Ok(()) } else { self.mark_dirty_slow() }
    }

    #[cold]
    fn mark_dirty_slow(&self) -> io::Result<()> {
        self.withdraw_unless(|word| is_closed(word) && !injected(Fault::NotClosed))
    }

    /// [`mark_dirty`](Self::mark_dirty) for the process that closed the file.
    pub(crate) fn mark_dirty_though_closed(&self) -> io::Result<()> {
        self.withdraw_unless(|_| false)
    }

    fn withdraw_unless(&self, is_refused: impl Fn(u64) -> bool) -> io::Result<()> {
        let mark = self.flush_mark();
        for _ in 0..ATTEMPTS {
            let word = mark.load(Ordering::Acquire);
            match Flush::of(word) {
                _ if is_refused(word) => return Err(closed()),
                Flush::Dirty => return Ok(()),
                Flush::Flushing => self.pass_on(word, Flush::Dirty),
                Flush::Clean => self.pass_on(word, Flush::Dirtying),
                Flush::Dirtying => self.withdraw(word)?,
            }
        }
        Err(restless())
    }

    /// The second step from CLEAN to DIRTY, after a sync of the header.
    fn withdraw(&self, dirtying: u64) -> io::Result<()> {
        self.mem.sync(0, HEADER_LEN)?;
        self.pass_on(dirtying, Flush::Dirty);
        Ok(())
    }

    /// Changes the phase, unless another process has changed it. The caller loads the mark again.
    fn pass_on(&self, word: u64, next: Flush) {
        let _ = self.flush_mark().compare_exchange(Step::FlushMark, word, next.with(word), Ordering::AcqRel);
    }

    /// Makes a durable point; `false` if there was a write meanwhile. The caller has repaired what dead holders left
    /// undone. `pass` locks and unlocks each stripe, so that all writers that were at work have finished; it returns
    /// `false` if one of them died.
    pub(crate) fn flush(&self, pass: impl FnOnce() -> bool) -> io::Result<bool> {
        let mut word = self.begin_flush()?;
        if Flush::of(word) == Flush::Flushing {
            if !pass() {
                return Ok(false);
            }
            self.mem.sync(0, self.geometry.file_len)?;
            let clean = Flush::Clean.with(word);
            match self.flush_mark().compare_exchange(Step::FlushMark, word, clean, Ordering::AcqRel) {
                Err(other) if is_closed(other) => return Err(closed()),
                Err(other) if other != clean => return Ok(false),
                _ => word = clean,
            }
        }
        self.mem.sync(0, HEADER_LEN)?;
        match self.flush_mark().load(Ordering::Acquire) {
            now if is_closed(now) => Err(closed()),
            now => Ok(now == word),
        }
    }

    /// Begins or joins a phase and returns its mark: FLUSHING, or CLEAN if everything but the header is synced.
    fn begin_flush(&self) -> io::Result<u64> {
        let mark = self.flush_mark();
        for _ in 0..ATTEMPTS {
            let word = mark.load(Ordering::Acquire);
            match Flush::of(word) {
                _ if is_closed(word) => return Err(closed()),
                Flush::Flushing | Flush::Clean => return Ok(word),
                Flush::Dirtying => self.withdraw(word)?,
                Flush::Dirty => {
                    let next = Flush::Flushing.with((word >> NUMBER_AT).wrapping_add(1) << NUMBER_AT);
                    if mark.compare_exchange(Step::FlushMark, word, next, Ordering::AcqRel).is_ok() {
                        return Ok(next);
                    }
                }
            }
        }
        Err(restless())
    }
}

/// Closing a file, and what that means for threads that take no lock.
impl<M: Memory> Store<M> {
    /// Whether writers must wait.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        is_closed(self.flush_mark().load(Ordering::Acquire))
    }

    /// Returns an error if the file is closed. The caller holds a stripe's lock.
    #[inline]
    pub(crate) fn must_be_open(&self) -> io::Result<()> {
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    /// Returns an error if the file is closed, for a thread that holds no lock and has stored a word of the header: the
    /// process that closes the file may not have seen that word.
    pub(crate) fn must_have_been_open(&self) -> io::Result<()> {
        fence(Ordering::SeqCst);
        self.must_be_open()
    }

    /// Closes the file to all writers that lock a stripe from now on. The caller holds the opening lock, and has stored
    /// its name as the resizer's. If another thread changes a word of the header, either the caller's later loads see
    /// the new value, or that thread sees that the file is closed.
    pub(crate) fn close(&self) -> io::Result<()> {
        exchange_closed(&self.mem, true)?;
        fence(Ordering::SeqCst);
        Ok(())
    }
}

/// Closes a file, or opens it again.
pub(super) fn exchange_closed(mem: &impl Memory, closes: bool) -> io::Result<()> {
    let mark = mem.word(at!(flush));
    for _ in 0..ATTEMPTS {
        let word = mark.load(Ordering::Acquire);
        let next = if closes { word | CLOSED } else { word & !CLOSED };
        if mark.compare_exchange(Step::Closed, word, next, Ordering::AcqRel).is_ok() {
            return Ok(());
        }
    }
    Err(restless())
}

/// Whether a flush mark closes its file.
pub(super) fn is_closed(word: u64) -> bool {
    word & CLOSED != 0
}

fn restless() -> io::Error {
    io::Error::other(format!(
        "expected a stable flush mark in the header, found it changed {ATTEMPTS} times in a row: the file is damaged, \
         or a program that does not use Kennel writes to it"
    ))
}
