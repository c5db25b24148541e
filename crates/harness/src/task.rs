//! What passes between a program and its workers, which are processes of the same program.
//!
//! Each side writes lines; a worker's are JSON behind a mark, so that a program may print other lines, too:
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

/// Makes the command that starts a worker: this very program, told to give a task to
/// [`run_task`](crate::worker::run_task). Its standard input and output must be left alone.
pub type Launcher<'a> = &'a dyn Fn(&str) -> Command;

/// What a worker's lines begin with, among those of a program around it.
pub(crate) const MARK: &str = "kennel-harness: ";

/// What a worker is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Work on a cache, and measure.
    Load(Job),
    /// Work on a cache until killed.
    Kill(KillJob),
    /// Be a child of the conformance suite, for a strategy.
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

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// It waits for the word to begin.
    Ready,
    /// It is through.
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
    /// Where each latency that was taken is written.
    pub samples: Option<PathBuf>,
}

/// What a worker of the kill test is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KillJob {
    pub strategy: String,
    pub file: PathBuf,
    pub seed: u64,
    /// The store at which the worker ends itself, and at which passing of it.
    pub at: Option<(String, u64)>,
}

/// When the work ends.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum End {
    After(Duration),
    /// Each thread does so many operations, nothing is warmed up and nothing timed.
    Operations(u64),
}

/// What one worker did while it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub counts: Counts,
    pub elapsed: Duration,
    /// What the process took of the machine meanwhile.
    pub usage: Option<Usage>,
    pub read_latency: Buckets,
    pub write_latency: Buckets,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Reads, of which [`hits`](Self::hits) found a value.
    pub reads: u64,
    /// Reads that found a value.
    pub hits: u64,
    /// Writes, those after a read that missed included.
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
