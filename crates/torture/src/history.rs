//! The history of each key, and the values that a hit may have.
//!
//! Workers are killed at any moment, so no process can tell afterwards when each write took effect. The facts that can
//! be known are kept beside the cache, in words of the [board](crate::board) that outlive the killed processes. They
//! are chosen so that *no correct cache ever fails a check*, however the processes are scheduled, stopped or killed.
//!
//! # Values
//!
//! Only one worker at a time writes a key: it takes the key's *token*, a word with its number. So the writes and
//! deletes of a key follow each other and have numbers: 1, 2, 3, ... A writer raises `begun` to its number before the
//! call, stores the number in every word of the value, and raises `done` after the call returned that it was applied.
//! When a worker is killed, the killer waits for its end, then frees its tokens. A write that was in progress may or
//! may not take effect. But the next writer of the key locks its stripe, so a repair decides before that: *the write
//! took effect before the next one, or never.* So the numbers are the order in which writes take effect. Reads take no
//! token.
//!
//! A reader samples `done` and `seen` before its call and `begun` after it. A hit must then be
//!
//! * **whole**: every word states the same key and write ([`value`](crate::value)), and the key is the one that was
//!   asked for. Otherwise the value is torn, a mixture, or another key's.
//! * **no older than `done`**: that write had replaced or deleted all earlier values when the read began.
//! * **no older than `seen`**, the highest number that any read had returned before this one began. Otherwise values go
//!   back, for example when readers see a killed write that a repair then undoes.
//! * **no newer than `begun`**: otherwise no worker wrote it.
//! * **not invalidated.** The keys are in three parts: those of two namespaces, and those without one. The hard
//!   invalidations of each part have numbers, too, taken before the call; a clear is one of all parts. The word of
//!   `done` includes how many had begun when the write had returned: any later one began after it. A hit on that write
//!   is wrong if a later invalidation returned before the read began. A value created under a claim is as old as the
//!   claim: its `done` includes how many had begun when the claim had been acquired.
//! * **stale, if it was softly invalidated**: soft invalidations are counted in the same way.
//! * **without an invalidated tag**: see [`tags`].
//! * **not expired**: a value states when it expires; a read that began then or later must miss. The check uses the
//!   times of both ends of the read, so a step of the clock does no harm. Values whose expiry was changed by `touch`
//!   are excluded.
//!
//! A miss is always allowed.
//!
//! # Replaced files
//!
//! A replacement of the cache file counts as a hard invalidation of all parts, and a call that overlaps one raises
//! neither `done` nor `seen`: [`events`](crate::events) explains why.
//!
//! # Counters
//!
//! Every eighth key is a number in decimal text that many workers raise by `incr` at the same time, without a token. A
//! worker raises `begun` before it raises the counter, so the counter never exceeds `begun`. Only a token's owner
//! recreates a missing counter, as `begun + 1`, which exceeds every value that it ever had; the owner then raises
//! `begun` by the number of additions that may have begun before and may still follow. So the numbers of a counter
//! never decrease, whatever is evicted, deleted, cleared or killed: `seen` bounds every later hit from below, an
//! addition must return more than that, and no two additions return the same.
//!
//! # Claims
//!
//! See [`tenure`](crate::tenure).

use crate::board::{Board, Mark, SLOTS, THREADS};
use crate::events::{Events, FileInUse, PartEvents};
use crate::keys::is_counter;
use crate::tags::{self, TagsDone};
use crate::value::Value;
use kennel::{Invalidation, Item};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bits of `done` that count invalidations, hard ones and soft ones.
const EVENT_BITS: u32 = 32;
/// Bits of a counter's number below its key.
const COUNT_BITS: u32 = 40;

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A check that failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub key: u16,
    pub expected: String,
    pub found: String,
}

/// The right to write a key.
pub struct Token<'a> {
    board: &'a Board,
    key: u16,
    worker: u64,
    file: FileInUse,
}

impl<'a> Token<'a> {
    /// Takes a key's token, if it is free.
    pub fn take(board: &'a Board, key: u16, worker: u64) -> Option<Self> {
        board.mark(key, Mark::Owner).compare_exchange(0, worker, SeqCst, SeqCst).ok()?;
        Some(Self { board, key, worker, file: FileInUse::now(board) })
    }

    pub fn key(&self) -> u16 {
        self.key
    }

