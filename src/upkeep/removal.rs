//! A file that somebody removed without Kennel, by `rm` for example.
//!
//! Nothing in the file says so. Those who have it open share it still, and whoever opens its path next makes another. So
//! the file itself is asked, off the hot paths and once a second at most, whether it has a name left; that answer does
//! not depend on the path, which may mean something else to a process that changed its root directory.

use super::create::create;
use super::opened::Opened;
use super::settings::Settings;
use crate::error::Error;
use crate::platform;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// So often it is looked whether the file was removed.
const LOOK_EVERY_MS: u64 = 1000;

impl Opened {
    /// Goes over to the file at the path if this one was removed without Kennel, and tells all others who have it open.
    /// There must be a file to go to, or this handle must be one that makes it: until then the removed file serves those
    /// who have it.
    pub(crate) fn notice_removal(&self) {
        let (now, due) = (self.up_ms(), self.next_removal_ms.load(Ordering::Relaxed));
        let later = now + LOOK_EVERY_MS;
        let is_due = now >= due
            && self.next_removal_ms.compare_exchange(due, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
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
            // No lock is needed: nobody can open this file any more, nor replace it.
            Ok(random) if !self.settings.read_only => self.words().set_replaced_mark(random | 1),
            // A file that is mapped to be read is left by this handle alone.
            _ => self.stale_mark.store(!mark, Ordering::Relaxed),
        }
    }

    /// The file at the path; one is made if there is none.
    fn at_path(&self) -> Option<Opened> {
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
