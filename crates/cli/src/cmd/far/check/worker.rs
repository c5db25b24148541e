//! A process of the check: it reads, writes and logs, or it only tracks.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use kennel_far::Far;
use kennel_far::history::{Dice, Load, Log, Worker, open_patiently};
use serde::{Deserialize, Serialize};

use crate::cmd::far::server::TlsArgs;
use crate::cmd::far::workers::task;
use crate::cmd::outcome::CliResult;

/// What a process of the check does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub url: String,
    pub tls: TlsArgs,
    pub prefix: String,
    pub hosts: u64,
    /// Workers of each host. A process with a higher number only tracks.
    pub workers: u64,
    pub staleness: Duration,
    pub near: PathBuf,
    pub log: PathBuf,
    pub host: u64,
    pub worker: u64,
    pub seed: u64,
}

impl Task {
    fn open(&self) -> kennel_far::Result<Far> {
        let options = self
            .tls
            .options(&self.url)
            .prefix(self.prefix.as_str())
            .max_staleness(self.staleness)
            .near(kennel::Options::new().capacity(1 << 20).stripes(4));
        // The check stops processes, which may have the near file's opening lock.
        open_patiently(&options, &self.near)
    }
}

pub fn run_worker() -> CliResult {
    let task: Task = task()?;
    let far = task.open()?;
    if task.worker >= task.workers {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    let load = Load { prefix: task.prefix, hosts: task.hosts, workers: task.workers };
    let log = Log::open(&task.log)?;
    let mut worker = Worker::new(load, far, log, (task.host, task.worker), Dice::new(task.seed));
    loop {
        if let Err(error) = worker.step() {
            // The parent removed the folder, or a foreign process writes to the keys of this run.
            crate::output::report_error(&error);
            return Ok(ExitCode::from(crate::cmd::FAILED));
        }
    }
}
