//! The command line, and the rounds of a run.

use crate::board::LONGEST_ROUND;
use crate::killer::adopt_orphans;
use crate::report::Total;
use crate::round::Round;
use crate::{random::Random, worker};
use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use kennel::LockStrategy;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The strategies to torture: those with which several processes can write.
const STRATEGIES: &[LockStrategy] = &[LockStrategy::File, LockStrategy::Lease];

/// Uses a cache in many processes while they are killed and stopped, and checks every answer.
#[derive(Parser)]
#[command(name = "kennel-torture", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    args: Args,
    #[command(subcommand)]
    worker: Option<Task>,
}

#[derive(clap::Subcommand)]
enum Task {
    /// A process that the torture starts itself.
    #[command(hide = true)]
    Worker(worker::Args),
}

#[derive(clap::Args)]
struct Args {
    /// Total seconds of all rounds together
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// Processes that work at the same time
    #[arg(long, value_name = "P", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=32))]
    processes: u64,
    /// Lock strategy; with `all`, the rounds alternate
    #[arg(long, value_parser = strategies(), default_value = "all")]
    locks: String,
    /// Seed of all random choices, except for timing. By default a new one
    #[arg(long, value_name = "S", value_parser = parse_seed)]
    seed: Option<u64>,
    /// Break a protection of the engine; the run must find it
    #[cfg(feature = "faults")]
    #[arg(long, value_parser = crate::fault::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>())]
    fault: Option<String>,
    /// Directory for the files; by default in memory if the system has such a file system
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn strategies() -> PossibleValuesParser {
    STRATEGIES.iter().map(|strategy| strategy.name().to_owned()).chain(["all".to_owned()]).collect::<Vec<_>>().into()
}

fn parse_seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.worker {
        Some(Task::Worker(args)) => worker::run(args).map(|()| ExitCode::SUCCESS),
        None => run(&cli.args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    adopt_orphans()?;
    let chosen: Vec<_> = STRATEGIES.iter().filter(|known| args.locks == "all" || known.name() == args.locks).collect();
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ crate::history::wall_ms() << 20);
    let mut random = Random(seed);
    #[cfg(feature = "faults")]
    let fault = args.fault.as_deref();
    #[cfg(not(feature = "faults"))]
    let fault = None;
    println!("seed {seed:#x}, {} processes", args.processes);
    let end = Instant::now() + Duration::from_secs(args.seconds);
    // Each strategy gets a round, even in a short run.
    let round = LONGEST_ROUND.min(Duration::from_secs(args.seconds) / chosen.len() as u32);
    let mut total = Total::default();
    for (number, locks) in chosen.iter().copied().cycle().enumerate() {
        let place = place(args)?;
        let round = Round {
            locks: locks.clone(),
            processes: args.processes as usize,
            seed: random.next(),
            fault,
            // The file is replaced in every third round, which alternates between strategies. All faults but one are
            // found without replacements.
            replaces: fault.map_or(number % 3 == 1, |fault| fault == "unfollowed"),
            end: end.min(Instant::now() + round),
        };
        round.run(place.path(), &mut total)?;
        if Instant::now() >= end || (fault.is_some() && total.violations > 0) {
            break;
        }
    }
    println!("{total}");
    Ok(ExitCode::from(u8::from(total.violations != 0)))
}

/// A directory for a round. It is in memory if possible, because only there do far more writes happen than kills.
fn place(args: &Args) -> Result<tempfile::TempDir> {
    let memory = PathBuf::from("/dev/shm");
    let parent = match &args.dir {
        Some(dir) => dir.clone(),
        None if memory.is_dir() => memory,
        None => std::env::temp_dir(),
    };
    tempfile::Builder::new().prefix("kennel-torture-").tempdir_in(&parent).context("make a directory for the files")
}
