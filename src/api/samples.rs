//! The statistics as metrics. This is the one table of their names, kinds, labels and help texts: the command line, the
//! Python package and the dashboard all use it.

use super::stats::{Limit, Stats};
use crate::names::names;
use crate::store::counters::Counters;

/// One number of [`Stats::samples`], with what a metrics system needs to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The name of the metric. Samples of the same name follow each other and differ in their labels. The names of
    /// counters end with `_total`.
    pub name: &'static str,
    /// Whether the number only grows.
    pub kind: SampleKind,
    /// What the metric means, in one sentence.
    pub help: &'static str,
    /// The labels, each with its value.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: u64,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SampleKind {
    /// A number that only grows. It starts anew with a new file.
    Counter,
    /// A number that grows and falls.
    Gauge,
}

names!(SampleKind, "kind of a metric", "counter or gauge", Counter = "counter", Gauge = "gauge");

/// The metric of a counter.
struct CounterMetric {
    /// The field of [`Counters`].
    field: &'static str,
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    /// The help text of a metric with several counters. Other metrics have the first sentence of the counter's
    /// documentation.
    help: Option<&'static str>,
}

const fn plain(field: &'static str, name: &'static str) -> CounterMetric {
    CounterMetric { field, name, label: None, help: None }
}

const fn get(field: &'static str, result: &'static str) -> CounterMetric {
    let help = Some("Reads, by their result.");
    CounterMetric { field, name: "kennel_gets_total", label: Some(("result", result)), help }
}

const fn eviction(field: &'static str, queue: &'static str) -> CounterMetric {
    let help = Some("Evicted items, by the queue that they left; index: their bucket was full.");
    CounterMetric { field, name: "kennel_evictions_total", label: Some(("queue", queue)), help }
}

/// The metrics of all counters.
const COUNTERS: [CounterMetric; 22] = [
    get("hits", "hit"),
    get("misses", "miss"),
    plain("read_retries", "kennel_read_retries_total"),
    plain("bounded_misses", "kennel_bounded_misses_total"),
    plain("sets", "kennel_sets_total"),
    plain("deletes", "kennel_deletes_total"),
    eviction("evictions_small", "small"),
    eviction("evictions_main", "main"),
    eviction("evictions_index", "index"),
    plain("expirations", "kennel_expirations_total"),
    plain("promotions", "kennel_promotions_total"),
    plain("ghost_hits", "kennel_ghost_hits_total"),
    plain("lock_waits", "kennel_lock_waits_total"),
    plain("busy", "kennel_busy_total"),
    plain("creations", "kennel_creations_total"),
    plain("claim_waits", "kennel_claim_waits_total"),
    plain("takeovers", "kennel_takeovers_total"),
    plain("unprotected", "kennel_unprotected_total"),
    plain("voided", "kennel_voided_total"),
    plain("uncached", "kennel_uncached_total"),
    plain("repairs", "kennel_repairs_total"),
    plain("dropped", "kennel_dropped_total"),
];

