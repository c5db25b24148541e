//! `kennel bench`: compares lock strategies with the harness.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use kennel_harness::{BenchOptions, Recording, RunError, Strategies, interrupt, worker, write_recording};

use super::command::this_program;
use super::outcome::{AnyError, CliResult};
use super::replay::announce;
use crate::output::{stdout, with_spinner};
use crate::trace::{Columns, Format, Key, Table, Trace};

/// Compare lock strategies: throughput and latency of processes that share a cache file.
///
/// Every combination of the listed values is measured with its own worker processes. --report writes a page with plots
/// and explanations.
///
/// Example: kennel bench --processes 1,2,4,8 --writes 5,50 --report bench.html
#[derive(Args)]
pub struct BenchArgs {
    #[command(flatten)]
    options: BenchOptions,
    /// Take the keys from an access trace, in its order, instead of from a distribution. May be given several times.
    /// The values have the size of --value-size, and --writes is the share of requests that write.
    #[arg(long, value_name = "TRACE", conflicts_with_all = ["distribution", "keys"])]
    trace: Vec<PathBuf>,
    /// The columns of a csv trace with the key and the size; see "kennel replay --help".
    #[arg(long, value_name = "COLUMNS", requires = "trace")]
    columns: Option<Columns>,
    /// The csv traces have no header, so their first row is a request.
    #[arg(long, requires = "trace")]
    no_header: bool,
    /// The format of the traces; see "kennel replay --help". By default it is recognized from the content.
    #[arg(long, value_name = "FORMAT", requires = "trace")]
    format: Option<Format>,
}

/// Run as one process of a measurement (started by the benchmark itself).
#[derive(Args)]
pub struct WorkerArgs {
    task: String,
}

/// A trace that cannot be used.
#[derive(Debug, thiserror::Error)]
enum TraceError {
    #[error("--trace: expected at least one request, found none")]
    NoRequests,

    #[error("--trace: expected at most {} different keys, found more", kennel_harness::MOST_KEYS)]
    TooManyKeys,
}

pub fn run(args: BenchArgs) -> CliResult {
    // This comes first: from here on a signal leaves no files behind.
    interrupt::watch()?;
    let program = this_program();
    let launcher = |task: &str| {
        let mut command = Command::new(&program);
        command.args(["bench-worker", task]);
        command
    };
    // Declared here, so that the recording exists as long as it is played.
    let directory = if args.trace.is_empty() { None } else { Some(kennel_harness::directory(None)?) };
    let recording = directory.as_ref().map(|directory| args.record(directory.path())).transpose()?;
    args.options.run(&Strategies::built_in(), &launcher, recording, &mut stdout())?;
    Ok(ExitCode::SUCCESS)
}

/// Does the task that the measuring process gave, and ends.
pub fn run_worker(args: &WorkerArgs) -> CliResult {
    worker::run_task(&args.task, &Strategies::built_in())?;
    Ok(ExitCode::SUCCESS)
}

impl BenchArgs {
    /// The keys of the traces, numbered in the order of their first requests.
    fn record(&self, directory: &Path) -> Result<Recording, AnyError> {
        let table = Table::new(self.columns.clone(), self.no_header)?;
        let mut trace = Trace::open(&self.trace, self.format, table)?;
        announce(&trace);
        let (numbers, recorded) = with_spinner("Reading the trace", || number(&mut trace))?;
        if numbers.is_empty() {
            return Err(TraceError::NoRequests.into());
        }
        let keys = u32::try_from(numbers.len()).ok().filter(|&keys| keys <= kennel_harness::MOST_KEYS);
        let keys = keys.ok_or(TraceError::TooManyKeys)?;
        let path = directory.join("trace");
        write_recording(&path, recorded)?;
        Ok(Recording { path, keys })
    }
}

/// The number of each key, and the requests in the form of these numbers.
fn number(trace: &mut Trace) -> Result<(HashMap<Key, u32>, Vec<u32>), AnyError> {
    let mut numbers = HashMap::new();
    let mut recorded = Vec::new();
    for request in trace.requests() {
        if interrupt::is_asked() {
            return Err(RunError::Interrupted.into());
        }
        let next = numbers.len() as u32;
        recorded.push(*numbers.entry(request?.key).or_insert(next));
    }
    Ok((numbers, recorded))
}
