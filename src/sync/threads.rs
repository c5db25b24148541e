//! Numbers of this process's threads: small, each of one living thread at a time, given back when it ends.
//!
//! A number says which counter line a thread counts on, and which thread holds a lock word. Whoever has taken a
//! number that no thread has is sure that no thread gets it meanwhile: for a thread the number is what the lease is
//! for a process.

use crate::shm::layout::{COUNTERS, OWN_LINES};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Numbers from 0 up to this are of one thread each. All further threads share [`SHARED`].
pub(crate) const OWN_NUMBERS: u32 = 2046;
/// The number of every thread that found all others taken, or that is about to end.
pub(crate) const SHARED: u32 = OWN_NUMBERS;

const WORDS: usize = OWN_NUMBERS.div_ceil(64) as usize;

/// A bit for each number that is taken.
static TAKEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// A number that is taken until this is dropped.
pub(crate) struct Number(u32);

impl Number {
    /// Takes a number, unless somebody has it.
    pub(crate) fn try_take(number: u32) -> Option<Self> {
        if number >= OWN_NUMBERS {
            return None;
        }
        let (word, bit) = place(number);
        // Acquires what the number's last thread counted on its line, so that this one goes on from there.
        let before = TAKEN[word].fetch_or(bit, Ordering::Acquire);
        // Not `then_some`: it would make one, and drop it, whatever the answer.
        (before & bit == 0).then(|| Self(number))
    }

    /// The lowest that is free.
    fn take() -> Self {
        let is_free = |number: &u32| {
            let (word, bit) = place(*number);
            TAKEN[word].load(Ordering::Relaxed) & bit == 0
        };
        (0..OWN_NUMBERS).filter(is_free).find_map(Self::try_take).unwrap_or(Self(SHARED))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if self.0 < OWN_NUMBERS {
            let (word, bit) = place(self.0);
            // Releases to the `Acquire` of whoever takes it next.
            TAKEN[word].fetch_and(!bit, Ordering::Release);
        }
    }
}

fn place(number: u32) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

/// Where in a seat a thread counts: on a line of its own, or on one that threads share.
///
/// A word: bits 63..3 the offset from the seat's first line on | 0 not a line of its own, or not known yet.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CountLine(u64);

impl CountLine {
    /// The line of all threads that have none of their own.
    const SHARED: Self = Self::new(OWN_LINES);
    /// That of a thread that has not asked yet: no line is this one, since the shared one is not the first.
    const UNKNOWN: Self = Self(1);

    const fn new(line: usize) -> Self {
        Self((line * COUNTERS * 8) as u64 | (line == OWN_LINES) as u64)
    }
}

/// The counter lines of a seat, as a thread finds its own.
///
/// A word: bits 63..3 the offset of the first line in the file | 0 every thread counts on the shared one.
#[derive(Clone, Copy)]
pub(crate) struct SeatLines(u64);

impl SeatLines {
    /// Of a seat whose first line is at `first`.
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

    /// Offset in the file of the line that only this thread counts on; `None`: there is none, or the thread has not
    /// asked for it yet. One test says all of that.
    #[inline(always)]
    pub(crate) fn own(self) -> Option<u64> {
        let at = self.0 + SELF.with(|this| this.line.get()).0;
        (at & 7 == 0).then_some(at)
    }

    /// Offset in the file of the line that this thread counts on, and whether others do, too.
    pub(crate) fn any(self) -> (u64, bool) {
        let line = if self.0 & 1 == 1 { CountLine::SHARED } else { line_of_thread() };
        ((self.0 & !7) + (line.0 & !7), line == CountLine::SHARED)
    }
}

/// What a thread keeps of its own: one address, which a read finds once, leads to all of it.
pub(super) struct ThisThread {
    line: Cell<CountLine>,
    number: Cell<u32>,
    /// Calls that are under way, one within the other. The thread alone stores; [others look](super::calls).
    pub(super) calls: AtomicU32,
    /// Whether others find `calls`.
    pub(super) is_listed: Cell<bool>,
}

impl ThisThread {
    fn set_number(&self, number: u32) {
        self.line.set(CountLine::new((number as usize).min(OWN_LINES)));
        self.number.set(number);
    }
}

/// A thread's number, given back when the thread ends.
struct Own(Number);

impl Drop for Own {
    fn drop(&mut self) {
        // What this thread still does from here on it does as one without a number.
        SELF.with(|this| this.set_number(SHARED));
    }
}

thread_local! {
    /// Found with one load: what has nothing to drop needs no test whether it still lives.
    pub(super) static SELF: ThisThread = const {
        ThisThread {
            line: Cell::new(CountLine::UNKNOWN),
            number: Cell::new(SHARED),
            calls: AtomicU32::new(0),
            is_listed: Cell::new(false),
        }
    };
    static OWN: Own = Own(Number::take());
}

/// Gives this thread a number, unless it has asked for one before.
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

/// The line on which this thread counts.
fn line_of_thread() -> CountLine {
    know_thread();
    SELF.with(|this| this.line.get())
}

/// In a forked child only the thread that forked lives on.
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
        assert!(Number::try_take(mine).is_none());
        assert_eq!(number_of_thread(), mine);
        let theirs = std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                tell.send(number_of_thread()).unwrap();
                let _ = stopped.recv();
            });
            let theirs = told.recv().unwrap();
            assert!(Number::try_take(theirs).is_none());
            drop(stop);
            theirs
        });
        assert_ne!(theirs, mine);
        assert!(Number::try_take(SHARED).is_none());
    }
}
