//! The table of metrics and the alert rules in `docs/operations.md` name what the engine has.

use kennel::{NamespaceOptions, Options, Sample, SampleKind};
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../docs/operations.md");

fn samples() -> Vec<Sample> {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().capacity(4 << 20).namespace_reads(true);
    let cache = options.create(dir.path().join("cache")).unwrap();
    cache.namespace("pages", &NamespaceOptions::new()).unwrap();
    cache.stats().samples().collect()
}

fn section(title: &str) -> &'static str {
    let (_, after) = DOCUMENT.split_once(&format!("\n## {title}\n")).expect("the section");
    after.split("\n## ").next().unwrap()
}

#[test]
fn the_table_has_every_metric_and_no_other() {
    let mut samples = samples();
    // A metric has a row, and a histogram has one for all its time series.
    samples.dedup_by_key(|sample| if sample.kind == SampleKind::Histogram { sample.family } else { sample.name });
    let row = |sample: &Sample| {
        let labels: Vec<_> = sample.labels.iter().map(|(name, _)| format!("`{name}`")).collect();
        let labels = if labels.is_empty() { String::new() } else { labels.join(", ") + " " };
        let name = if sample.kind == SampleKind::Histogram { sample.family } else { sample.name };
        format!("| `{name}` | {} | {labels}| {} |", sample.kind, sample.help)
    };
    let expected: Vec<_> = samples.iter().map(row).collect();
    let rows = section("Metrics").lines().filter(|line| line.starts_with("| `kennel_"));
    let listed: Vec<_> = rows.skip(1).collect();
    assert_eq!(listed, expected, "the table should be\n{}", expected.join("\n"));
}

#[test]
fn the_alerts_name_metrics_that_exist() {
    let names: BTreeSet<_> = samples().into_iter().map(|sample| sample.name).chain(["kennel_up"]).collect();
    let words = section("Alerts").split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named: BTreeSet<_> = words.filter(|word| word.starts_with("kennel_")).collect();
    assert!(named.len() > 5, "{named:?}");
    assert!(named.is_subset(&names), "{:?} do not exist", named.difference(&names).collect::<Vec<_>>());
}
