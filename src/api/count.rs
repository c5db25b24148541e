//! Counters of events that happen without a stripe's lock. Each thread of a member counts on a line of its own.

use super::namespace::Namespace;
use crate::file::AttachedFile;
use crate::store::counters::MemberCount;
use crate::store::histograms::Timed;
use crate::sync::threads::SeatLines;
use std::time::Duration;

/// Counts on this thread's line of a member's seat.
#[inline(always)]
pub(super) fn count_on(opened: &AttachedFile, lines: SeatLines, what: MemberCount, by: u64) {
    match lines.own() {
        Some(line_at) => opened.store.count(line_at, what, by),
        None => count_on_any(opened, lines, what, by),
    }
}

#[cold]
fn count_on_any(opened: &AttachedFile, lines: SeatLines, what: MemberCount, by: u64) {
    let (line_at, is_shared) = lines.any();
    if is_shared {
        opened.store.count_shared(line_at, what, by);
    } else {
        opened.store.count(line_at, what, by);
    }
}

/// Adds one to a counter on this thread's line, outside the read path.
pub(super) fn count(opened: &AttachedFile, what: MemberCount) {
    if let Some(joined) = opened.joined() {
        count_on(opened, joined.lines, what, 1);
    }
}

/// Counts a read outside the read path as a hit or a miss.
pub(super) fn count_read(opened: &AttachedFile, namespace: Option<&Namespace>, is_hit: bool) {
    if let Some(joined) = opened.joined() {
        count_read_on(opened, joined.lines, namespace, is_hit);
    }
}

/// Counts a read on this thread's line as a hit or a miss. Of the reads through a namespace, one in sixteen also counts
/// for the namespace.
#[inline(always)]
pub(super) fn count_read_on(opened: &AttachedFile, lines: SeatLines, namespace: Option<&Namespace>, is_hit: bool) {
    let what = if is_hit { MemberCount::Hits } else { MemberCount::Misses };
    let Some(namespace) = namespace else { return count_on(opened, lines, what, 1) };
    let is_sampled = match lines.own() {
        Some(line_at) => opened.store.count_and_sample(line_at, what),
        None => count_and_sample_any(opened, lines, what),
    };
    if is_sampled {
        count_sampled(opened, namespace, is_hit);
    }
}

#[cold]
fn count_and_sample_any(opened: &AttachedFile, lines: SeatLines, what: MemberCount) -> bool {
    let (line_at, is_shared) = lines.any();
    if is_shared {
        opened.store.count_and_sample_shared(line_at, what)
    } else {
        opened.store.count_and_sample(line_at, what)
    }
}

#[cold]
fn count_sampled(opened: &AttachedFile, namespace: &Namespace, is_hit: bool) {
    if let Some(joined) = opened.joined()
        && let Some(id) = namespace.id_in(opened)
    {
        opened.store.count_namespace(joined.who.seat, id.number(), is_hit);
    }
}

/// Notes a read if the observer samples keys with this hash.
#[cold]
pub(super) fn note_read(opened: &AttachedFile, lines: SeatLines, hash: u64) {
    if hash & opened.store.sample_mask() == 0 {
        let (line_at, is_shared) = lines.any();
        opened.store.note_read(line_at, is_shared, hash);
    }
}

/// [`note_read`] of the fast path.
#[cold]
#[inline(never)]
pub(super) fn note_plain_read(opened: &AttachedFile, hash: u64) {
    note_read(opened, opened.plain_lines(), hash);
}

/// Counts the outcome of a wait for a lock, and its length.
#[cold]
pub(super) fn count_lock_wait(opened: &AttachedFile, what: MemberCount, waited: Duration) {
    count(opened, what);
    time(opened, Timed::LockWait, waited);
}

/// Adds the duration of a slow operation to its histogram.
pub(super) fn time(opened: &AttachedFile, what: Timed, took: Duration) {
    // Without a seat this process may not write to the file.
    if opened.joined().is_some() {
        opened.store.time(what, took);
    }
}
