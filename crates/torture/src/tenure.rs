//! Tenures: which process creates or locks a key, and why no two do so at the same time.
//!
//! A thread that acquires a key's claim, to create the key or as a lock, writes itself into the key's `holder` word on
//! the [board](crate::board), and removes itself before it ends the claim. So a thread that acquires the claim and
//! finds another one in the word has found *two holders at the same time*, unless
//!
//! * the other was killed: it is marked as doomed before the signal, and the killer removes it from the board, and from
//!   the word, when it has reaped it;
//! * one of the two no longer has the claim. A write, an invalidation or a resize voids a claim to create. Their
//!   numbers show whether there were any: before it asked for the claim, each of the two threads noted the key's
//!   `begun` and how many invalidations and resizes had begun, and then checked that none of these was still in
//!   progress. If both numbers are unchanged, nothing can have voided the claim. If something was in progress, or the
//!   claim has a small maximum age, the claim is not sure, and is not judged. None of this voids a lock;
//! * the cache file was replaced: claims and locks of an old file exclude nobody from the new one. Before it asked,
//!   each of the two noted how many replacements had begun, and then that none of those was in progress. Two holders
//!   are judged only if no replacement has begun since either of them asked, since both are in the same file then;
//! * one of the two creates without protection: these creations are counted, and leave the word alone.
//!
//! ```text
//! 63..48 worker | 47 thread | 46 can be voided | 45 sure | 44 one | 43..28 invalidations and resizes | 27..20 replacements | 19..0 begun
//! ```
//!
//! A created value is stored under the key's token, as a write with a number. It must not be stored if a write or an
//! invalidation that began after the claim was acquired returned before the store began. This also holds without
//! protection. A replacement of the file counts as a hard invalidation here, too, and so does a hard invalidation of one of
//! the value's [tags](crate::tags).
//!
//! A lock reports whether it is still exclusive. If the file stayed the same from before the lock was asked for, the
//! lock must report yes until it is released; after a replacement that began after the lock was acquired, it must
//! report no.
//!
//! Another word holds the time when a holder was killed. The next thread that acquires the claim has waited since then,
//! or since it asked, if that was later.

use crate::board::{Board, Mark, SLOTS, THREADS, WORKER_SHIFT, Word, monotonic_ns, worker_of};
use crate::events::{Events, FileInUse, PartEvents};
use crate::history::{Wrong, last_done};
use crate::tags::TagsDone;
use kennel::Invalidation;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// A longer wait for the claim of a dead process is a fault: it should take a second, plus stops and the scheduler.
const LONGEST_TAKEOVER: Duration = Duration::from_secs(20);

const THREAD: u64 = 1 << 47;
const CAN_BE_VOIDED: u64 = 1 << 46;
const SURE: u64 = 1 << 45;
/// No holder's word is 0.
const HELD: u64 = 1 << 44;
const NOTED: u64 = HELD - 1;
/// The bits of the noted numbers that count replacements.
const REPLACEMENTS: u64 = 0xff << 20;

/// The purpose of a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Create,
    /// To create, with a maximum age that may pass.
    CreateSoon,
    Lock,
}

/// The numbers of everything that could void a claim: writes, invalidations, resizes and replacements.
fn noted(board: &Board, key: u16) -> u64 {
    let events = Events::begun(board, key);
    let begun = board.mark(key, Mark::Begun).load(SeqCst);
    let replacements = FileInUse::now(board).number() << 20 & REPLACEMENTS;
    ((events.hard + events.soft + board.get(Word::ResizesBegun)) & 0xffff) << 28 | replacements | begun & 0xf_ffff
}

/// Whether a write of a key, an invalidation of any part, or a resize is in progress.
fn is_under_way(board: &Board, key: u16) -> bool {
    let disturbs = |slot| (0..THREADS).any(|thread| board.disturbs(slot, thread).load(SeqCst) != 0);
    board.mark(key, Mark::Owner).load(SeqCst) != 0 || (0..SLOTS).any(disturbs)
}

/// A thread that asks for a claim.
pub struct Seeking<'a> {
    board: &'a Board,
    key: u16,
    word: u64,
    since_ns: u64,
}

impl<'a> Seeking<'a> {
    pub fn begin(board: &'a Board, key: u16, worker: u64, thread: usize, purpose: Purpose) -> Self {
        // The order matters: if nothing is in progress after this, everything that had begun by now has ended.
        let noted = noted(board, key);
        let can_be_voided = purpose != Purpose::Lock;
        let is_sure = purpose != Purpose::CreateSoon
            && !(can_be_voided && is_under_way(board, key))
            && FileInUse::now(board).is_settled();
        let flag = |yes, bit| if yes { bit } else { 0 };
        let flags = flag(thread != 0, THREAD) | flag(can_be_voided, CAN_BE_VOIDED) | flag(is_sure, SURE);
        Self { board, key, word: worker << WORKER_SHIFT | flags | HELD | noted, since_ns: monotonic_ns() }
    }

