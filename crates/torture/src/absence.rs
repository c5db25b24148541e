//! Remembered absences: the fact that a key has no value is stored like a value, under the key's token and with a
//! number.
//!
//! A reader that gets an absence must have got one that was stored, or was being stored, when it asked. Its number is
//! at least that of the last write that had returned before; otherwise a later write had replaced it. It must not have
//! expired, and no hard invalidation that began after it may have removed it. A caller that needs a value never gets an
//! absence.

use crate::board::{Board, Mark};
use crate::history::{Before, Token, Wrong, last_done, wall_ms};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// An absence that is about to be stored with a number, until its time to live ends.
pub struct Storing<'a> {
    board: &'a Board,
    key: u16,
    ttl: Duration,
    /// The latest time at which an absence that may already be there expires.
    other_until_ms: u64,
}

impl<'a> Storing<'a> {
    /// Records that the absence is about to be stored. This must precede the call, because a process that is killed
    /// during the call may have stored the absence.
    pub fn begin(board: &'a Board, token: &Token<'_>, number: u64, ttl: Duration) -> Self {
        let key = token.key();
        let other_until_ms = match board.mark(key, Mark::Absent).load(SeqCst) {
            other if other < last_done(board, key) => 0,
            _ => board.mark(key, Mark::AbsentUntil).load(SeqCst),
        };
        board.mark(key, Mark::AbsentUntil).store(u64::MAX, SeqCst);
        board.mark(key, Mark::Absent).store(number, SeqCst);
        Self { board, key, ttl, other_until_ms }
    }

    /// Records that the call has returned, so the absence expires at the latest its time to live from now. If the
    /// absence was not stored, because its claim was voided or belongs to a replaced file, readers may still get the
    /// absence before it.
    pub fn returned(&self) {
        let until_ms = self.other_until_ms.max(wall_ms() + self.ttl.as_millis() as u64);
        self.board.mark(self.key, Mark::AbsentUntil).store(until_ms, SeqCst);
    }
}

impl Before<'_> {
    /// Checks that a read which began at that time may report that there is no value.
    pub fn check_absence(&self) -> Result<(), Wrong> {
        let mark = |mark| self.board().mark(self.key(), mark).load(SeqCst);
        let (number, until_ms) = (mark(Mark::Absent), mark(Mark::AbsentUntil));
        if number == 0 {
            return self.wrong("a value or a miss", "an absence, where none was ever stored");
        }
        if number < self.done() {
            let expected = format!("write {} or later: it had returned before", self.done());
            return self.wrong(expected, format!("absence {number}"));
        }
        if self.was_taken_away(number) {
            return self.wrong("a miss", format!("absence {number}, which a later hard invalidation removed"));
        }
        // The number and the time belong together if no other absence was begun between reading them.
        if mark(Mark::Absent) == number && self.wall_ms() >= until_ms {
            let late = self.wall_ms() - until_ms;
            return self.wrong("a miss", format!("absence {number}, which had expired {late} ms before"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u16 = 9;
    const MINUTE: Duration = Duration::from_secs(60);

    fn board() -> (tempfile::TempDir, Board) {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::create(&dir.path().join("board")).unwrap();
        (dir, board)
    }

    fn store(board: &Board, ttl: Duration) {
        let token = Token::take(board, KEY, 1).unwrap();
        let number = token.begin();
        let storing = Storing::begin(board, &token, number, ttl);
        storing.returned();
        token.done(number);
    }

    fn found(before: &Before<'_>, expected: &str) {
        let wrong = before.check_absence().unwrap_err();
        assert!(wrong.found.contains(expected), "{wrong:?}");
    }

    #[test]
    fn an_absence_is_one_that_was_stored_and_nothing_came_after() {
        let (_dir, board) = board();
        found(&Before::sample(&board, KEY), "none was ever stored");
        store(&board, MINUTE);
        let before = Before::sample(&board, KEY);
        before.check_absence().unwrap();
        let token = Token::take(&board, KEY, 1).unwrap();
        token.done(token.begin());
        before.check_absence().unwrap(); // The read may have got it before the write.
        found(&Before::sample(&board, KEY), "absence 1");
    }

    #[test]
    fn an_absence_under_way_may_be_told() {
        let (_dir, board) = board();
        let token = Token::take(&board, KEY, 1).unwrap();
        let number = token.begin();
        let _killed = Storing::begin(&board, &token, number, Duration::ZERO);
        Before::sample(&board, KEY).check_absence().unwrap();
    }

    #[test]
    fn an_absence_expires() {
        let (_dir, board) = board();
        store(&board, Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        found(&Before::sample(&board, KEY), "had expired");
    }

    #[test]
    fn an_absence_is_taken_away_by_a_hard_invalidation() {
        use crate::events::Invalidating;
        let (_dir, board) = board();
        store(&board, MINUTE);
        Invalidating::begin(&board, (0, 0), None, kennel::Invalidation::Soft).done();
        Before::sample(&board, KEY).check_absence().unwrap();
        Invalidating::begin(&board, (0, 0), None, kennel::Invalidation::Hard).done();
        found(&Before::sample(&board, KEY), "hard invalidation");
    }
}
