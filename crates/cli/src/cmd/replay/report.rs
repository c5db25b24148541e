//! The result of a replay, as a table and as JSON.

use std::io::{self, Write};
use std::time::Duration;

use kennel::Stats;
use kennel_harness::human::{count, percent, rate};
use kennel_harness::size::format_size;
use serde_json::{Value, json};

use super::inputs;
use super::player::Tally;
use crate::output::{print_json, stdout};
use crate::trace::Input;

/// The result of a replay.
pub(super) struct Report<'a> {
    pub(super) inputs: &'a [Input],
    /// How many distinct keys the trace has.
    pub(super) objects: u64,
    pub(super) tally: Tally,
    pub(super) processes: u32,
    /// The duration of the replay, including the start of the workers and the second reading of the trace.
    pub(super) time: Duration,
    /// The statistics of the cache at the end.
    pub(super) cache: Stats,
}

impl Report<'_> {
    pub(super) fn print(&self, as_json: bool) -> io::Result<()> {
        if as_json { print_json(&self.json()) } else { self.print_table() }
    }

    fn json(&self) -> Value {
        let Tally { requests, hits, bytes, hit_bytes, too_large } = self.tally;
        let seconds = self.time.as_secs_f64();
        let traces: Vec<_> = self.inputs.iter().map(|input| input.path().to_string_lossy()).collect();
        json!({
            "traces": traces,
            "inputs": inputs::to_json(self.inputs),
            "requests": requests,
            "objects": self.objects,
            "hits": hits,
            "hit_ratio": ratio(hits, requests),
            "byte_hit_ratio": ratio(hit_bytes, bytes),
            "too_large": too_large,
            "evictions": self.cache.counters.evictions(),
            "items": self.cache.items,
            "capacity": self.cache.capacity,
            "stripes": self.cache.stripes,
            "locks": self.cache.strategy,
            "processes": self.processes,
            "seconds": seconds,
            "operations_per_second": self.operations() as f64 / seconds,
        })
    }

    fn print_table(&self) -> io::Result<()> {
        let mut out = stdout();
        let rows = self.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in rows {
            writeln!(out, "{name:width$}  {value}")?;
        }
        out.flush()
    }

    /// The inputs, separated by commas.
    fn traces(&self) -> String {
        let names: Vec<_> = self.inputs.iter().map(|input| input.path().display().to_string()).collect();
        names.join(", ")
    }

    fn rows(&self) -> [(&'static str, String); 14] {
        let Tally { requests, hits, bytes, hit_bytes, too_large } = self.tally;
        [
            ("trace", self.traces()),
            ("requests", count(requests)),
            ("distinct objects", count(self.objects)),
            ("hits", count(hits)),
            ("hit ratio", percent(hits, requests)),
            ("hit ratio by bytes", percent(hit_bytes, bytes)),
            ("too large to store", count(too_large)),
            ("evictions", count(self.cache.counters.evictions())),
            ("items in the cache", count(self.cache.items)),
            ("capacity", format_size(self.cache.capacity)),
            ("stripes, locks", format!("{}, {}", self.cache.stripes, self.cache.strategy)),
            ("processes", count(self.processes.into())),
            ("time", format!("{:.3} s", self.time.as_secs_f64())),
            ("gets and sets", rate(self.operations(), self.time)),
        ]
    }

    /// A get for each request, and a set for each miss.
    fn operations(&self) -> u64 {
        2 * self.tally.requests - self.tally.hits
    }
}

/// `part` divided by `whole`, or 0 if `whole` is 0.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
