//! What keepers report in the near file, for tools that inspect it: ordinary records in a namespace of their own.
//!
//! | key | value |
//! |---|---|
//! | `total:TIER:NAME` | a decimal number: the counter NAME of all processes with keepers, added up |
//! | `process:TIER:PID-ID` | lines `name value` of one process; it ends some seconds after the process does |
//!
//! TIER is the name of the near tier's namespace.

use crate::error::Error;
use std::time::Duration;

/// The namespace of the records.
pub(crate) const NAMESPACE: &str = "kennel-far:report";
/// How often a keeper reports.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// How long the record of a process stays if it is not renewed.
pub(crate) const LIVES: Duration = Duration::from_secs(5);

/// The counters of [`Stats`](crate::Stats) that cannot be added up.
const NO_TOTALS: [&str; 1] = ["round_trip_us"];

pub(crate) fn has_total(name: &str) -> bool {
    !NO_TOTALS.contains(&name)
}

pub(crate) fn total_key(tier: &str, name: &str) -> String {
    format!("total:{tier}:{name}")
}

pub(crate) fn process_prefix(tier: &str) -> String {
    format!("process:{tier}:")
}

/// What one process reports about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessReport {
    /// Its process id, in its own process namespace.
    pub pid: u32,
    /// The prefixes of its near tier.
    pub prefixes: Vec<Vec<u8>>,
    /// The server's database.
    pub database: i64,
    /// T in its options.
    pub max_staleness: Duration,
    /// The seat that it has, if any.
    pub seat: Option<String>,
    /// The time that the last ping of its tracker took; zero before that.
    pub round_trip: Duration,
    /// Why its tracker proves nothing.
    pub problem: Option<String>,
}

impl ProcessReport {
    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![
            format!("pid {}", self.pid),
            format!("database {}", self.database),
            format!("max_staleness_us {}", self.max_staleness.as_micros()),
            format!("round_trip_us {}", self.round_trip.as_micros()),
        ];
        lines.extend(self.prefixes.iter().map(|prefix| format!("prefix_hex {}", hex(prefix))));
        lines.extend(self.seat.iter().map(|seat| format!("seat {seat}")));
        lines.extend(self.problem.iter().map(|problem| format!("problem {}", problem.replace(['\n', '\r'], " "))));
        lines.join("\n")
    }

    /// `None`: another version wrote it, or it is damaged. Unknown lines are ignored.
    pub(crate) fn of_text(text: &[u8]) -> Option<Self> {
        let mut report = Self::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            let (name, value) = line.split_once(' ')?;
            let micros = || value.parse().ok().map(Duration::from_micros);
            match name {
                "pid" => report.pid = value.parse().ok()?,
                "database" => report.database = value.parse().ok()?,
                "max_staleness_us" => report.max_staleness = micros()?,
                "round_trip_us" => report.round_trip = micros()?,
                "prefix_hex" => report.prefixes.push(of_hex(value)?),
                "seat" => report.seat = Some(value.to_owned()),
                "problem" => report.problem = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(report)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    digits.len().is_multiple_of(2).then(|| pairs.collect()).flatten()
}

/// Names the record of this process, so that processes of different process namespaces do not share one.
pub(crate) fn random_id() -> Result<String, Error> {
    let number = getrandom::u32().map_err(|error| Error::Io { what: "get random bytes", source: error.into() })?;
    Ok(format!("{}-{number:08x}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_record() {
        let report = ProcessReport {
            pid: 12,
            prefixes: vec![b"app:".to_vec(), vec![0, b'\n', 255], Vec::new()],
            database: 3,
            max_staleness: Duration::from_millis(1500),
            seat: Some("seat-1".into()),
            round_trip: Duration::from_micros(80),
            problem: Some("cannot reach the server".into()),
        };
        assert_eq!(ProcessReport::of_text(report.to_text().as_bytes()), Some(report.clone()));
        let later = format!("{}\nfuture 7", report.to_text());
        assert_eq!(ProcessReport::of_text(later.as_bytes()), Some(report));
        let torn = ProcessReport { problem: Some("two\nlines".into()), ..ProcessReport::default() };
        assert_eq!(ProcessReport::of_text(torn.to_text().as_bytes()).unwrap().problem.unwrap(), "two lines");
        for damaged in [&b"pid x"[..], b"pid", b"prefix_hex 0", b"prefix_hex zz", b"\xff"] {
            assert_eq!(ProcessReport::of_text(damaged), None, "{damaged:?}");
        }
    }
}
