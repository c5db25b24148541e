//! Files that were removed without Kennel, for example by `rm`.
//!
//! Nothing in the file records such a removal. Processes that have the file open still share it, while the next process
//! that opens the path creates another file. So a handle asks the system whether its file has a name left, off the hot
//! paths and at most once a second. The answer does not depend on the path, which may mean something else to a process
//! that changed its root directory.

use super::attached::AttachedFile;
use super::create::create;
use super::settings::Settings;
use crate::error::Error;
use crate::platform;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often to check whether the file was removed.
const LOOK_EVERY_MS: u64 = 1000;

impl AttachedFile {
    /// Switches to the file at the path if this one was removed without Kennel, and marks this one as replaced for the
    /// other processes that have it open. Requires a file at the path, or a handle that creates one: until then the
    /// handles of the removed file go on using it.
    pub(crate) fn notice_removal(&self) {
        let is_due = self.is_due(&self.next_removal_ms, LOOK_EVERY_MS);
        if is_due && self.data.get().is_some_and(platform::is_unlinked) && !self.is_replaced() {
            self.leave_removed();
        }
    }

    #[cold]
    fn leave_removed(&self) {
        let Some(next) = self.at_path() else { return };
        let _ = self.next.set(Arc::new(next));
        let mark = self.words().replaced_mark();
        match self.settings.random() {
            // No lock is needed: no process can open or replace this file any more.
            Ok(random) if !self.settings.read_only => self.words().set_replaced_mark(random | 1),
            // A read-only mapping cannot be marked, so only this handle leaves the file.
            _ => self.stale_mark.store(!mark, Ordering::Relaxed),
        }
    }

    /// Opens the file at the path, or creates it if the settings allow that.
    fn at_path(&self) -> Option<AttachedFile> {
        match self.open_next(Duration::ZERO) {
            Err(Error::NotFound(_)) if self.settings.creates => {
                let settings = Settings { lock_wait: Duration::ZERO, ..self.settings.clone() };
                let mut made = create(&self.real, &settings, false).ok()?;
                made.settings.lock_wait = self.settings.lock_wait;
                Some(made)
            }
            opened => opened.ok(),
        }
    }
}
