//! The demo from start to end, and its command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use kennel_harness::interrupt;
use tempfile::TempDir;

use super::director::{Director, HOSTS, Plan, WORKERS};
use super::popularity::{KEYS, name};
use super::report::Report;
use super::server::{Server, program};
use super::tally::tally;
use crate::cmd::far::server::{Keys, Server as Reached, TlsArgs, random_prefix};
use crate::cmd::outcome::{AnyError, CliResult, hit_or_miss};
use crate::output::{print_line, unless_reader_gone, with_spinner};

/// Show the near cache at work: two hosts, eight workers, one server, and trackers that are killed.
///
/// Each host is a near file with four workers, which read and write at an even rate. Two of the four track. The server
/// is started for the demo, unless --url names one. A quarter into the run the trackers are killed with SIGKILL, one
/// after the other, and later all workers are replaced, as in a rolling restart. Every read is checked. The reads from
/// the server are compared with those that caches of single processes would have needed, even if they were of unlimited
/// size and the server kept them exact.
///
/// The exit status is 1 when a read was too old, missed a write of its own host, or went back to an older value.
///
/// Example: kennel far demo --seconds 10
#[derive(Args)]
pub struct DemoArgs {
    /// How long the workers run, in seconds.
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The program of the server; by default redis-server or valkey-server in the search path.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, conflicts_with = "url")]
    server: Option<PathBuf>,
    /// A single server that runs already. The keys of the demo begin with a random prefix, and are removed at the end.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// The seed of the random choices.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

const STALENESS: Duration = Duration::from_secs(1);

pub fn run(args: &DemoArgs) -> CliResult {
    // This comes first: from here on a signal leaves neither files nor processes behind.
    interrupt::watch()?;
    let folder = folder()?;
    let started = match &args.url {
        Some(_) => None,
        None => Some(Server::start(&program(args.server.as_deref())?, folder.path())?),
    };
    let url = args.url.clone().or_else(|| Some(started.as_ref()?.url.clone())).unwrap_or_default();
    let reached = Reached::reach(&url, &args.tls)?;
    let prefix = random_prefix("demo");
    print_line(format_args!(
        "{HOSTS} hosts, each a near file with four workers, read {KEYS} keys of one server.\nThe files are in {}. From \
         second {:.0} on, processes that track are killed.\n",
        folder.path().display(),
        args.seconds as f64 * 0.25,
    ))?;
    let keys = Keys::new(&reached, &prefix, (0..KEYS).map(|key| name(&prefix, key)));
    let time = Duration::from_secs(args.seconds);
    let plan = Plan { url, tls: args.tls.clone(), prefix: prefix.clone(), time, staleness: STALENESS, seed: args.seed };
    let outcome = Director::new(plan, &reached, folder.path()).run()?;
    drop(keys);
    let tally = with_spinner("Checking every read", || tally(folder.path(), STALENESS, &outcome.replaced))?;
    let report = Report { outcome, tally, staleness: STALENESS };
    unless_reader_gone(report.print())?;
    Ok(hit_or_miss(report.is_good()))
}

fn folder() -> Result<TempDir, AnyError> {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("kennel-far-demo-");
        builder
    };
    // Logs of a few megabytes, and two near files.
    Ok(builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir())?)
}

// The number of workers is in the text above.
const _: () = assert!(WORKERS == 8);
