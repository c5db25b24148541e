//! The reports of a process in the near file.

use crate::nears::Nears;
use crate::report::{EVERY, LIVES, NAMESPACE, ProcessReport, has_total, process_prefix, random_id, total_key};
use crate::settings::Settings;
use crate::stats::{Counters, Stats};
use kennel::{Cache, Expiry, NamespaceOptions, SetOptions};
use std::time::{Duration, Instant};

/// How long a report waits for a stripe's lock. What was not written is written with the next report.
const LOCK_WAIT: Duration = Duration::from_millis(1);

/// Adds what this process counts to the totals in the near file, and records that the process is alive. A tracker
/// reports between pings, so a report is brief. It fails silently, because only what an operator sees depends on it.
#[derive(Debug)]
pub(crate) struct Reporter {
    id: Option<String>,
    /// What has been added to the totals.
    added: Stats,
    next: Instant,
    records: Option<Cache>,
}

impl Reporter {
    /// A reporter of what is counted from now on.
    pub(crate) fn new(counters: &Counters) -> Self {
        Self { id: random_id().ok(), added: counters.read(), next: Instant::now(), records: None }
    }

    /// `state`: this process's seat, and its tracker's problem.
    pub(crate) fn report_if_due(
        &mut self,
        nears: &Nears,
        settings: &Settings,
        counters: &Counters,
        state: impl FnOnce() -> (Option<String>, Option<String>),
    ) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        // A creation of a value would notice a removal of the file, but a process that only tracks creates none.
        nears.base.cache().notice_removal();
        let stats = counters.read();
        self.add_totals(nears, settings, stats);
        let (seat, problem) = state();
        let report = ProcessReport {
            pid: std::process::id(),
            prefixes: settings.prefixes.clone(),
            database: settings.scope().database,
            max_staleness: settings.max_staleness,
            seat,
            round_trip: Duration::from_micros(stats.round_trip_us),
            problem,
        };
        if let (Some(key), Some(records)) = (self.key(settings), self.records(nears)) {
            let _ = records.set_with(key, report.to_text(), &SetOptions::new().expiry(Expiry::After(LIVES)));
        }
    }

    /// Adds what is left, and takes the record of the process away.
    pub(crate) fn end(&mut self, nears: &Nears, settings: &Settings, counters: &Counters) {
        self.add_totals(nears, settings, counters.read());
        if let (Some(key), Some(records)) = (self.key(settings), self.records(nears)) {
            let _ = records.delete(key);
        }
    }

    fn key(&self, settings: &Settings) -> Option<String> {
        Some(process_prefix(&settings.scope().namespace()) + self.id.as_deref()?)
    }

    fn records(&mut self, nears: &Nears) -> Option<&Cache> {
        if self.records.is_none() {
            let file = nears.base.cache().with_lock_wait(LOCK_WAIT);
            self.records = file.namespace(NAMESPACE, &NamespaceOptions::new()).ok();
        }
        self.records.as_ref()
    }

    fn add_totals(&mut self, nears: &Nears, settings: &Settings, stats: Stats) {
        let (tier, before) = (settings.scope().namespace(), self.added);
        let Some(records) = self.records(nears) else { return };
        let add = |(name, count): (&'static str, u64), before: u64| {
            let more = count.saturating_sub(before);
            let is_added = more == 0
                || !has_total(name)
                || records.incr_or(total_key(&tier, name), more, more, &SetOptions::new()).is_ok();
            (name, if is_added { count } else { before })
        };
        let added: Vec<(&str, u64)> =
            stats.iter().zip(before.iter()).map(|(now, (_, before))| add(now, before)).collect();
        self.added =
            Stats::by_name(|name| added.iter().find(|(other, _)| *other == name).map_or(0, |(_, count)| *count));
    }
}
