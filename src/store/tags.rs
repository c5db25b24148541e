//! Tags: an invalidation of a tag covers all values that bear it, at the cost of two words, however many they are.
//!
//! One clock counts the invalidations of all tags. A record bears the clock from before its old value was read, or from
//! before its creation began, and the numbers of its tags. An invalidation raises the clock, and then the words of its
//! tags in a table to that clock. A record is covered if the word of one of its tags is above its own clock. So a
//! creator that learns the tags of its value only at the end is checked against all invalidations since it began.
//!
//! A death between the two steps invalidates none or some of the tags. That is allowed, because the call has not
//! returned.

use super::epochs::Invalidation;
use super::header::HeaderWords;
use super::record::{Extension, NewRecord};
use super::table::Store;
use super::tag_words::TagWords;
use crate::fault::{Fault, injected};
use crate::shm::atomics::Ordering;
use crate::shm::layout::at;
use crate::shm::memory::{Row, Word};
use crate::shm::{Memory, Step};

impl<M: Memory> Store<M> {
    /// Whether the file has tables for tags.
    pub(crate) fn has_tags(&self) -> bool {
        self.geometry.shape.tags != 0
    }

    /// The number of the newest invalidation of a tag.
    #[inline]
    pub(crate) fn tag_clock(&self) -> u64 {
        self.mem.word(at!(tag_clock)).load(Ordering::Acquire)
    }

    /// The word of a tag. The caller has checked that the file has tables for tags. Their length is a power of two.
    #[inline]
    fn tag_word(&self, number: u16, how: Invalidation) -> Word<'_> {
        let tags = u64::from(self.geometry.shape.tags);
        let index = u64::from(number) & (tags - 1);
        let table = if how == Invalidation::Hard { 0 } else { tags };
        self.mem.word(self.geometry.tags_at + (table + index) * 8)
    }

    /// Invalidates all records that bear one of these tags and were begun before.
    pub(crate) fn invalidate_tags(&self, numbers: &[u16], how: Invalidation) {
        if !self.has_tags() {
            return;
        }
        // A creator that loads the new clock sees what this thread did before.
        let clock = self.mem.word(at!(tag_clock)).announce(Step::TagClock).wrapping_add(1);
        for &number in numbers {
            // A thread that finds a record covered, and then begins another one, loads a clock that is at least as
            // high.
            self.tag_word(number, how).raise(Step::TagTable, clock, Ordering::Release);
        }
    }

    /// Whether one of a record's tags was invalidated after the record was begun.
    #[inline]
    pub(crate) fn is_tag_invalidated(&self, tags: &TagWords, how: Invalidation) -> bool {
        tags.as_slice().iter().skip(1).any(|&numbers| self.is_one_above(numbers, how, tags.clock()))
    }

    /// [`is_tag_invalidated`](Self::is_tag_invalidated) for the words of the tags where they lie in the file.
    #[inline(always)]
    pub(super) fn is_any_tag_invalidated(&self, words: Row<'_>, how: Invalidation) -> bool {
        (1..words.len()).any(|i| self.is_one_above(words.get(i), how, words.get(0)))
    }

    /// Whether the word of one of the four tags in `numbers` is above a clock.
    #[inline(always)]
    fn is_one_above(&self, numbers: u64, how: Invalidation, clock: u64) -> bool {
        let is_deaf = match how {
            Invalidation::Hard => injected(Fault::DeafToTags),
            Invalidation::Soft => injected(Fault::FreshThoughTagged),
        };
        if !self.has_tags() || is_deaf {
            return false;
        }
        let is_above = |shift: u32| {
            let number = (numbers >> shift) as u16;
            self.tag_word(number, how).load(Ordering::Acquire) > clock
        };
        // A single tag fills all four places of the word.
        is_above(0) || (numbers.rotate_left(16) != numbers && (is_above(16) || is_above(32) || is_above(48)))
    }
}

impl<M: Memory> Store<M> {
    /// Whether a record's clock of tags is one that the file has reached. A higher clock was lost in a crash: the clock
    /// of the next invalidation could be below it.
    pub(crate) fn has_known_clock(&self, extension: &Extension) -> bool {
        extension.tags.is_none_or(|tags| tags.clock() <= self.tag_clock())
    }

    /// Whether a hard invalidation covers a value that is about to be stored, so that no reader would find the value.
    pub(crate) fn is_covered_by_tags(&self, draft: &NewRecord<'_>) -> bool {
        let words = draft.metadata.as_ref().and_then(|metadata| TagWords::pack(metadata.tag_clock, &metadata.tags));
        words.is_some_and(|words| self.is_tag_invalidated(&words, Invalidation::Hard))
    }
}

/// How far a reset raises the clock. No page of a file is older than another one by that many invalidations.
const AHEAD: u64 = 1 << 32;

impl<M: Memory> HeaderWords<'_, M> {
    /// Raises the clock of tags in a file whose pages are from different moments, so that each record in it is older
    /// than the next invalidation. The header must be on the device before a record bears the new clock: otherwise the
    /// next crash could leave such a record beside the old clock.
    pub(crate) fn raise_tag_clock(self) {
        self.0.word(at!(tag_clock)).bump(Step::Header, AHEAD);
    }
}
