//! The messages between a program and its workers, which are processes of the same program.
//!
//! Both sides write lines. Those of a worker are JSON behind a marker, so that the program may print other lines, too:
//!
//! ```text
//! program                    worker
//!                            {"Ready":..}      after it opened the file and drew its keys
//! go
//!                            {"Done":{..}}     after its warm-up and its work
//! ```

use crate::latency::Buckets;
use crate::plan::Cell;
use crate::usage::Usage;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Makes the command that starts a worker: this same program, which passes the task to
/// [`run_task`](crate::worker::run_task). Do not redirect its standard input and output.
pub type Launcher<'a> = &'a dyn Fn(&str) -> Command;

/// The beginning of a worker's lines, which distinguishes them from other output of the program.
pub(crate) const MARK: &str = "kennel-harness: ";

/// The task of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Work on a cache, and measure.
    Load(Job),
    /// Work on a cache until killed.
    Kill(KillJob),
    /// Run as a child process of the conformance suite, for a strategy.
    Suite { strategy: String, task: String },
}

impl Task {
    pub(crate) fn text(&self) -> String {
        match serde_json::to_string(self) {
            Ok(text) => text,
            Err(error) => unreachable!("a task is numbers and texts: {error}"),
        }
    }
}

/// A message from a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The worker waits for the signal to begin.
    Ready,
    /// The worker has finished.
    Done(Box<Outcome>),
}

/// Work on a cache.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub cell: Cell,
    pub file: PathBuf,
    /// Number of this process, from 0.
    pub process: u32,
    pub items: u32,
    pub seed: u64,
    pub warm_up: Duration,
    pub end: End,
    pub rate: Option<f64>,
    pub pin: bool,
    /// The file into which each measured latency is written.
    pub samples: Option<PathBuf>,
}

/// The task of a worker of the kill test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KillJob {
    pub strategy: String,
    pub file: PathBuf,
    pub seed: u64,
    /// The store at which the worker ends itself, and how often it passes that store before.
    pub at: Option<(String, u64)>,
}

/// The end of the work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum End {
    After(Duration),
    /// Each thread does this many operations, without a warm-up and without timing.
    Operations(u64),
}

/// The measurements of one worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub counts: Counts,
    pub elapsed: Duration,
    /// The resources that the process used during the work.
    pub usage: Option<Usage>,
    pub read_latency: Buckets,
    pub write_latency: Buckets,
}

/// Counts of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Reads, including the [`hits`](Self::hits).
    pub reads: u64,
    /// Reads that found a value.
    pub hits: u64,
    /// Writes, including those that followed a miss.
    pub writes: u64,
    /// Writes that gave up waiting for a lock.
    pub busy: u64,
}

impl Counts {
    /// Reads and writes.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.reads + self.writes
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        self.reads += other.reads;
        self.hits += other.hits;
        self.writes += other.writes;
        self.busy += other.busy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_its_text() {
        let text = Task::Suite { strategy: "file".into(), task: "hold 1 /a b".into() }.text();
        let Ok(Task::Suite { strategy, task }) = serde_json::from_str(&text) else { panic!("{text}") };
        assert_eq!((strategy.as_str(), task.as_str()), ("file", "hold 1 /a b"));
    }
}
