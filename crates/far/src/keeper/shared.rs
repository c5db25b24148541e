//! What a keeper's thread shares with its process.

use crate::near::Near;
use crate::settings::Settings;
use crate::stats::Counters;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How a session of a tracker ended, if it was not lost.
pub(super) enum Ended {
    Stopped,
    /// A volunteer saw that another tracker proves.
    Relieved,
}

/// What a keeper's thread shares with its process.
pub(super) struct Shared {
    pub settings: Arc<Settings>,
    pub near: Arc<Near>,
    pub counters: Arc<Counters>,
    pub is_stopped: AtomicBool,
    /// Why the last session ended.
    pub problem: ArcSwapOption<String>,
    /// Proofs of the current session.
    pub proofs: AtomicU64,
}

impl Shared {
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Notes that this keeper proved something.
    pub(super) fn proved(&self) {
        if self.proofs.fetch_add(1, Ordering::Relaxed) == 0 {
            self.problem.store(None);
        }
    }

    pub(super) fn pause(&self, time: Duration) {
        if !self.is_stopped() {
            thread::park_timeout(time);
        }
    }
}
