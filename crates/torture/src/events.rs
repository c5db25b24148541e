//! Events that remove values: invalidations, and replacements of the cache file. Both have numbers.
//!
//! # Replacements
//!
//! In some rounds the cache file is replaced again and again: see [`replacer`](crate::replacer). One process makes all
//! replacements and is never killed, so one replacement follows another. It raises `ReplacementsBegun` before each
//! replacement, and `ReplacementsDone` after it, whether the replacement succeeded or not.
//!
//! A handle uses the file that is current when a call begins. The old file is marked before the new one can be found,
//! and a call that begins after the mark uses the new one. So *calls switch files in order*: a call that begins after
//! another ended uses the same file or a later one. One call can still end in the old file after others have used the
//! new one, and a claim, a lock and their waiters stay in the file in which they began. Hence
//!
//! * a replacement that succeeded is a hard invalidation of all parts: no call that begins after it returned finds
//!   values that were written before it began;
//! * for a call that overlaps a replacement, the file that it used is unknown. Such a call raises neither `done` nor
//!   `seen`, like one that was killed. Its results are checked as usual.
//!
//! [`FileInUse`] tells whether a time overlaps a replacement.
//!
//! # Resizes
//!
//! In the other rounds workers resize the file, and are killed while they do so. A resize does not affect keys: all
//! rules hold as if there were one file, and stamps, near copies and locks of keys stay valid. But like an
//! invalidation, a resize voids the creations in progress. So a thread that asks for a claim notes how many resizes had
//! begun, and whether one is in progress.

use crate::board::{Board, Event, INVALIDATES, PARTS, RESIZES, Word};
use crate::keys::part;
use crate::tags;
use kennel::Invalidation;
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;

/// The numbers of invalidations of a key's part so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    pub hard: u64,
    pub soft: u64,
    /// The last invalidation of tags that began: see [`crate::tags`].
    pub tags: u64,
}

impl Events {
    pub fn begun(board: &Board, key: u16) -> Self {
        let count = |event| board.event(part(key), event).load(SeqCst);
        Self { hard: count(Event::HardBegun), soft: count(Event::SoftBegun), tags: tags::begun(board) }
    }

    /// The bits that stand for the part's invalidations in the word of a write that is done.
    pub fn bits(self) -> u64 {
        self.hard << 16 | self.soft & 0xffff
    }
}

/// The numbers of invalidations of a key's part that have returned, or that had begun when a write had returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartEvents {
    pub hard: u64,
    pub soft: u64,
}

impl PartEvents {
    /// The invalidations that have returned.
    pub fn done(board: &Board, key: u16) -> Self {
        let count = |event| board.event(part(key), event).load(SeqCst);
        Self { hard: count(Event::HardDone), soft: count(Event::SoftDone) }
    }

    /// The invalidations in the word of a write that is done.
    pub fn of_done(done: u64) -> Self {
        Self { hard: done >> 16 & 0xffff, soft: done & 0xffff }
    }
}

/// An invalidation in progress.
pub struct Invalidating<'a> {
    board: &'a Board,
    /// Slot and thread of the process that invalidates.
    place: (usize, usize),
    parts: Range<usize>,
    done: Event,
    /// Its number in each part.
    numbers: [u64; PARTS],
}

impl<'a> Invalidating<'a> {
    /// Notes that an invalidation of a part, or of all parts, is about to begin.
    pub fn begin(board: &'a Board, place: (usize, usize), part: Option<usize>, how: Invalidation) -> Self {
        let (begun, done) = match how {
            Invalidation::Hard => (Event::HardBegun, Event::HardDone),
            Invalidation::Soft => (Event::SoftBegun, Event::SoftDone),
        };
        let parts = part.map_or(0..PARTS, |part| part..part + 1);
        board.disturbs(place.0, place.1).store(INVALIDATES, SeqCst);
        let mut numbers = [0; PARTS];
        parts.clone().for_each(|part| numbers[part] = board.event(part, begun).fetch_add(1, SeqCst) + 1);
        Self { board, place, parts, done, numbers }
    }

    /// Notes that the invalidation has returned.
    pub fn done(&self) {
        for part in self.parts.clone() {
            self.board.event(part, self.done).fetch_max(self.numbers[part], SeqCst);
        }
    }
}

impl Drop for Invalidating<'_> {
    fn drop(&mut self) {
        self.board.disturbs(self.place.0, self.place.1).store(0, SeqCst);
    }
}

/// A resize in progress.
pub struct Resizing<'a> {
    board: &'a Board,
    place: (usize, usize),
}

impl<'a> Resizing<'a> {
    /// Notes that this thread of this slot is about to resize the file.
    pub fn begin(board: &'a Board, place: (usize, usize)) -> Self {
        board.disturbs(place.0, place.1).store(RESIZES, SeqCst);
        board.add(Word::ResizesBegun, 1);
        Self { board, place }
    }
}

impl Drop for Resizing<'_> {
    fn drop(&mut self) {
        self.board.disturbs(self.place.0, self.place.1).store(0, SeqCst);
    }
}

/// The file that is at the path, from some moment on.
#[derive(Clone, Copy, Debug)]
pub struct FileInUse {
    begun: u64,
    done: u64,
}

impl FileInUse {
    pub fn now(board: &Board) -> Self {
        Self { begun: board.get(Word::ReplacementsBegun), done: board.get(Word::ReplacementsDone) }
    }

    /// Whether no replacement was in progress at any time since that moment.
    pub fn is_same(self, board: &Board) -> bool {
        self.is_settled() && board.get(Word::ReplacementsBegun) == self.begun
    }

    /// Whether no replacement was in progress at that moment.
    pub fn is_settled(self) -> bool {
        self.done == self.begun
    }

    /// Whether a replacement that began after that moment has ended.
    pub fn was_replaced(self, board: &Board) -> bool {
        board.get(Word::Replaced) > self.begun
    }

    /// Number of replacements that had begun.
    pub fn number(self) -> u64 {
        self.begun
    }
}

/// A replacement of the cache file in progress.
pub struct Replacing<'a> {
    board: &'a Board,
    number: u64,
    hard: [u64; PARTS],
}

impl<'a> Replacing<'a> {
    pub fn begin(board: &'a Board) -> Self {
        let number = board.word(Word::ReplacementsBegun).fetch_add(1, SeqCst) + 1;
        let hard = std::array::from_fn(|part| board.event(part, Event::HardBegun).fetch_add(1, SeqCst) + 1);
        Self { board, number, hard }
    }

    /// Notes that the replacement has returned, and another file is at the path.
    pub fn succeeded(&self) {
        for (part, &number) in self.hard.iter().enumerate() {
            self.board.event(part, Event::HardDone).fetch_max(number, SeqCst);
        }
        self.board.word(Word::Replaced).store(self.number, SeqCst);
    }
}

impl Drop for Replacing<'_> {
    fn drop(&mut self) {
        self.board.word(Word::ReplacementsDone).store(self.number, SeqCst);
    }
}