    /// Returns the number of a write that is about to begin.
    pub fn begin(&self) -> u64 {
        begin(self.board, self.key)
    }

    /// Notes that the write has returned and was applied.
    pub fn done(&self, number: u64) {
        self.done_since(number, Events::begun(self.board, self.key), self.file);
    }

    /// Notes that a creation was applied. It is as old as these invalidations, and began in this file.
    pub fn done_since(&self, number: u64, events: Events, file: FileInUse) {
        if !file.is_same(self.board) {
            return;
        }
        self.board.mark(self.key, Mark::Done).store(number << EVENT_BITS | events.bits(), SeqCst);
        tags::note(self.board, self.key, number, events.tags);
    }

    /// Notes that the expiry of the key's value is about to be changed.
    pub fn touch(&self) {
        let begun = self.board.mark(self.key, Mark::Begun).load(SeqCst);
        self.board.mark(self.key, Mark::Touched).store(begun, SeqCst);
    }
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        let _ = self.board.mark(self.key, Mark::Owner).compare_exchange(self.worker, 0, SeqCst, SeqCst);
    }
}

/// Returns the number of a write or an addition that is about to begin.
fn begin(board: &Board, key: u16) -> u64 {
    board.mark(key, Mark::Begun).fetch_add(1, SeqCst) + 1
}

/// The last write of a key that returned.
pub fn last_done(board: &Board, key: u16) -> u64 {
    board.mark(key, Mark::Done).load(SeqCst) >> EVENT_BITS
}

/// Data that a read may return together with the bytes of a value.
#[derive(Clone, Copy)]
pub struct Beside {
    pub flags: u32,
    pub is_stale: bool,
}

/// The facts known when a read began.
pub struct Before<'a> {
    board: &'a Board,
    key: u16,
    done: u64,
    seen: u64,
    events: PartEvents,
    tags: TagsDone,
    file: FileInUse,
    wall_ms: u64,
}

impl<'a> Before<'a> {
    pub fn sample(board: &'a Board, key: u16) -> Self {
        Self {
            board,
            key,
            done: last_done(board, key),
            seen: board.mark(key, Mark::Seen).load(SeqCst),
            events: PartEvents::done(board, key),
            tags: TagsDone::now(board),
            file: FileInUse::now(board),
            wall_ms: wall_ms(),
        }
    }

    pub fn board(&self) -> &Board {
        self.board
    }

    pub fn key(&self) -> u16 {
        self.key
    }

    /// The last write that had returned.
    pub fn done(&self) -> u64 {
        self.done
    }

    pub fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    /// Whether a hard invalidation that began after this write had returned by then.
    pub fn was_taken_away(&self, number: u64) -> bool {
        self.events_of(number).is_some_and(|events| events.hard < self.events.hard)
    }