impl Stats {
    /// The statistics as metrics, in the words of Prometheus and OpenMetrics. The names are the same in every program,
    /// so one dashboard and one set of alert rules serve all: see `docs/operations.md`. Ratios and rates are left to the
    /// metrics system, which computes them from counters.
    ///
    /// These are numbers of the whole file. If each process that uses a file exported them, their sum would count every
    /// event once for each process, so one process per host should.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(8 << 20).create(dir.path().join("cache"))?;
    /// cache.set("greeting", "hello")?;
    /// for sample in cache.stats().samples() {
    ///     let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    ///     println!("{}{{{}}} {}", sample.name, labels.join(","), sample.value);
    /// }
    /// # assert!(cache.stats().samples().any(|sample| sample.name == "kennel_sets_total" && sample.value == 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn samples(&self) -> impl Iterator<Item = Sample> + use<> {
        let mut samples = self.gauges();
        let values: Vec<_> = self.counters.iter().collect();
        samples.extend(COUNTERS.iter().filter_map(|metric| sample_of(metric, &values)));
        samples.into_iter()
    }

    fn gauges(&self) -> Vec<Sample> {
        let one = |name, help, value| Sample { name, kind: SampleKind::Gauge, help, labels: Vec::new(), value };
        let about = vec![
            ("format", self.format.to_string()),
            ("strategy", self.strategy.clone()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let info = "The cache file's format and lock strategy, and the version of the program that reads it; always 1.";
        let mut gauges = vec![
            Sample { labels: about, ..one("kennel_info", info, 1) },
            one(
                "kennel_created_timestamp_seconds",
                "When the cache file was created, in seconds since 1970.",
                self.created_ms / 1000,
            ),
            one("kennel_items", "Items; an expired one counts until its memory is reclaimed.", self.items),
            one("kennel_used_bytes", "Bytes in use, replaced records included.", self.used_bytes),
            one("kennel_capacity_bytes", "Bytes of records that the cache file was created for.", self.capacity),
            one("kennel_file_bytes", "The length of the cache file.", self.file_size),
            one(
                "kennel_members",
                "Processes that have the cache file open for writing, and killed ones whose seats were not reused.",
                self.members.into(),
            ),
            one("kennel_seats", "Processes that can have the cache file open for writing.", self.seats.into()),
        ];
        let help = "What limits the contents of the cache: 1 for the limit that applies, 0 for the others.";
        gauges.extend(Limit::ALL.into_iter().map(|limit| Sample {
            labels: vec![("by", limit.name().to_owned())],
            ..one("kennel_limited", help, (limit == self.limit).into())
        }));
        gauges
    }
}

fn sample_of(metric: &CounterMetric, values: &[(&'static str, u64)]) -> Option<Sample> {
    let at = values.iter().position(|(field, _)| *field == metric.field)?;
    Some(Sample {
        name: metric.name,
        kind: SampleKind::Counter,
        help: metric.help.unwrap_or_else(|| first_sentence(Counters::DOCUMENTATION[at])),
        labels: metric.label.iter().map(|&(name, value)| (name, value.to_owned())).collect(),
        value: values[at].1,
    })
}

fn first_sentence(documentation: &'static str) -> &'static str {
    let end = documentation.find(". ").map_or(documentation.len(), |at| at + 1);
    documentation[..end].trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_counter_has_one_metric() {
        let fields: Vec<_> = Counters::default().iter().map(|(field, _)| field).collect();
        let mut named: Vec<_> = COUNTERS.iter().map(|metric| metric.field).collect();
        named.sort_unstable();
        let mut sorted = fields.clone();
        sorted.sort_unstable();
        assert_eq!(named, sorted);
        assert_eq!(Counters::DOCUMENTATION.len(), fields.len());
    }

    #[test]
    fn each_sample_has_the_value_and_the_help_of_its_counter() {
        let values: Vec<_> =
            Counters::default().iter().enumerate().map(|(i, (field, _))| (field, i as u64 + 100)).collect();
        let found = |name: &str, label: Option<&str>| {
            let samples: Vec<_> = COUNTERS.iter().filter_map(|metric| sample_of(metric, &values)).collect();
            let is_it =
                |sample: &&Sample| sample.name == name && sample.labels.first().map(|(_, v)| v.as_str()) == label;
            samples.iter().find(is_it).expect("a sample").clone()
        };
        let value = |field| values.iter().find(|(name, _)| *name == field).expect("a counter").1;
        assert_eq!(found("kennel_gets_total", Some("miss")).value, value("misses"));
        assert_eq!(found("kennel_evictions_total", Some("index")).value, value("evictions_index"));
        assert_eq!(found("kennel_busy_total", None).value, value("busy"));
        assert_eq!(found("kennel_busy_total", None).help, "Writes that gave up waiting for a lock.");
        assert_eq!(found("kennel_creations_total", None).help, "Claims of keys to create their values.");
    }

    #[test]
    fn help_is_one_sentence_without_links_and_names_are_of_prometheus() {
        let values: Vec<_> = Counters::default().iter().collect();
        for sample in COUNTERS.iter().filter_map(|metric| sample_of(metric, &values)) {
            let Sample { name, help, .. } = sample;
            assert!(help.ends_with('.') && !help.contains(['[', '\n', '\\']), "{name}: {help:?}");
            assert!(name.starts_with("kennel_") && name.ends_with("_total"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
        let names: BTreeSet<_> = COUNTERS.iter().map(|metric| (metric.name, metric.label)).collect();
        assert_eq!(names.len(), COUNTERS.len(), "two counters are one time series");
    }
}
