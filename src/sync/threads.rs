//! Small numbers for this process's threads. A number belongs to one living thread at a time; the end of the thread
//! frees it.
//!
//! A thread's number selects its counter line, and names the thread in a lock word. A waiter that can take a thread's
//! number has proved the thread dead, as a process that can take a lease has proved the member dead. While the waiter
//! keeps the number, no new thread gets it.

use crate::shm::layout::{COUNTERS, OWN_LINES};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Each number below this belongs to one thread. All further threads share [`SHARED`].
pub(crate) const OWN_NUMBERS: u32 = 2046;
/// The number of every thread that found all other numbers taken, or that is ending.
pub(crate) const SHARED: u32 = OWN_NUMBERS;

const WORDS: usize = OWN_NUMBERS.div_ceil(64) as usize;

/// One bit per number, set while the number is taken.
static TAKEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// A number that is taken until this is dropped.
pub(crate) struct ThreadNumber(u32);

impl ThreadNumber {
    /// Takes a number; `None` if it is taken.
    pub(crate) fn try_take(number: u32) -> Option<Self> {
        if number >= OWN_NUMBERS {
            return None;
        }
        let (word, bit) = place(number);
        // Acquires the counts of the thread that had the number before, so that this thread continues from them.
        let before = TAKEN[word].fetch_or(bit, Ordering::Acquire);
        // Not `then_some`: it would construct a `ThreadNumber` in either case, and drop it.
        (before & bit == 0).then(|| Self(number))
    }

    /// Takes the lowest free number.
    fn take() -> Self {
        let is_free = |number: &u32| {
            let (word, bit) = place(*number);
            TAKEN[word].load(Ordering::Relaxed) & bit == 0
        };
        (0..OWN_NUMBERS).filter(is_free).find_map(Self::try_take).unwrap_or(Self(SHARED))
    }
}

impl Drop for ThreadNumber {
    fn drop(&mut self) {
        if self.0 < OWN_NUMBERS {
            let (word, bit) = place(self.0);
            // Partner: the `Acquire` of the thread that takes the number next.
            TAKEN[word].fetch_and(!bit, Ordering::Release);
        }
    }
}

fn place(number: u32) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

/// The counter line of a seat that a thread counts on: its own, or the shared one.
///
/// Bits 63..3: offset from the seat's first line. Bit 0: the line is not the thread's own, or is not known yet.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CountLine(u64);

impl CountLine {
    /// The line of all threads that have none of their own.
    const SHARED: Self = Self::new(OWN_LINES);
    /// A thread's value before its first request. It equals no line's value, since the shared line is not the first.
    const UNKNOWN: Self = Self(1);

    const fn new(line: usize) -> Self {
        Self((line * COUNTERS * 8) as u64 | (line == OWN_LINES) as u64)
    }
}

/// The counter lines of a seat, in a form from which a thread finds its own line.
///
/// Bits 63..3: offset of the first line in the file. Bit 0: every thread counts on the shared line.
#[derive(Clone, Copy)]
pub(crate) struct SeatLines(u64);

impl SeatLines {
    /// The lines of a seat whose first line is at `first`.
    pub(crate) fn new(first: u64, all_share: bool) -> Self {
        Self(first | u64::from(all_share))
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn of_word(word: u64) -> Self {
        Self(word)
    }

    /// Offset in the file of the line that only this thread counts on; `None` if it has no such line, or has not
    /// requested one yet. A single test covers both.
    #[inline(always)]
    pub(crate) fn own(self) -> Option<u64> {
        let at = self.0 + SELF.with(|this| this.line.get()).0;
        (at & 7 == 0).then_some(at)
    }

    /// Offset in the file of the line that this thread counts on, and whether other threads count on it too.
    pub(crate) fn any(self) -> (u64, bool) {
        let line = if self.0 & 1 == 1 { CountLine::SHARED } else { line_of_thread() };
        ((self.0 & !7) + (line.0 & !7), line == CountLine::SHARED)
    }
}

/// A thread's own state, in one struct so that a read computes one address for all of it.
pub(super) struct ThisThread {
    line: Cell<CountLine>,
    number: Cell<u32>,
    /// Number of nested calls in progress. Only this thread stores it; [other threads read it](super::calls).
    pub(super) calls: AtomicU32,
    /// Whether the [list](super::calls) has the address of `calls`.
    pub(super) is_listed: Cell<bool>,
}

impl ThisThread {
    fn set_number(&self, number: u32) {
        self.line.set(CountLine::new((number as usize).min(OWN_LINES)));
        self.number.set(number);
    }
}

/// A thread's number, given back when the thread ends.
struct OwnThreadNumber(ThreadNumber);

impl Drop for OwnThreadNumber {
    fn drop(&mut self) {
        // From here on this thread acts as one without a number.
        SELF.with(|this| this.set_number(SHARED));
    }
}

thread_local! {
    /// An access is one load: since the value has no destructor, no test is needed whether it is still alive.
    pub(super) static SELF: ThisThread = const {
        ThisThread {
            line: Cell::new(CountLine::UNKNOWN),
            number: Cell::new(SHARED),
            calls: AtomicU32::new(0),
            is_listed: Cell::new(false),
        }
    };
    static OWN: OwnThreadNumber = OwnThreadNumber(ThreadNumber::take());
}

/// Gives this thread a number, unless it has requested one before.
#[inline(always)]
fn know_thread() {
    if SELF.with(|this| this.line.get()) == CountLine::UNKNOWN {
        number_thread();
    }
}

#[cold]
#[inline(never)]
fn number_thread() {
    let number = OWN.try_with(|own| own.0.0).unwrap_or(SHARED);
    SELF.with(|this| this.set_number(number));
}

/// The number of this thread.
#[inline(always)]
pub(crate) fn number_of_thread() -> u32 {
    know_thread();
    SELF.with(|this| this.number.get())
}

/// The line that this thread counts on.
fn line_of_thread() -> CountLine {
    know_thread();
    SELF.with(|this| this.line.get())
}

/// Frees the other threads' numbers in a forked child, where only the thread that forked lives on.
pub(super) fn forget_other_threads() {
    let mine = number_of_thread();
    TAKEN.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    if mine < OWN_NUMBERS {
        let (word, bit) = place(mine);
        TAKEN[word].store(bit, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_one_thread_until_that_ends() {
        let mine = number_of_thread();
        assert!(ThreadNumber::try_take(mine).is_none());
        assert_eq!(number_of_thread(), mine);
        let theirs = std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                tell.send(number_of_thread()).unwrap();
                let _ = stopped.recv();
            });
            let theirs = told.recv().unwrap();
            assert!(ThreadNumber::try_take(theirs).is_none());
            drop(stop);
            theirs
        });
        assert_ne!(theirs, mine);
        assert!(ThreadNumber::try_take(SHARED).is_none());
    }
}