    pub fn wrong<T>(&self, expected: impl Into<String>, found: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { key: self.key, expected: expected.into(), found: found.into() })
    }

    /// Checks an item that a read found. The read began when this was sampled.
    pub fn check_item(&self, item: &Item) -> Result<(), Wrong> {
        self.check_hit(&item.value, Some(Beside { flags: item.flags, is_stale: item.is_stale }))
    }

    /// Checks a value that a read found, and the metadata that the read returned with it. The read began when this was
    /// sampled.
    pub fn check_hit(&self, bytes: &[u8], beside: Option<Beside>) -> Result<(), Wrong> {
        let after_ms = wall_ms();
        if is_counter(self.key) {
            return self.check_counter(bytes);
        }
        let value = match Value::parse(bytes) {
            Ok(value) => value,
            Err(found) => return self.wrong("a whole value", found),
        };
        self.check_value(value, after_ms)?;
        if let Some(beside) = beside {
            self.check_beside(value, beside)?;
        }
        self.saw(value.number.into());
        Ok(())
    }

    /// Records that later reads must find this number or a higher one, unless the file was replaced meanwhile.
    fn saw(&self, number: u64) {
        if self.file.is_same(self.board) {
            self.board.mark(self.key, Mark::Seen).fetch_max(number, SeqCst);
        }
    }

    fn check_value(&self, value: Value, after_ms: u64) -> Result<(), Wrong> {
        let number = u64::from(value.number);
        let made = format!("write {number} by {}", value.writer);
        if value.key != self.key {
            return self.wrong(format!("a value of key {}", self.key), format!("{made} of key {}", value.key));
        }
        if number < self.done {
            return self.wrong(format!("write {} or later: it had returned before", self.done), made);
        }
        if number < self.seen {
            return self.wrong(format!("write {} or later: it had been read before", self.seen), made);
        }
        let begun = self.board.mark(self.key, Mark::Begun).load(SeqCst);
        if number > begun {
            return self.wrong(format!("at most write {begun}: no later one had begun"), made);
        }
        if self.was_taken_away(number) {
            let hard = self.events.hard;
            let found = format!("{made}, which was there before hard invalidation {hard} began and removed it");
            return self.wrong("a miss", found);
        }
        if let Some(last) = self.tags.covering(self.board, Invalidation::Hard, self.key, number) {
            let found = format!("{made}, which was there before hard invalidation {last} of one of its tags began");
            return self.wrong("a miss", found);
        }
        let touched = self.board.mark(self.key, Mark::Touched).load(SeqCst);
        if value.expires_ms != 0 && number > touched && self.wall_ms.min(after_ms) >= value.expires_ms {
            let late = self.wall_ms - value.expires_ms;
            return self.wrong("a miss", format!("{made}, which had expired {late} ms before"));
        }
        Ok(())
    }

    /// The invalidations that had begun when this write had returned, if it is the last write that returned.
    fn events_of(&self, number: u64) -> Option<PartEvents> {
        let done = self.board.mark(self.key, Mark::Done).load(SeqCst);
        (done >> EVENT_BITS == number).then(|| PartEvents::of_done(done))
    }

    fn check_beside(&self, value: Value, beside: Beside) -> Result<(), Wrong> {
        let number = value.number.into();
        let (expected, found) = (flags_of(number), beside.flags);
        if expected != found {
            return self.wrong(format!("flags {expected:#x}"), format!("flags {found:#x}"));
        }
        let soft = self.events.soft;
        if !beside.is_stale && self.events_of(number).is_some_and(|events| events.soft < soft) {
            let found = format!("write {number}, not stale although soft invalidation {soft} began after it");
            return self.wrong("a stale value", found);
        }
        let last = self.tags.covering(self.board, Invalidation::Soft, self.key, number);
        if let Some(last) = last.filter(|_| !beside.is_stale) {
            let found = format!("write {number}, not stale although soft invalidation {last} of a tag began after it");
            return self.wrong("a stale value", found);
        }
        Ok(())
    }

    fn check_counter(&self, bytes: &[u8]) -> Result<(), Wrong> {
        let Some(number) = counted(self.key, bytes) else {
            let found = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            return self.wrong(format!("a number of key {}", self.key), format!("{found:?}"));
        };
        self.check_number(number, self.seen)
    }

    /// Checks the result of an addition. The addition began when this was sampled.
    pub fn check_added(&self, sum: u64) -> Result<(), Wrong> {
        let number = sum & ((1 << COUNT_BITS) - 1);
        if sum >> COUNT_BITS != u64::from(self.key) {
            return self.wrong(format!("a number of key {}", self.key), sum.to_string());
        }
        self.check_number(number, self.seen + 1)?;
        if self.board.mark(self.key, Mark::Added).fetch_max(number, SeqCst) == number {
            return self.wrong("a different sum for each addition", format!("{number} once more"));
        }
        Ok(())
    }

    fn check_number(&self, number: u64, least: u64) -> Result<(), Wrong> {
        let begun = self.board.mark(self.key, Mark::Begun).load(SeqCst);
        if !(least..=begun).contains(&number) {
            return self.wrong(format!("a count from {least} to {begun}"), number.to_string());
        }
        self.saw(number);
        Ok(())
    }
}

/// Notes that an addition is about to begin.
pub fn begin_addition(board: &Board, key: u16) {
    begin(board, key);
}

/// Returns the number of a missing counter that is about to be recreated.
pub fn begin_counter(board: &Board, key: u16) -> u64 {
    board.mark(key, Mark::Begun).fetch_add(1 + (SLOTS * THREADS) as u64, SeqCst) + 1
}

/// The text of a counter's number.
pub fn count_text(key: u16, number: u64) -> String {
    (u64::from(key) << COUNT_BITS | number).to_string()
}

fn counted(key: u16, text: &[u8]) -> Option<u64> {
    let sum: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (sum >> COUNT_BITS == u64::from(key)).then_some(sum & ((1 << COUNT_BITS) - 1))
}