    /// The claim was acquired.
    pub fn given(&self) -> (Tenure<'a>, Result<Option<Duration>, Wrong>) {
        let other = self.board.mark(self.key, Mark::Holder).swap(self.word, SeqCst);
        let tenure = Tenure { board: self.board, key: self.key, word: self.word };
        let checked = self.check_other(other).and_then(|()| self.check_wait());
        (tenure, checked)
    }

    fn check_other(&self, other: u64) -> Result<(), Wrong> {
        let Some(worker) = worker_of(other) else { return Ok(()) };
        if !self.has_claim(self.word) || !self.has_claim(other) || !self.board.lives(worker) {
            return Ok(());
        }
        let what = |word| if word & CAN_BE_VOIDED == 0 { "lock" } else { "claim to create" };
        Err(Wrong {
            key: self.key,
            expected: "one holder of the key's claim".into(),
            found: format!(
                "a {} for worker {}, while worker {worker}, which lives, has a {}",
                what(self.word),
                self.word >> WORKER_SHIFT,
                what(other),
            ),
        })
    }

    /// Whether only its owner can have ended a claim that was acquired.
    fn has_claim(&self, word: u64) -> bool {
        let voids = if word & CAN_BE_VOIDED == 0 { REPLACEMENTS } else { NOTED };
        word & SURE != 0 && (word ^ noted(self.board, self.key)) & voids == 0
    }

    /// The time spent waiting for the claim of a killed process.
    fn check_wait(&self) -> Result<Option<Duration>, Wrong> {
        let orphaned_ns = self.board.mark(self.key, Mark::Orphaned).swap(0, SeqCst);
        if orphaned_ns == 0 {
            return Ok(None);
        }
        let waited = Duration::from_nanos(monotonic_ns().saturating_sub(orphaned_ns.max(self.since_ns)));
        if waited > LONGEST_TAKEOVER {
            return Err(Wrong {
                key: self.key,
                expected: format!("the claim of a dead process within {LONGEST_TAKEOVER:?}"),
                found: format!("{waited:?}"),
            });
        }
        Ok(Some(waited))
    }
}

/// An acquired claim, until it is about to end.
pub struct Tenure<'a> {
    board: &'a Board,
    key: u16,
    word: u64,
}

impl Drop for Tenure<'_> {
    fn drop(&mut self) {
        // Another thread may have the word by now, if the claim was voided.
        let _ = self.board.mark(self.key, Mark::Holder).compare_exchange(self.word, 0, SeqCst, SeqCst);
    }
}

/// A creation in progress, from when its claim was acquired.
pub struct Creation<'a> {
    board: &'a Board,
    key: u16,
    begun: u64,
    /// The value is as old as these.
    pub events: Events,
    /// The value is stored in this file, or nowhere.
    pub file: FileInUse,
}

impl<'a> Creation<'a> {
    pub fn begin(board: &'a Board, key: u16) -> Self {
        let begun = board.mark(key, Mark::Begun).load(SeqCst);
        Self { board, key, begun, events: Events::begun(board, key), file: FileInUse::now(board) }
    }

