//! Resizes: in the rounds without replacements, workers resize the file while all of them continue to use it.
//!
//! A process that resizes the file is killed as often as any other, and also by strikes that aim at it: see
//! [`killer`](crate::killer). What a killed resize leaves must delay no process for longer than a lock would. The rules
//! of a [history](crate::history) make no exception for resizes. Hence they find a value that changed and was not
//! copied again, a write that was lost in the old file, an invalidation that the new file does not have, and a lock of
//! a key for which a resize did not wait.

use crate::board::{Word, monotonic_ns};
use crate::events::Resizing;
use crate::worker::Worker;
use kennel::{Error, ResizeOptions, Wait};
use std::sync::atomic::Ordering::SeqCst;

/// The longest pause between two resizes, in milliseconds.
const PAUSE_MS: u64 = 250;

impl Worker<'_> {
    /// Whether a resize is due, and this thread is the one to begin it.
    pub fn may_resize(&mut self) -> bool {
        if self.board.get(Word::LeastCapacity) == 0 {
            return false;
        }
        let (due, now) = (self.board.get(Word::NextResize), monotonic_ns());
        let next = now + self.random.millis(0, PAUSE_MS).as_nanos() as u64;
        now >= due && self.board.word(Word::NextResize).compare_exchange(due, next, SeqCst, SeqCst).is_ok()
    }

    /// Resizes the file to a random size.
    pub fn resize(&mut self) {
        // The file never becomes smaller than at first, so that the largest values fit.
        let capacity = self.board.get(Word::LeastCapacity) / 4 * self.random.pick(&[4, 5, 6, 8]);
        let how = ResizeOptions::new().wait(Wait::For(self.random.millis(1, 400)));
        let stops = self.stops();
        let resizing = Resizing::begin(self.board, (self.slot, self.thread));
        let resized = self.measured(|cache| cache.all.resize(capacity, &how), [Word::LongestResizeNs; 2]);
        drop(resizing);
        match resized {
            Ok(resized) => {
                self.board.add(Word::Resized, 1);
                self.board.word(Word::LongestClosedNs).fetch_max(resized.closed_for.as_nanos() as u64, SeqCst);
            }
            // Keys were locked, or another thread resizes; or a stripe stayed locked for longer than a resize lets writers wait.
            Err(Error::NotResized { .. } | Error::Busy { .. }) => {}
            Err(error) => drop(self.allowed::<()>(0, stops, Err(error))),
        }
    }
}
