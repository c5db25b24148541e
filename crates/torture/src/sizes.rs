//! Another size for the file: in the rounds without replacements, workers resize it while all of them go on.
//!
//! A resize is killed as often as anything else, and by a strike of its own: see [`killer`](crate::killer). What a killed
//! one leaves must hold nobody up for longer than a lock would. The rules of a [history](crate::history) know no resizes.
//! Hence they find a value that was not copied again after it had changed, a write that got lost in the old file, an
//! invalidation that the new file does not know, and a lock of a key that a resize did not wait for.

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

    /// Gives the file a random size.
    pub fn resize(&mut self) {
        // No smaller than at first, so that the largest values fit.
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
