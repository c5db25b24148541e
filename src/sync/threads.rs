//! Numbers of this process's threads: small, each of one living thread at a time, given back when it ends.
//!
//! A number says which counter line a thread counts on, and which thread holds a lock word. Whoever has taken a
//! number that no thread has is sure that no thread gets it meanwhile: for a thread the number is what the lease is
//! for a process.

use crate::platform;
use crate::shm::layout::{COUNTERS, OWN_LINES};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
        let at = self.0 + KNOWN.get().line.0;
        (at & 7 == 0).then_some(at)
    }

    /// Offset in the file of the line that this thread counts on, and whether others do, too.
    pub(crate) fn any(self) -> (u64, bool) {
        let line = if self.0 & 1 == 1 { CountLine::SHARED } else { known().line };
        ((self.0 & !7) + (line.0 & !7), line == CountLine::SHARED)
    }
}

/// How many calls a thread is in, one within the other.
#[repr(align(64))]
struct Calls(AtomicU32);

/// Those of the threads by their numbers. The thread alone stores; others look.
static CALLS: [Calls; OWN_NUMBERS as usize] = [const { Calls(AtomicU32::new(0)) }; OWN_NUMBERS as usize];
/// Those of all threads without a number of their own.
static OTHER_CALLS: AtomicU32 = AtomicU32::new(0);

/// A call that is under way on a thread with a number of its own. It ends on that thread.
pub(crate) struct OwnCall(&'static AtomicU32, PhantomData<*const ()>);

impl OwnCall {
    #[inline(always)]
    fn begin(calls: &'static AtomicU32) -> Self {
        calls.store(calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // What the call loads is loaded after this. Its partner is the barrier that `have_ended_calls` comes after.
        platform::light_barrier();
        Self(calls, PhantomData)
    }
}

impl Drop for OwnCall {
    #[inline(always)]
    fn drop(&mut self) {
        // Releases what the call loaded to the `Acquire` of `have_ended_calls`.
        self.0.store(self.0.load(Ordering::Relaxed) - 1, Ordering::Release);
    }
}

/// A call that is under way on whatever thread.
pub(crate) struct AnyCall(Option<OwnCall>);

impl Drop for AnyCall {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_none() {
            OTHER_CALLS.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Begins a call, on a thread that has a number of its own, and has asked for it before.
#[inline(always)]
pub(crate) fn begin_own_call() -> Option<OwnCall> {
    Some(OwnCall::begin(KNOWN.get().calls?))
}

/// Begins a call.
#[inline(always)]
pub(crate) fn begin_call() -> AnyCall {
    match begin_own_call() {
        Some(call) => AnyCall(Some(call)),
        None => begin_other_call(),
    }
}

#[cold]
#[inline(never)]
fn begin_other_call() -> AnyCall {
    let own = known().calls.map(OwnCall::begin);
    if own.is_none() {
        OTHER_CALLS.fetch_add(1, Ordering::SeqCst);
    }
    AnyCall(own)
}

/// Looks at a thread between two of the clock.
const LOOKS: u32 = 100;

/// Whether each thread was seen in no call, within a time: then all calls have ended that were under way before. Every
/// thread has passed a barrier since what is to be known of these calls was stored.
pub(crate) fn have_ended_calls(limit: Duration) -> bool {
    let start = Instant::now();
    let has_ended = |calls: &AtomicU32| {
        loop {
            // A busy thread is in no call only for a moment between two.
            if (0..LOOKS).any(|_| calls.load(Ordering::Acquire) == 0) {
                return true;
            }
            if start.elapsed() >= limit {
                return false;
            }
            std::thread::yield_now();
        }
    };
    let is_taken = |number: &usize| {
        let (word, bit) = place(*number as u32);
        TAKEN[word].load(Ordering::Relaxed) & bit != 0
    };
    has_ended(&OTHER_CALLS) && (0..CALLS.len()).filter(is_taken).all(|number| has_ended(&CALLS[number].0))
}

/// What a thread is known by.
#[derive(Clone, Copy)]
struct Known {
    line: CountLine,
    number: u32,
    /// `None` without a number of its own.
    calls: Option<&'static AtomicU32>,
}

impl Known {
    const NOTHING_OWN: Self = Self { line: CountLine::SHARED, number: SHARED, calls: None };
    const NOTHING_YET: Self = Self { line: CountLine::UNKNOWN, number: SHARED, calls: None };

    fn by(number: u32) -> Self {
        let calls = CALLS.get(number as usize).map(|calls| &calls.0);
        Self { line: CountLine::new((number as usize).min(OWN_LINES)), number, calls }
    }
}

/// A thread's number, given back when the thread ends.
struct Own(Number);

impl Drop for Own {
    fn drop(&mut self) {
        // What this thread still does from here on it does as one without a number.
        KNOWN.set(Known::NOTHING_OWN);
    }
}

thread_local! {
    /// What the thread is known by, found with one load: what has nothing to drop needs no test whether it still lives.
    static KNOWN: Cell<Known> = const { Cell::new(Known::NOTHING_YET) };
    static OWN: Own = Own(Number::take());
}

#[inline(always)]
fn known() -> Known {
    let known = KNOWN.get();
    if known.line == CountLine::UNKNOWN { make_known() } else { known }
}

#[cold]
#[inline(never)]
fn make_known() -> Known {
    let known = OWN.try_with(|own| Known::by(own.0.0)).unwrap_or(Known::NOTHING_OWN);
    KNOWN.set(known);
    known
}

/// The number of this thread.
#[inline(always)]
pub(crate) fn number_of_thread() -> u32 {
    known().number
}

/// In a forked child only the thread that forked lives on.
pub(super) fn forget_other_threads() {
    let mine = number_of_thread();
    for number in (0..OWN_NUMBERS).filter(|&number| number != mine) {
        CALLS[number as usize].0.store(0, Ordering::Relaxed);
    }
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
