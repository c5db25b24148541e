//! Counts of what happens without a stripe's lock, on lines that belong to one thread of a member.

use crate::file::AttachedFile;
use crate::store::counters::MemberCount;
use crate::sync::threads::SeatLines;

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

/// Counts on this thread's line, outside the read path.
pub(super) fn count(opened: &AttachedFile, what: MemberCount) {
    if let Some(joined) = opened.joined() {
        count_on(opened, joined.lines, what, 1);
    }
}
