//! The step from a replaced file to its successor.

use super::attached::AttachedFile;
use super::open::{open, open_unjoined};
use super::settings::{OnMismatch, Settings};
use crate::error::{Error, Result, WHOLE_FILE};
use crate::fault::{Fault, injected};
use crate::shm::layout::AskedSizes;
use crate::sync::wait::wait_for;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a read tries at once to use the successor of its file.
const FOLLOW_ATTEMPTS: u32 = 16;
/// After these attempts, reads try only once in this time; until one of them succeeds, they miss.
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
        if is_ours && self.is_closed() {
            return self.wait_for_next(limit);
        }
        if !is_ours || !is_current {
            let next = self.open_next(limit).map_err(|error| self.while_closed(error, limit))?;
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
        let mut next = open(&self.real, &self.settings_of_next(limit))?;
        self.settle_settings(&mut next);
        Ok(next)
    }

    fn settings_of_next(&self, limit: Duration) -> Settings {
        Settings {
            sizes: AskedSizes::default(),
            locks_asked: false,
            on_mismatch: OnMismatch::Fail,
            lock_wait: limit,
            ..self.settings.clone()
        }
    }

    /// Gives the next file those settings of this one that did not apply to the opening itself.
    pub(super) fn settle_settings(&self, next: &mut AttachedFile) {
        next.settings.lock_wait = self.settings.lock_wait;
        // These sizes are for a new file, in case this process has to create one after that file is removed.
        next.settings.sizes = self.settings.sizes;
    }

    /// Waits for another thread of this process, which is about to replace the file.
    fn wait_for_next(&self, limit: Duration) -> Result<Option<&Arc<AttachedFile>>> {
        let is_over = || self.next.get().is_some() || !self.is_replaced();
        match wait_for(limit, || Ok(is_over())) {
            Ok(Some(_)) => Ok(self.next.get()),
            _ => Err(Error::Busy { stripe: WHOLE_FILE, waited: limit }),
        }
    }

    /// The error for a caller that could not open the successor in time. While the file is closed its writers wait for
    /// the opening lock in turn, so a timeout only means that it is busy.
    fn while_closed(&self, error: Error, limit: Duration) -> Error {
        match error {
            Error::Io { source, .. } if self.is_closed() && source.kind() == io::ErrorKind::TimedOut => {
                Error::Busy { stripe: WHOLE_FILE, waited: limit }
            }
            error => error,
        }
    }

    /// [`follow`](Self::follow) for a read, which waits for no lock. `Some(None)`: this file is still the one to read,
    /// since nobody writes to its successor yet. `None`: the successor is not known yet.
    pub(crate) fn follow_for_read(&self) -> Option<Option<&Arc<AttachedFile>>> {
        if let Some(next) = self.next.get() {
            return Some(Some(next));
        }
        let is_due = || self.up_ms() >= self.next_follow_ms.load(Ordering::Relaxed);
        for _ in 0..FOLLOW_ATTEMPTS {
            // A process that keeps the opening lock replaces the file itself, and knows its successor first.
            if self.is_named().ok()? || (self.keeps_data_lock() && self.is_closed()) {
                return Some(None);
            }
            if is_due()
                && let Ok(next) = self.open_to_read()
            {
                let _ = self.next.set(Arc::new(next));
            }
            if let Some(next) = self.next.get() {
                return Some(Some(next));
            }
        }
        if is_due() {
            self.next_follow_ms.store(self.up_ms() + FOLLOW_EVERY_MS, Ordering::Relaxed);
        }
        None
    }

    fn open_to_read(&self) -> Result<AttachedFile> {
        if self.settings.read_only {
            return self.open_next(Duration::ZERO);
        }
        match open_unjoined(&self.real, &self.settings_of_next(Duration::ZERO))? {
            Some(mut next) => {
                self.settle_settings(&mut next);
                Ok(next)
            }
            None => self.open_next(Duration::ZERO),
        }
    }
}