    /// The reason why nothing may be stored any more as a write of this number, if there is one. Call this before the
    /// store, while the key's token is held.
    pub fn hindrance(&self, number: u64) -> Option<String> {
        let (done, events) = (last_done(self.board, self.key), PartEvents::done(self.board, self.key));
        if done > self.begun {
            return Some(format!("write {done} came after write {}, when the claim was given", self.begun));
        }
        let later =
            |kind, done, begun| (done > begun).then(|| format!("{kind} invalidation {done} came after {begun}"));
        let tagged = || {
            let tags = TagsDone::now(self.board);
            let last = tags.since(Invalidation::Hard, self.key, number, self.events.tags)?;
            Some(format!("hard invalidation {last} of one of its tags came after {}", self.events.tags))
        };
        later("hard", events.hard, self.events.hard)
            .or_else(|| later("soft", events.soft, self.events.soft))
            .or_else(tagged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Place;
    use crate::events::{Invalidating, Replacing};
    use crate::history::Token;
    use kennel::Invalidation;

    const KEY: u16 = 9;

    struct Round(tempfile::TempDir, Board);

    /// A round with worker 1 at slot 0, and worker 2 at slot 1.
    fn round() -> Round {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::create(&dir.path().join("board")).unwrap();
        for pid in [111, 222] {
            let (slot, _) = board.join().unwrap();
            board.place(slot, Place::Pid).store(pid, SeqCst);
        }
        Round(dir, board)
    }

    fn seek(board: &Board, worker: u64, purpose: Purpose) -> Seeking<'_> {
        Seeking::begin(board, KEY, worker, 0, purpose)
    }

    fn write(board: &Board) {
        let token = Token::take(board, KEY, 2).unwrap();
        token.done(token.begin());
    }

    #[test]
    fn two_holders_at_a_time_are_found_and_two_in_a_row_are_not() {
        let Round(_dir, board) = round();
        for (first, second) in [
            (Purpose::Create, Purpose::Create),
            (Purpose::Create, Purpose::Lock),
            (Purpose::Lock, Purpose::Create),
            (Purpose::Lock, Purpose::Lock),
        ] {
            let (held, checked) = seek(&board, 1, first).given();
            checked.unwrap();
            let (other, checked) = seek(&board, 2, second).given();
            assert!(checked.unwrap_err().found.contains("while worker 1, which lives"));
            drop((held, other));
            seek(&board, 2, second).given().1.unwrap();
        }
    }

    #[test]
    fn a_voided_claim_to_create_is_another_matter_but_a_lock_is_not_voided() {
        let Round(_dir, board) = round();
        let void: [fn(&Board); 2] =
            [write, |board| Invalidating::begin(board, (1, 0), None, Invalidation::Soft).done()];
        for void in void {
            let (_held, _) = seek(&board, 1, Purpose::Create).given();
            void(&board);
            seek(&board, 2, Purpose::Create).given().1.unwrap();
            let (_held, _) = seek(&board, 1, Purpose::Lock).given();
            void(&board);
            assert!(seek(&board, 2, Purpose::Create).given().1.is_err());
        }
    }

    #[test]
    fn holders_of_two_files_say_nothing_about_each_other() {
        let Round(_dir, board) = round();
        for purpose in [Purpose::Create, Purpose::Lock] {
            let (_held, _) = seek(&board, 1, purpose).given();
            let replacing = Replacing::begin(&board);
            let during = seek(&board, 1, purpose);
            seek(&board, 2, purpose).given().1.unwrap();
            drop(replacing);
            let (_held, checked) = seek(&board, 2, purpose).given();
            checked.unwrap();
            during.given().1.unwrap();
            let (_held, _) = seek(&board, 2, purpose).given();
            assert!(seek(&board, 1, purpose).given().1.is_err(), "both in the new file");
        }
    }

    #[test]
    fn what_was_under_way_when_a_claim_was_asked_for_may_void_it() {
        let Round(_dir, board) = round();
        let token = Token::take(&board, KEY, 2).unwrap();
        token.begin();
        let (held, _) = seek(&board, 1, Purpose::Create).given();
        drop(token);
        seek(&board, 2, Purpose::Create).given().1.unwrap();
        drop(held);
        let during = Invalidating::begin(&board, (1, 0), None, Invalidation::Hard);
        let (_held, _) = seek(&board, 1, Purpose::Create).given();
        drop(during);
        seek(&board, 2, Purpose::Create).given().1.unwrap();
    }

    #[test]
    fn one_that_noticed_late_that_it_was_voided_says_nothing_about_the_next() {
        let Round(_dir, board) = round();
        let late = seek(&board, 1, Purpose::Create);
        write(&board);
        let (_held, checked) = seek(&board, 2, Purpose::Create).given();
        checked.unwrap();
        late.given().1.unwrap();
    }

    #[test]
    fn the_claim_of_the_dead_is_free_and_the_wait_for_it_is_measured() {
        let Round(_dir, board) = round();
        let (held, _) = seek(&board, 1, Purpose::Lock).given();
        std::mem::forget(held);
        let waiting = seek(&board, 2, Purpose::Lock);
        assert_eq!(board.doom(222), 0);
        board.bury(222);
        assert_eq!(board.doom(111), 1);
        std::thread::sleep(Duration::from_millis(5));
        let (other, checked) = waiting.given();
        assert!(checked.unwrap().unwrap() >= Duration::from_millis(5));
        drop(other);
        board.bury(111);
        assert_eq!(seek(&board, 2, Purpose::Lock).given().1.unwrap(), None);
    }

    #[test]
    fn nothing_is_to_be_stored_after_what_came_in_the_meantime() {
        let Round(_dir, board) = round();
        let creation = Creation::begin(&board, KEY);
        assert_eq!(creation.hindrance(0), None);
        write(&board);
        assert!(creation.hindrance(0).unwrap().contains("write 1"));
        let creation = Creation::begin(&board, KEY);
        assert_eq!(creation.hindrance(0), None);
        Invalidating::begin(&board, (0, 0), None, Invalidation::Soft).done();
        assert!(creation.hindrance(0).unwrap().contains("soft invalidation 1"));
    }
}
