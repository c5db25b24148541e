//! Tags: values that bear them, and their invalidations.
//!
//! Some writes bear tags. The key and the number of a write determine its tags, so a value proves its tags as it proves
//! its number.
//!
//! All invalidations of tags have numbers from one counter, `TagsBegun`, taken before the call. When a write has returned,
//! it notes the counter beside its number; a creation notes the counter as it was when its claim had been acquired. An
//! invalidation that has returned raises a word of each of its tags to its number. So a hit on a write is *wrong* if a word
//! of one of its tags, sampled before the read began, is above what the write noted: that invalidation began after the write
//! had returned, and returned before the read began. If the invalidation was soft, such a hit must be stale.
//!
//! A created value must not be stored if one of its tags was hard invalidated since its claim was acquired, although no
//! process knew the value's tags at that time. If the invalidation was soft, the value is stored, and is stale. An
//! invalidation of a tag ends no claim.
//!
//! A miss is never wrong, and neither is a value that is stale for no visible reason, because two tags may share a
//! place in the tables of the file.

use crate::board::{Board, KEYS, Mark, TAGS, Word};
use crate::keys::is_counter;
use kennel::Invalidation;
use std::sync::atomic::Ordering::SeqCst;

/// Bits of a key's word that hold what its last write noted.
const NOTED_BITS: u32 = 32;

/// The tags of a write; most writes have none.
pub fn tags_of(key: u16, number: u64) -> Vec<usize> {
    // These numbers have no flags, so that a creator may use them.
    if number % 4 != 1 || is_counter(key) || usize::from(key) >= KEYS {
        return Vec::new();
    }
    // The numbers of six tags take two words.
    let count = [1, 2, 6][(number / 4 % 3) as usize];
    (0..count).map(|i| (usize::from(key) + number as usize / 12 + i * 5) % TAGS).collect()
}

pub fn name(tag: usize) -> String {
    format!("tag {tag}")
}

/// The names of the tags of a write.
pub fn names_of(key: u16, number: u64) -> Vec<String> {
    tags_of(key, number).into_iter().map(name).collect()
}

fn index(how: Invalidation) -> usize {
    usize::from(how == Invalidation::Soft)
}

/// The number of the last invalidation of tags that began.
pub fn begun(board: &Board) -> u64 {
    board.get(Word::TagsBegun)
}

/// Notes that a write is done, and that it is as old as the invalidation with this number.
pub fn note(board: &Board, key: u16, number: u64, begun: u64) {
    let noted = begun & ((1 << NOTED_BITS) - 1);
    board.mark(key, Mark::Tagged).store(number << NOTED_BITS | noted, SeqCst);
}

/// What a write noted, if it is the last one that returned.
fn noted(board: &Board, key: u16, number: u64) -> Option<u64> {
    let word = board.mark(key, Mark::Tagged).load(SeqCst);
    (word >> NOTED_BITS == number).then_some(word & ((1 << NOTED_BITS) - 1))
}

/// The invalidations of each tag that had returned at some moment: the highest number, hard and soft.
pub struct TagsDone([[u64; 2]; TAGS]);

impl TagsDone {
    pub fn now(board: &Board) -> Self {
        let word = |tag, how| board.tag(tag, index(how)).load(SeqCst);
        Self(std::array::from_fn(|tag| [word(tag, Invalidation::Hard), word(tag, Invalidation::Soft)]))
    }

    /// The last of these invalidations that covers a write, if the last invalidation had the number `begun` when the
    /// write began.
    pub fn since(&self, how: Invalidation, key: u16, number: u64, begun: u64) -> Option<u64> {
        let done = tags_of(key, number).into_iter().map(|tag| self.0[tag][index(how)]).max()?;
        (done > begun).then_some(done)
    }

    /// The last of these invalidations that covers a write, if that is the last write that returned.
    pub fn covering(&self, board: &Board, how: Invalidation, key: u16, number: u64) -> Option<u64> {
        self.since(how, key, number, noted(board, key, number)?)
    }
}

/// An invalidation of tags in progress.
pub struct InvalidatingTags<'a> {
    board: &'a Board,
    tags: &'a [usize],
    how: Invalidation,
    number: u64,
}

impl<'a> InvalidatingTags<'a> {
    pub fn begin(board: &'a Board, tags: &'a [usize], how: Invalidation) -> Self {
        let number = board.word(Word::TagsBegun).fetch_add(1, SeqCst) + 1;
        Self { board, tags, how, number }
    }

