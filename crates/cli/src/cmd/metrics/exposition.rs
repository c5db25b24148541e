//! Statistics in the text format of OpenMetrics, which Prometheus reads.
//!
//! The text is written here and not by the crate prometheus-client. Version 0.24 of that crate writes label values
//! without escapes, so a name in a damaged file could add lines of its own. It also refuses gauges above 2^63, so one
//! damaged number would end the output of all files. A stock parser checks the text in the tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kennel::{Sample, SampleKind};

use super::target::Look;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const UP: &str = "kennel_up";

/// The metrics of several cache files in one text.
pub fn exposition(looks: &[Look]) -> String {
    let mut text = String::new();
    head(&mut text, UP, SampleKind::Gauge, "Whether the cache file could be read: 1, or 0.");
    for look in looks {
        line(&mut text, UP, &look.name, &[], f64::from(u8::from(look.found.is_ok())));
    }
    let samples: Vec<(&str, Vec<Sample>)> = looks
        .iter()
        .filter_map(|look| Some((look.name.as_str(), look.found.as_ref().ok()?.1.samples().collect())))
        .collect();
    // Not every file has every family.
    let mut written = BTreeSet::new();
    for first in samples.iter().flat_map(|(_, samples)| samples) {
        if !written.insert(first.family) {
            continue;
        }
        head(&mut text, first.family, first.kind, first.help);
        for (cache, samples) in &samples {
            for sample in samples.iter().filter(|sample| sample.family == first.family) {
                line(&mut text, sample.name, cache, &sample.labels, sample.value);
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn head(text: &mut String, family: &str, kind: SampleKind, help: &str) {
    let _ = writeln!(text, "# HELP {family} {}\n# TYPE {family} {kind}", escaped(help));
}

fn line(text: &mut String, name: &str, cache: &str, labels: &[(&'static str, String)], value: f64) {
    let _ = write!(text, "{name}{{cache=\"{}\"", escaped(cache));
    for (label, value) in labels {
        let _ = write!(text, ",{label}=\"{}\"", escaped(value));
    }
    let _ = writeln!(text, "}} {value}");
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_label_begins_a_new_line() {
        let mut text = String::new();
        line(&mut text, "kennel_items", "a\"} 1\nkennel_up{cache=\"b\\", &[("by", "x\\".into())], u64::MAX as f64);
        let label = r#"a\"} 1\nkennel_up{cache=\"b\\"#;
        assert_eq!(text, format!("kennel_items{{cache=\"{label}\",by=\"x\\\\\"}} 18446744073709552000\n"));
    }

    #[test]
    fn without_a_file_only_up_is_left() {
        let look = Look { name: "web".into(), found: Err(kennel::Error::NotFound("web.cache".into())) };
        let text = exposition(&[look]);
        assert!(text.contains("\nkennel_up{cache=\"web\"} 0\n# EOF\n"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }
}
