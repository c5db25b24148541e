//! The check from start to end, and its command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use kennel_far::history::{Dice, Load, key_name};
use kennel_harness::human::percent;
use kennel_harness::interrupt;
use tempfile::TempDir;

use super::round::{Outcome, Plan, Round};
use super::worker::Task;
use crate::cmd::far::server::{Keys, Server, ServerArgs, TlsArgs, random_prefix};
use crate::cmd::outcome::{AnyError, CliResult, hit_or_miss};
use crate::output::{print_line, unless_reader_gone};
use crate::time::parse_duration;

/// Check the promises of the near cache against a server of your own.
///
/// Each host is a near file with workers and trackers. At random, processes are killed or stopped, and trackers are
/// disconnected. Each answer is checked: whether it was older than --max-staleness, whether a host's own write was
/// lost, whether a host read an older value after a newer one, and whether a value outlived its time. All keys begin
/// with a random prefix, and are removed at the end. The server is neither flushed nor restarted, and no other client
/// is disconnected. A failover during the run may count as a violation, since the server may then lose writes.
///
/// The last line is "reads R, writes W, faults K, oldest T ms, violations V". The exit status is 1 when V is not 0.
///
/// Example: kennel far check redis://10.0.0.5 --hosts 2 --seconds 60
#[derive(Args)]
pub struct CheckArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    tls: TlsArgs,
    /// How many hosts there are, each with a near file.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=16))]
    hosts: u64,
    /// How long the check runs, in seconds.
    #[arg(long, value_name = "N", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: u64,
    /// How many processes of each host read and write.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: u64,
    /// The greatest age of a value that is read; at least five round trips to the server.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse_duration)]
    max_staleness: Duration,
    /// The seed of the random choices. What a run does depends on the times of other processes, too.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// How long a round lasts at most: after each, the logs are checked and begun anew.
const ROUND: Duration = Duration::from_secs(5);
const SHORTEST_SETTLE: Duration = Duration::from_millis(50);
const MOST_SHOWN: usize = 20;

pub fn run(args: &CheckArgs) -> CliResult {
    interrupt::watch()?;
    let url = args.server.url()?;
    let server = Server::reach(&url, &args.tls)?;
    let round_trip = server.round_trip;
    if round_trip * 5 > args.max_staleness {
        return Err(format!(
            "--max-staleness: expected at least five round trips to the server, each of which takes {round_trip:.1?}, found {:?}",
            args.max_staleness
        )
        .into());
    }
    let prefix = random_prefix("check");
    let load = Load { prefix: prefix.clone(), hosts: args.hosts, workers: args.workers };
    let keys = Keys::new(&server, &prefix, (0..load.keys()).map(|key| key_name(&prefix, key)));
    print_line(format_args!(
        "{} for {} s: {} hosts, each with {} workers and 2 trackers, and T = {:?}; keys begin with {prefix}",
        args.server.shown(),
        args.seconds,
        args.hosts,
        args.workers,
        args.max_staleness,
    ))?;
    let task = Task {
        url,
        tls: args.tls.clone(),
        prefix,
        hosts: args.hosts,
        workers: args.workers,
        staleness: args.max_staleness,
        near: PathBuf::new(),
        log: PathBuf::new(),
        host: 0,
        worker: 0,
        seed: 0,
    };
    let plan = Plan { server: &server, task, settle: SHORTEST_SETTLE.max(args.max_staleness) };
    let outcome = rounds(args, &plan, &keys)?;
    drop(keys);
    report(&outcome)
}

fn rounds(args: &CheckArgs, plan: &Plan, keys: &Keys) -> Result<Outcome, AnyError> {
    let (mut all, mut dice) = (Outcome::default(), Dice::new(args.seed));
    let end = Instant::now() + Duration::from_secs(args.seconds);
    while Instant::now() < end && all.history.violations.is_empty() && !interrupt::is_asked() {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let folder = folder()?;
        let round = Round::new(plan, folder.path(), &mut dice)?.play(left.min(ROUND))?;
        all.history.add(round.history);
        all.faults += round.faults;
        all.near_hits += round.near_hits;
        all.problem = all.problem.or(round.problem);
        // The next round's logs do not have the values of this one.
        thread::sleep(plan.settle);
        keys.remove();
    }
    Ok(all)
}

/// Not in memory: the logs are some tens of megabytes, and containers often have 64 MB.
fn folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("kennel-far-check-").tempdir()
}

fn report(outcome: &Outcome) -> CliResult {
    let history = &outcome.history;
    if history.reads > 0 && outcome.near_hits == 0 {
        let problem = outcome.problem.as_deref().unwrap_or("it may have been too short");
        return Err(format!("nothing was checked, because no read was answered near: {problem}").into());
    }
    let printed = (|| {
        print_line(format_args!("near reads about {}", percent(outcome.near_hits.min(history.reads), history.reads)))?;
        for violation in history.violations.iter().take(MOST_SHOWN) {
            print_line(violation)?;
        }
        print_line(format_args!(
            "reads {}, writes {}, faults {}, oldest {} ms, violations {}",
            history.reads,
            history.writes,
            outcome.faults,
            history.oldest / 1_000,
            history.violations.len()
        ))
    })();
    unless_reader_gone(printed)?;
    if interrupt::is_asked() && history.reads == 0 {
        return Ok(ExitCode::from(crate::cmd::FAILED));
    }
    Ok(hit_or_miss(history.violations.is_empty()))
}