/// The caller's flags of a write; mostly 0, which takes no space in the record.
pub fn flags_of(number: u64) -> u32 {
    if number % 4 == 3 { (number << 1 | 1) as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Invalidating, Replacing};
    use crate::keys::part;
    use kennel::Invalidation;

    struct Round(tempfile::TempDir, Board);

    fn round() -> Round {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::create(&dir.path().join("board")).unwrap();
        Round(dir, board)
    }

    const KEY: u16 = 9;

    fn value(number: u64) -> Value {
        Value { key: KEY, writer: 1, number: number as u32, expires_ms: 0 }
    }

    /// A write that returned. Returns its value.
    fn write(board: &Board) -> Value {
        let token = Token::take(board, KEY, 1).unwrap();
        let number = token.begin();
        token.done(number);
        value(number)
    }

    fn found(before: &Before<'_>, value: Value) -> Result<(), Wrong> {
        before.check_hit(&value.bytes(100), None)
    }

    fn expected(result: Result<(), Wrong>) -> String {
        result.unwrap_err().expected
    }

    #[test]
    fn a_hit_on_the_last_write_and_on_one_under_way_are_right() {
        let Round(_dir, board) = round();
        let first = write(&board);
        found(&Before::sample(&board, KEY), first).unwrap();
        let token = Token::take(&board, KEY, 2).unwrap();
        assert!(Token::take(&board, KEY, 3).is_none(), "two writers");
        let before = Before::sample(&board, KEY);
        let second = value(token.begin());
        found(&before, first).unwrap();
        found(&before, second).unwrap();
        // A read that began before the second write returned may still find the first value.
        found(&before, first).unwrap();
    }

    #[test]
    fn what_was_replaced_or_deleted_does_not_come_back() {
        let Round(_dir, board) = round();
        let first = write(&board);
        let before = Before::sample(&board, KEY);
        write(&board);
        found(&before, first).unwrap();
        assert!(expected(found(&Before::sample(&board, KEY), first)).contains("had returned"));
    }

    #[test]
    fn what_was_read_once_does_not_go_back() {
        let Round(_dir, board) = round();
        let first = write(&board);
        let killed = value(Token::take(&board, KEY, 2).unwrap().begin());
        found(&Before::sample(&board, KEY), killed).unwrap();
        assert!(expected(found(&Before::sample(&board, KEY), first)).contains("had been read"));
    }

    #[test]
    fn what_nobody_began_to_write_is_made_up() {
        let Round(_dir, board) = round();
        let last = write(&board);
        let next = Value { number: last.number + 1, ..last };
        assert!(expected(found(&Before::sample(&board, KEY), next)).contains("at most"));
    }

    #[test]
    fn torn_and_foreign_values_and_flags_of_others_are_found() {
        let Round(_dir, board) = round();
        let last = write(&board);
        let before = Before::sample(&board, KEY);
        let mut torn = last.bytes(100);
        torn[60..].copy_from_slice(&value(0).bytes(100)[60..]);
        assert!(expected(before.check_hit(&torn, None)).contains("whole"));
        let foreign = Value { key: KEY + 1, ..last };
        assert!(expected(found(&before, foreign)).contains("of key 9"));
        let beside = |flags| Some(Beside { flags, is_stale: false });
        assert!(expected(before.check_hit(&last.bytes(100), beside(77))).contains("flags"));
        before.check_hit(&last.bytes(100), beside(flags_of(last.number.into()))).unwrap();
    }

    #[test]
    fn a_value_from_before_a_clear_is_gone_after_it() {
        let Round(_dir, board) = round();
        let value = write(&board);
        let during = Invalidating::begin(&board, (0, 0), None, Invalidation::Hard);
        found(&Before::sample(&board, KEY), value).unwrap();
        during.done();
        assert_eq!(expected(found(&Before::sample(&board, KEY), value)), "a miss");
        // A value written while a clear is in progress may outlive it.
        let during = Invalidating::begin(&board, (0, 0), None, Invalidation::Hard);
        let value = write(&board);
        during.done();
        found(&Before::sample(&board, KEY), value).unwrap();
    }

    #[test]
    fn what_was_in_a_replaced_file_does_not_come_back() {
        let Round(_dir, board) = round();
        let value = write(&board);
        let before = Before::sample(&board, KEY);
        let replacing = Replacing::begin(&board);
        found(&Before::sample(&board, KEY), value).unwrap();
        replacing.succeeded();
        drop(replacing);
        found(&before, value).unwrap();
        assert_eq!(expected(found(&Before::sample(&board, KEY), value)), "a miss");
    }

    #[test]
    fn what_overlaps_a_replacement_says_nothing_about_later_reads() {
        let Round(_dir, board) = round();
        let first = write(&board);
        let (before, token) = (Before::sample(&board, KEY), Token::take(&board, KEY, 1).unwrap());
        drop(Replacing::begin(&board)); // This replacement failed.
        let second = value(token.begin());
        token.done(second.number.into());
        found(&before, second).unwrap();
        found(&Before::sample(&board, KEY), first).unwrap();
    }

    #[test]
    fn an_invalidation_is_about_its_own_part() {
        let Round(_dir, board) = round();
        let value = write(&board);
        Invalidating::begin(&board, (0, 0), Some(part(KEY + 1)), Invalidation::Hard).done();
        found(&Before::sample(&board, KEY), value).unwrap();
        Invalidating::begin(&board, (0, 0), Some(part(KEY)), Invalidation::Hard).done();
        assert_eq!(expected(found(&Before::sample(&board, KEY), value)), "a miss");
    }

    #[test]
    fn what_was_softly_invalidated_is_stale() {
        let Round(_dir, board) = round();
        let value = write(&board);
        let check = |is_stale| {
            let beside = Beside { flags: flags_of(value.number.into()), is_stale };
            Before::sample(&board, KEY).check_hit(&value.bytes(100), Some(beside))
        };
        check(false).unwrap();
        Invalidating::begin(&board, (0, 0), Some(part(KEY)), Invalidation::Soft).done();
        assert_eq!(expected(check(false)), "a stale value");
        check(true).unwrap();
    }

    #[test]
    fn what_was_created_is_as_old_as_its_claim() {
        let Round(_dir, board) = round();
        let claimed = Events::begun(&board, KEY);
        Invalidating::begin(&board, (0, 0), None, Invalidation::Hard).done();
        let token = Token::take(&board, KEY, 1).unwrap();
        let number = token.begin();
        token.done_since(number, claimed, FileInUse::now(&board));
        assert_eq!(expected(found(&Before::sample(&board, KEY), value(number))), "a miss");
    }

    #[test]
    fn an_expired_value_is_found_unless_it_was_touched() {
        let Round(_dir, board) = round();
        let value = write(&board);
        found(&Before::sample(&board, KEY), Value { expires_ms: wall_ms() + 60_000, ..value }).unwrap();
        let expired = Value { expires_ms: wall_ms() - 1, ..value };
        assert_eq!(expected(found(&Before::sample(&board, KEY), expired)), "a miss");
        Token::take(&board, KEY, 1).unwrap().touch();
        found(&Before::sample(&board, KEY), expired).unwrap();
    }

    #[test]
    fn counters_never_go_back_and_no_addition_is_lost() {
        let Round(_dir, board) = round();
        let key = 16;
        assert!(is_counter(key));
        let sum = |number: u64| count_text(key, number).parse::<u64>().unwrap();
        (0..5).for_each(|_| begin_addition(&board, key));
        let before = Before::sample(&board, key);
        before.check_added(sum(3)).unwrap();
        assert!(expected(before.check_added(sum(3))).contains("a different sum"));
        assert!(expected(Before::sample(&board, key).check_added(sum(3))).contains("from 4 to 5"));
        let before = Before::sample(&board, key);
        before.check_hit(count_text(key, 3).as_bytes(), None).unwrap();
        assert!(expected(before.check_hit(count_text(key, 2).as_bytes(), None)).contains("from 3 to 5"));
        assert!(expected(before.check_hit(count_text(key, 6).as_bytes(), None)).contains("from 3 to 5"));
        assert!(expected(before.check_hit(count_text(key + 8, 4).as_bytes(), None)).contains("number of key"));
        assert!(expected(before.check_hit(b"1x", None)).contains("number of key"));
    }

    #[test]
    fn a_counter_that_is_made_anew_leaves_room_for_additions_under_way() {
        let Round(_dir, board) = round();
        let key = 16;
        begin_addition(&board, key);
        let before = Before::sample(&board, key);
        let number = begin_counter(&board, key);
        assert_eq!(number, 2);
        // The addition found the new counter.
        before.check_added(count_text(key, number + 1).parse().unwrap()).unwrap();
    }
}
