//! What a keeper's threads share with its process.

use super::reporter::Reporter;
use super::seat::Seat;
use crate::cluster::View;
use crate::nears::Nears;
use crate::settings::Settings;
use crate::stats::Counters;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How a session of a tracker ended, if its connection was not lost.
pub(super) enum Ended {
    Stopped,
    /// A volunteer saw that another tracker proves.
    Relieved,
    /// The node of a cluster is no master any more.
    Left,
}

/// A seat and what its holder works with.
pub(super) struct Post<'a> {
    pub shared: &'a Shared,
    pub seat: Mutex<Seat>,
    pub is_volunteer: bool,
}

impl Post<'_> {
    pub(super) fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a keeper's threads share with its process. Nothing here waits for a lock: a fork may happen at any time.
pub(super) struct Shared {
    pub settings: Arc<Settings>,
    pub nears: Arc<Nears>,
    pub counters: Arc<Counters>,
    pub is_stopped: AtomicBool,
    /// The seat is given back: all sessions end.
    pub is_over: AtomicBool,
    /// Why the last session with each place ended. The place of a single server is empty.
    problems: ArcSwap<BTreeMap<String, String>>,
    /// Host time at which a session of this keeper last proved something.
    pub proved: AtomicU64,
    /// The addresses of a cluster's masters by their ids, as the node asked last saw them.
    pub seen: ArcSwap<BTreeMap<String, String>>,
    /// The seat that this keeper has.
    pub seat: ArcSwapOption<String>,
    reporter: Mutex<Reporter>,
}

impl Shared {
    pub(super) fn new(settings: &Arc<Settings>, nears: &Arc<Nears>, counters: &Arc<Counters>) -> Self {
        Self {
            settings: Arc::clone(settings),
            nears: Arc::clone(nears),
            counters: Arc::clone(counters),
            is_stopped: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            problems: ArcSwap::default(),
            proved: AtomicU64::new(0),
            seen: ArcSwap::default(),
            seat: ArcSwapOption::empty(),
            reporter: Mutex::new(Reporter::new(counters)),
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || self.is_over.load(Ordering::Relaxed)
    }

    /// Notes which masters a node of a cluster sees.
    pub(super) fn saw(&self, view: &View) {
        let others = view.masters.iter().map(|other| (other.id.clone(), other.address.clone()));
        let own = view.own.is_master.then(|| (view.own.id.clone(), view.own.address.clone()));
        let seen: BTreeMap<String, String> = others.chain(own).collect();
        if **self.seen.load() != seen {
            self.seen.store(Arc::new(seen));
        }
    }

    /// Notes why nothing is proved for a place; `None`: something is proved.
    pub(super) fn note(&self, place: &str, problem: Option<String>) {
        if problem.is_none() && !self.problems.load().contains_key(place) {
            return;
        }
        self.problems.rcu(|problems| {
            let mut next = BTreeMap::clone(problems);
            match &problem {
                Some(problem) => next.insert(place.to_owned(), problem.clone()),
                None => next.remove(place),
            };
            next
        });
    }

    pub(super) fn problem(&self) -> Option<String> {
        let problems = self.problems.load();
        let shown = |(place, problem): (&String, &String)| match place.as_str() {
            "" => problem.clone(),
            place => format!("{place}: {problem}"),
        };
        (!problems.is_empty()).then(|| problems.iter().map(shown).collect::<Vec<_>>().join("; "))
    }

    /// Writes into the near file what this process did, once a second. It waits for nothing.
    pub(super) fn report_if_due(&self) {
        let Ok(mut reporter) = self.reporter.try_lock() else { return };
        reporter.report_if_due(&self.nears, &self.settings, &self.counters, || {
            (self.seat.load().as_deref().cloned(), self.problem())
        });
    }

    /// The last report of a keeper that ends.
    pub(super) fn report_end(&self) {
        if let Ok(mut reporter) = self.reporter.try_lock() {
            reporter.end(&self.nears, &self.settings, &self.counters);
        }
    }

    /// Waits for this time. Ends early if this thread is unparked because the keeper is stopped.
    pub(super) fn pause(&self, time: Duration) {
        self.report_if_due();
        if !self.is_stopped() {
            thread::park_timeout(time);
        }
    }
}

/// A pause, made up to a quarter longer or shorter at random.
pub(super) fn jittered(time: Duration) -> Duration {
    let part = getrandom::u32().unwrap_or(1 << 31) >> 24;
    time.mul_f64(0.75 + f64::from(part) / 512.0)
}
