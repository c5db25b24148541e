//! The step from a replaced file to its successor.

use super::attached::AttachedFile;
use super::open::open;
use super::settings::{OnMismatch, Settings};
use crate::error::Result;
use crate::fault::{Fault, injected};
use crate::shm::layout::AskedSizes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often reads of a replaced file look for its successor; until they find it they miss.
const FOLLOW_EVERY_MS: u64 = 100;

impl AttachedFile {
    /// The file that replaced this one; `None` if there is none, and a dead process left the mark.
    pub(crate) fn follow(&self, limit: Duration) -> Result<Option<&Arc<AttachedFile>>> {
        if injected(Fault::Unfollowed) {
            return Ok(None);
        }
        if let Some(next) = self.next.get() {
            return Ok(Some(next));
        }
        let mark = self.words().replaced_mark();
        let is_current = self.is_named()?;
        if is_current && self.settings.read_only {
            // The process that left the mark may be about to replace the file, or dead: only the opening lock would
            // tell. So the mark is not remembered as stale, and the next call checks again.
            return Ok(None);
        }
        // No other process can replace a file whose lock this one keeps.
        let is_ours = self.keeps_data_lock();
        if !is_ours || !is_current {
            let next = self.open_next(limit)?;
            if next.data.identity() != self.data.identity() {
                let _ = self.next.set(Arc::new(next));
                return Ok(self.next.get());
            }
        }
        if !self.settings.read_only {
            self.stale_mark.store(mark, Ordering::Relaxed);
        }
        Ok(None)
    }

    /// Opens the file that the path names now, whatever its sizes.
    pub(super) fn open_next(&self, limit: Duration) -> Result<AttachedFile> {
        let settings = Settings {
            sizes: AskedSizes::default(),
            locks_asked: false,
            on_mismatch: OnMismatch::Fail,
            lock_wait: limit,
            ..self.settings.clone()
        };
        let mut next = open(&self.real, &settings)?;
        next.settings.lock_wait = self.settings.lock_wait;
        // These sizes are for a new file, in case this process has to create one after that file is removed.
        next.settings.sizes = self.settings.sizes;
        Ok(next)
    }

    /// [`follow`](Self::follow) for a read: it never waits for a lock, and tries at most every `FOLLOW_EVERY_MS`.
    /// `None`: the successor is not known yet.
    pub(crate) fn follow_for_read(&self) -> Option<Option<&Arc<AttachedFile>>> {
        if let Some(next) = self.next.get() {
            return Some(Some(next));
        }
        if self.settings.read_only && self.is_named().ok()? {
            return Some(None);
        }
        if self.is_due(&self.next_follow_ms, FOLLOW_EVERY_MS) { self.follow(Duration::ZERO).ok() } else { None }
    }
}
