//! System calls per operation.
//!
//! A program cannot read a count of its system calls from the kernel. So one process, alone, does a number of
//! operations under `strace -c -f`, and another process does none. The difference is the number of calls by the
//! operations. The count is exact, but it is a count without contention, and these two runs contribute to no other
//! number.

use crate::plan::Cell;
use crate::task::{End, Job, Launcher, Task};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Operations in the counting run.
const OPERATIONS: u64 = 4_000;

/// System calls per operation, or why they were not counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Calls {
    /// Per operation of the cell's mix, by one process alone.
    Counted {
        /// System calls per operation.
        per_operation: f64,
    },
    /// Not counted.
    Not {
        /// The reason.
        not_counted: String,
    },
}

impl Calls {
    pub(crate) fn not(why: impl ToString) -> Self {
        Self::Not { not_counted: why.to_string() }
    }
}

/// The reason why calls cannot be counted here, if there is one.
pub(crate) fn obstacle() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("strace is for Linux");
    }
    let version = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match version {
        Ok(status) if status.success() => None,
        _ => Some("strace is not installed"),
    }
}

/// Counts the calls for a cell, on a cache file that is made for this count.
pub(crate) fn count(launcher: Launcher<'_>, cell: &Cell, file: &Path, items: u32, seed: u64) -> Calls {
    let job = |operations| Job {
        cell: Cell { processes: 1, threads: 1, ..cell.clone() },
        file: file.to_owned(),
        process: 0,
        items,
        seed,
        warm_up: Duration::ZERO,
        end: End::Operations(operations),
        rate: None,
        pin: false,
        samples: None,
    };
    let all = |operations| total(launcher, job(operations), &file.with_extension("strace"));
    match (all(OPERATIONS), all(0)) {
        (Ok(with), Ok(without)) => {
            Calls::Counted { per_operation: with.saturating_sub(without) as f64 / OPERATIONS as f64 }
        }
        (Err(why), _) | (_, Err(why)) => Calls::not(why),
    }
}

/// All system calls of one worker's life.
fn total(launcher: Launcher<'_>, job: Job, summary: &Path) -> Result<u64, String> {
    let worker = launcher(&Task::Load(job).text());
    let mut traced = Command::new("strace");
    traced.args(["-c", "-f", "-o"]).arg(summary).arg(worker.get_program()).args(worker.get_args());
    for (name, value) in worker.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.stderr(Stdio::null());
    let mut worker = crate::crew::Worker::start(0, traced).map_err(|error| error.to_string())?;
    let ran = worker.wait_until_ready().and_then(|()| worker.begin()).and_then(|()| worker.finish());
    ran.map_err(|error| format!("under strace: {error}"))?;
    let text = std::fs::read_to_string(summary).map_err(|error| error.to_string())?;
    parse_total(&text).ok_or_else(|| "strace wrote no total".to_owned())
}

/// The number of calls in the last line of a summary, which ends in `total`:
/// `100.00    0.001234           2       617        12 total`. The column of errors is empty if no call failed.
fn parse_total(summary: &str) -> Option<u64> {
    let total = summary.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_number_of_calls() {
        let lines = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.000900           2       450           flock
 10.00    0.000100           1        50         3 openat
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           2       500         3 total
";
        assert_eq!(parse_total(lines), Some(500));
        assert_eq!(parse_total(&lines.replace("        3 total", "          total")), Some(500));
        assert_eq!(parse_total(""), None);
    }

    #[test]
    fn what_was_not_counted_says_why() {
        let text = serde_json::to_string(&Calls::not("no strace")).unwrap();
        assert_eq!(text, r#"{"not_counted":"no strace"}"#);
        assert_eq!(serde_json::from_str::<Calls>(&text).unwrap(), Calls::not("no strace"));
    }
}