    /// Notes that the invalidation has returned.
    pub fn done(&self) {
        for &tag in self.tags {
            self.board.tag(tag, index(self.how)).fetch_max(self.number, SeqCst);
        }
        self.board.add(Word::TagInvalidations, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Events;
    use crate::history::{Before, Beside, Token, Wrong};
    use crate::tenure::Creation;
    use crate::value::Value;

    const KEY: u16 = 9;

    fn board() -> (tempfile::TempDir, Board) {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::create(&dir.path().join("board")).unwrap();
        (dir, board)
    }

    /// The number of a write with tags that is about to begin.
    fn begin(token: &Token<'_>) -> u64 {
        loop {
            let number = token.begin();
            if !tags_of(KEY, number).is_empty() {
                return number;
            }
        }
    }

    fn write(board: &Board) -> u64 {
        let token = Token::take(board, KEY, 1).unwrap();
        let number = begin(&token);
        token.done(number);
        number
    }

    fn found(before: &Before<'_>, number: u64, is_stale: bool) -> Result<(), Wrong> {
        let value = Value { key: KEY, writer: 1, number: number as u32, expires_ms: 0 };
        before.check_hit(&value.bytes(100), Some(Beside { flags: 0, is_stale }))
    }

    #[test]
    fn a_write_has_up_to_six_tags_and_one_with_flags_or_of_a_counter_has_none() {
        let counts: Vec<_> = (0..48).map(|number| tags_of(KEY, number).len()).collect();
        assert!([0, 1, 2, 6].iter().all(|count| counts.contains(count)), "{counts:?}");
        assert!((0..48).all(|number| crate::history::flags_of(number) == 0 || counts[number as usize] == 0));
        assert!((0..48).all(|number| tags_of(16, number).is_empty()));
    }

    #[test]
    fn what_bears_an_invalidated_tag_is_gone() {
        let (_dir, board) = board();
        let number = write(&board);
        let tags = tags_of(KEY, number);
        let other = [(0..TAGS).find(|tag| !tags.contains(tag)).unwrap()];
        InvalidatingTags::begin(&board, &other, Invalidation::Hard).done();
        found(&Before::sample(&board, KEY), number, false).unwrap();
        let before = Before::sample(&board, KEY);
        let during = InvalidatingTags::begin(&board, &tags[..1], Invalidation::Hard);
        found(&Before::sample(&board, KEY), number, false).unwrap();
        during.done();
        found(&before, number, false).unwrap();
        let wrong = found(&Before::sample(&board, KEY), number, false).unwrap_err();
        assert!(wrong.expected == "a miss" && wrong.found.contains("of its tags"), "{wrong:?}");
        // A value that is written during an invalidation may outlive it.
        let during = InvalidatingTags::begin(&board, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], Invalidation::Hard);
        let number = write(&board);
        during.done();
        found(&Before::sample(&board, KEY), number, false).unwrap();
    }

    #[test]
    fn what_bears_a_softly_invalidated_tag_is_stale() {
        let (_dir, board) = board();
        let number = write(&board);
        found(&Before::sample(&board, KEY), number, false).unwrap();
        InvalidatingTags::begin(&board, &tags_of(KEY, number), Invalidation::Soft).done();
        let wrong = found(&Before::sample(&board, KEY), number, false).unwrap_err();
        assert_eq!(wrong.expected, "a stale value");
        found(&Before::sample(&board, KEY), number, true).unwrap();
    }

    #[test]
    fn what_was_created_is_as_old_as_its_claim() {
        let (_dir, board) = board();
        let creation = Creation::begin(&board, KEY);
        let token = Token::take(&board, KEY, 1).unwrap();
        let number = begin(&token);
        let tags = tags_of(KEY, number);
        InvalidatingTags::begin(&board, &tags, Invalidation::Soft).done();
        assert_eq!(creation.hindrance(number), None);
        InvalidatingTags::begin(&board, &tags, Invalidation::Hard).done();
        assert!(creation.hindrance(number).unwrap().contains("of its tags"));
        assert_eq!(creation.hindrance(number + 1), None, "a value without tags");
        token.done_since(number, creation.events, creation.file);
        assert_eq!(found(&Before::sample(&board, KEY), number, true).unwrap_err().expected, "a miss");
        assert_eq!(Events::begun(&board, KEY).tags, 2);
    }
}
