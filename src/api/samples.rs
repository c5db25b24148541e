//! The statistics as metrics. This is the one table of their names, kinds, labels and help texts: the command line, the
//! Python package and the dashboard all use it.

use super::stats::{Limit, NamespaceReads, Stats};
use crate::names::names;
use crate::store::counters::Counters;
use crate::store::histograms::Histogram;

/// One number of [`Stats::samples`], with the facts that a metrics system needs about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The name of the time series. Samples of the same name differ in their labels.
    pub name: &'static str,
    /// The name of the metric: that of the time series, without the suffix `_total` of counters, and `_bucket`, `_sum`
    /// and `_count` of histograms. The samples of one metric follow each other.
    pub family: &'static str,
    /// The kind of the metric: counter, gauge or histogram.
    pub kind: SampleKind,
    /// The meaning of the metric, in one sentence.
    pub help: &'static str,
    /// The labels, each with its value.
    pub labels: Vec<(&'static str, String)>,
    /// The number. Times are in seconds, sizes in bytes.
    pub value: f64,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SampleKind {
    /// A number that only grows. In a new file it starts at 0 again.
    Counter,
    /// A number that grows and falls.
    Gauge,
    /// A distribution of durations. Each sample with a label `le` counts the operations that took at most so many
    /// seconds; two further samples have the number of all operations and their total duration. Each of these numbers
    /// only grows.
    Histogram,
}

names!(
    SampleKind,
    "kind of a metric",
    "counter, gauge or histogram",
    Counter = "counter",
    Gauge = "gauge",
    Histogram = "histogram",
);

/// The metric of a counter.
struct CounterMetric {
    /// The field of [`Counters`].
    field: &'static str,
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    /// The help text of a metric with several counters. The help text of any other metric is the first sentence of the
    /// counter's documentation.
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
const COUNTERS: [CounterMetric; 25] = [
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
    plain("failed", "kennel_creation_failures_total"),
    plain("stale_on_error", "kennel_stale_on_error_total"),
    plain("rested", "kennel_rested_total"),
    plain("repairs", "kennel_repairs_total"),
    plain("dropped", "kennel_dropped_total"),
];

/// The metric of a histogram.
struct HistogramMetric {
    /// The field of [`Times`](crate::Times).
    field: &'static str,
    family: &'static str,
    /// The names of its time series: the groups, the sum and the count.
    names: [&'static str; 3],
    help: &'static str,
}

macro_rules! histogram {
    ($field:literal, $family:literal, $help:literal) => {
        HistogramMetric {
            field: $field,
            family: $family,
            names: [concat!($family, "_bucket"), concat!($family, "_sum"), concat!($family, "_count")],
            help: $help,
        }
    };
}

/// The metrics of all histograms.
const HISTOGRAMS: [HistogramMetric; 3] = [
    histogram!(
        "creation",
        "kennel_creation_seconds",
        "How long creations of values took, from the claim of the key to the end of the store."
    ),
    histogram!(
        "claim_wait",
        "kennel_claim_wait_seconds",
        "How long callers waited for another caller's creation or lock of a key."
    ),
    histogram!("lock_wait", "kennel_lock_wait_seconds", "How long writes waited for a lock, with those that gave up."),
];

impl HistogramMetric {
    fn samples(&self, histogram: &Histogram) -> Vec<Sample> {
        let one = |name, labels, value: f64| Sample {
            name,
            family: self.family,
            kind: SampleKind::Histogram,
            help: self.help,
            labels,
            value,
        };
        let [bucket, sum, count] = self.names;
        let mut up_to = 0u64;
        let group = |(group, &count): (usize, &u64)| {
            // A damaged file can contain arbitrary numbers, and a scraper rejects groups whose counts fall.
            up_to = up_to.saturating_add(count);
            let bound = Histogram::bound(group).map_or("+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            one(bucket, vec![("le", bound)], up_to as f64)
        };
        let mut samples: Vec<_> = histogram.counts.iter().enumerate().map(group).collect();
        samples.push(one(sum, Vec::new(), histogram.sum.as_secs_f64()));
        samples.push(one(count, Vec::new(), up_to as f64));
        samples
    }
}

impl Stats {
    /// The statistics as metrics, in the terms of Prometheus and OpenMetrics. Every program uses the same names, so one
    /// dashboard and one set of alert rules serve all of them: see `docs/operations.md`. Ratios and rates are left to
    /// the metrics system, which computes them from the counters.
    ///
    /// The numbers are those of the whole file. Only one process per host should export them: if each process that uses
    /// a file did, their sum would count every event several times.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = kennel::Options::new().capacity(8 << 20).create(dir.path().join("cache"))?;
    /// cache.set("greeting", "hello")?;
    /// for sample in cache.stats().samples() {
    ///     let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    ///     println!("{}{{{}}} {}", sample.name, labels.join(","), sample.value);
    /// }
    /// # assert!(cache.stats().samples().any(|sample| sample.name == "kennel_sets_total" && sample.value == 1.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn samples(&self) -> impl Iterator<Item = Sample> + use<> {
        let mut samples = self.gauges();
        let values: Vec<_> = self.counters.iter().collect();
        samples.extend(COUNTERS.iter().filter_map(|metric| sample_of(metric, &values)));
        samples.extend(self.namespace_gets());
        for metric in &HISTOGRAMS {
            samples.extend(
                self.times
                    .iter()
                    .filter(|(field, _)| *field == metric.field)
                    .flat_map(|(_, histogram)| metric.samples(histogram)),
            );
        }
        samples.into_iter()
    }

    fn namespace_gets(&self) -> impl Iterator<Item = Sample> {
        let of_result = |reads: &NamespaceReads, result: &str, count: u64| Sample {
            name: "kennel_namespace_gets_total",
            family: "kennel_namespace_gets",
            kind: SampleKind::Counter,
            help: "Reads of each namespace, by their result. One read in sixteen is counted, as sixteen.",
            labels: vec![("namespace", reads.name.clone()), ("result", result.to_owned())],
            value: count as f64,
        };
        self.namespace_reads
            .iter()
            .flat_map(move |reads| [of_result(reads, "hit", reads.hits), of_result(reads, "miss", reads.misses)])
    }

    fn gauges(&self) -> Vec<Sample> {
        let one = |name, help, value: u64| Sample {
            name,
            family: name,
            kind: SampleKind::Gauge,
            help,
            labels: Vec::new(),
            value: value as f64,
        };
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
        family: metric.name.strip_suffix("_total").unwrap_or(metric.name),
        kind: SampleKind::Counter,
        help: metric.help.unwrap_or_else(|| first_sentence(Counters::DOCUMENTATION[at])),
        labels: metric.label.iter().map(|&(name, value)| (name, value.to_owned())).collect(),
        value: values[at].1 as f64,
    })
}

fn first_sentence(documentation: &'static str) -> &'static str {
    let end = documentation.find(". ").map_or(documentation.len(), |at| at + 1);
    documentation[..end].trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::histograms::Times;
    use std::collections::BTreeSet;
    use std::time::Duration;

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
        let value = |field| values.iter().find(|(name, _)| *name == field).expect("a counter").1 as f64;
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

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_its_sum_and_count() {
        let mut histogram = Histogram::default();
        (histogram.counts[0], histogram.counts[2], histogram.counts[15]) = (3, 2, 1);
        histogram.sum = Duration::from_millis(1500);
        let samples = HISTOGRAMS[0].samples(&histogram);
        let le = |i: usize| (samples[i].labels[0].1.as_str(), samples[i].value);
        assert_eq!((le(0), le(1), le(2)), (("0.000004", 3.0), ("0.000016", 3.0), ("0.000064", 5.0)));
        assert_eq!((le(14), le(15), samples.len()), (("1073.741824", 5.0), ("+Inf", 6.0), 18));
        let last: Vec<_> = samples[16..].iter().map(|sample| (sample.name, sample.value)).collect();
        assert_eq!(last, [("kennel_creation_seconds_sum", 1.5), ("kennel_creation_seconds_count", 6.0)]);
        assert!(samples.iter().all(|sample| sample.family == "kennel_creation_seconds"));
        histogram.counts = [u64::MAX; 16];
        let values: Vec<_> = HISTOGRAMS[0].samples(&histogram)[..16].iter().map(|sample| sample.value).collect();
        assert!(values.is_sorted(), "damaged counts");
    }

    #[test]
    fn each_histogram_has_one_metric() {
        let times = Times::default();
        let fields: Vec<_> = times.iter().map(|(field, _)| field).collect();
        assert_eq!(fields, HISTOGRAMS.map(|metric| metric.field));
    }
}
