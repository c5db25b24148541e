//! What a keeper's thread shares with its process.

use super::reporter::Reporter;
use crate::near::Near;
use crate::settings::Settings;
use crate::stats::Counters;
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
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
    /// Host time at which this keeper last began a generation.
    pub began: AtomicU64,
    /// The seat that this keeper has.
    pub seat: ArcSwapOption<String>,
    pub reporter: Mutex<Reporter>,
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

    /// Writes into the near file what this process did, once a second. It waits for nothing.
    pub(super) fn report_if_due(&self) {
        let Ok(mut reporter) = self.reporter.try_lock() else { return };
        reporter.report_if_due(&self.near, &self.settings, &self.counters, || {
            (self.seat.load().as_deref().cloned(), self.problem.load().as_deref().cloned())
        });
    }

    /// The last report of a keeper that ends.
    pub(super) fn report_end(&self) {
        if let Ok(mut reporter) = self.reporter.lock() {
            reporter.end(&self.near, &self.settings, &self.counters);
        }
    }

    pub(super) fn pause(&self, time: Duration) {
        self.report_if_due();
        if !self.is_stopped() {
            thread::park_timeout(time);
        }
    }
}
