//! `kennel replay`: how well the cache would have served an access trace.
//!
//! A request is a get, followed on a miss by a set. The values prove themselves: each repeats its
//! key, in the size that the trace first told for the object, and every hit is compared.
//!
//! The trace is read twice: once for what is in it ([`survey`]), which sizes the cache, and once
//! to play it ([`player`]), by this process or dealt out to several ([`team`]). What comes through
//! a pipe is kept for that in a temporary file. [`inputs`] says first as what the trace is read.

mod inputs;
mod interrupt;
mod message;
mod player;
mod report;
mod survey;
mod team;

use std::error::Error;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{ArgGroup, Args, value_parser};
use indicatif::{ProgressBar, ProgressFinish};
use kennel::{Cache, LockStrategy, OnMismatch, Options};
use tempfile::TempDir;

pub(super) use self::inputs::announce;
use self::interrupt::Interrupt;
use self::player::{Job, Player, Tally};
use self::report::Report;
use self::survey::{Survey, ValueSizes};
use self::team::Team;
use super::CliResult;
use crate::args::Locks;
use crate::output::with_spinner;
use crate::size::parse_size;
use crate::trace::{Columns, Format, KEY_LEN, Key, Request, Table, Trace};

/// The hash seed unless one is given: fixed, so that a replay can be repeated.
const SEED: u64 = 1;

/// How many requests of the whole trace are played at once. With several processes none is more
/// than two such chunks ahead of another, so that the order of the trace is kept that far.
const CHUNK: usize = 128;

/// Replay access traces, and tell how many requests the cache would have served.
///
/// Each request of a trace is a get, whatever operation the trace names, followed on a miss by a
/// set of a value of the size that the trace first tells for the object. Every value that is read
/// is compared with what was written.
///
/// The format of a trace is recognized by its content, and so is compression with gzip, xz or zstd.
/// Standard error tells what was recognized, with the first requests. What could be two formats or
/// looks like none is refused. --format lists the formats with an example of each.
///
/// Examples: kennel replay trace.csv.zst --capacity 256MiB;
/// bzcat trace.bz2 | kennel replay - --items 100000
#[derive(Args)]
#[command(group = ArgGroup::new("room").required(true).args(["capacity", "items"]))]
pub struct ReplayArgs {
    /// The files with the requests, replayed one after the other; `-` is standard input. Pipes are
    /// read to their end before the replay begins.
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// How many bytes of records the cache holds, for example 64MiB or 2GB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    capacity: Option<u64>,
    /// How many records the cache holds. All values are then of --value-size, whatever sizes the
    /// trace tells.
    #[arg(long, value_name = "N")]
    items: Option<NonZeroU64>,
    /// The size of all values with --items, and otherwise of those for which the trace tells none.
    #[arg(long, value_name = "SIZE", default_value = "64B", value_parser = parse_value_size)]
    value_size: u32,
    /// How many processes share the cache file and the trace, which is dealt out to them by key.
    #[arg(long, value_name = "P", default_value_t = 1)]
    #[arg(value_parser = value_parser!(u32).range(1..=256))]
    processes: u32,
    /// In how many stripes to divide the file: a power of two up to 4096. Without it, the number
    /// follows from the capacity.
    #[arg(long, value_name = "N")]
    stripes: Option<u32>,
    /// The seed of the hash that spreads the keys. With the same seed a replay by one process has
    /// the same result every time.
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
    /// How writers keep out of each other's way.
    #[arg(long, value_name = "STRATEGY", default_value = "file")]
    locks: Locks,
    /// How many locks the stripes share: a power of two, at most the number of stripes. Without it,
    /// each stripe has its own.
    #[arg(long, value_name = "N")]
    lock_regions: Option<u32>,
    /// Which columns of a csv file hold the key and the size, by number or by name, for example
    /// key=3,size=bytes. Without it, they are found by usual names in the header, such as key, id,
    /// lbn or offset, and size, length or bytes.
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<Columns>,
    /// The csv files have no header: their first row is a request. --columns has to give the number
    /// of the column with the key.
    #[arg(long)]
    no_header: bool,
    /// The format of all the traces. Without it, it is recognized by the content of each. Lines of an
    /// example are shown apart by |.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Where to make the cache file, which is then kept. Without it, a temporary one is made and
    /// removed at the end.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// One of the processes of a replay; started by `kennel replay`.
#[derive(Args)]
pub struct WorkerArgs {
    #[arg(long)]
    locks: Locks,
    path: PathBuf,
}

/// Any of the errors that stop a replay.
type Failure = Box<dyn Error + Send + Sync>;

/// What is wrong with a replay as it was asked for.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("--locks {locks} is for one process: expected --processes 1, found {processes}")]
    OneProcessOnly { locks: LockStrategy, processes: u32 },

    #[error("--items {items} of {value_size} bytes take more bytes than 64 bits can count")]
    TooManyItems { items: NonZeroU64, value_size: u32 },

    /// The cache refuses an option, here under the name that the command line has for it.
    #[error("{option}: expected {expected}, found {given}")]
    BadOption { option: String, expected: String, given: String },

    #[error("{}: expected at least one request, found none", list(traces))]
    NoRequests { traces: Vec<PathBuf> },

    #[error("key {key} was not in the trace when it was first read: it changed since")]
    NewKey { key: Key },

    #[error(
        "the trace changed after it was first read: expected {expected} requests, found {}",
        if found > expected { "more".to_owned() } else { found.to_string() }
    )]
    OtherLength { expected: u64, found: u64 },
}

/// Replays the traces and prints what came of it.
pub fn run(args: ReplayArgs) -> CliResult {
    args.check_processes()?;
    let mut trace = args.trace()?;
    if !args.json {
        announce(&trace);
    }
    let survey = with_spinner("Reading the trace", || Survey::read(&mut trace, args.value_sizes()))?;
    if survey.requests() == 0 {
        return Err(ReplayError::NoRequests { traces: args.traces }.into());
    }
    let options = args.options(&survey)?;
    let mut script = Script { trace, survey, interrupt: Interrupt::install()? };
    // Declared before the cache, so that it goes after it.
    let place = CachePlace::new(args.file.as_deref())?;
    let cache = options.create(place.path()).map_err(|error| args.create_error(error))?;

    let start = Instant::now();
    let tally = match args.processes {
        1 => play_alone(&mut script, cache.clone())?,
        _ => play_together(&mut script, Team::start(args.processes, place.path(), args.locks)?)?,
    };
    let report = Report {
        inputs: script.trace.inputs(),
        objects: script.survey.objects(),
        tally,
        processes: args.processes,
        time: start.elapsed(),
        cache: cache.stats(),
    };
    report.print(args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Plays what the parent process sends until it sends no more.
pub fn run_worker(args: WorkerArgs) -> CliResult {
    let options = Options::new().locks(args.locks.into()).on_mismatch(OnMismatch::UseExisting);
    let player = Player::new(options.open(&args.path)?);
    team::serve(player, io::stdin().lock(), io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

impl ReplayArgs {
    fn trace(&self) -> Result<Trace, Failure> {
        let table = Table::new(self.columns.clone(), self.no_header)?;
        Ok(Trace::open(&self.traces, self.format, table)?)
    }

    fn check_processes(&self) -> Result<(), ReplayError> {
        let is_local = matches!(self.locks, Locks::Process | Locks::None);
        if is_local && self.processes > 1 {
            let locks = self.locks.into();
            return Err(ReplayError::OneProcessOnly { locks, processes: self.processes });
        }
        Ok(())
    }

    fn value_sizes(&self) -> ValueSizes {
        match self.items {
            Some(_) => ValueSizes::AllOf(self.value_size),
            None => ValueSizes::OfTrace { otherwise: self.value_size },
        }
    }

    fn options(&self, survey: &Survey) -> Result<Options, ReplayError> {
        let capacity = self.capacity_in_bytes()?;
        // Objects larger than the whole cache are not stored, so no index need be made for them.
        let mean_item = (KEY_LEN as u64 + survey.mean_size()).min(capacity);
        let mut options =
            Options::new().capacity(capacity).mean_item(mean_item).locks(self.locks.into()).seed(self.seed);
        if let Some(stripes) = self.stripes {
            options = options.stripes(stripes);
        }
        if let Some(regions) = self.lock_regions {
            options = options.lock_regions(regions);
        }
        Ok(options)
    }

    /// Why the cache cannot be created, in the words of the command line.
    fn create_error(&self, error: kennel::Error) -> Failure {
        let kennel::Error::BadOption { option, given, expected } = error else {
            return error.into();
        };
        let option = match (option, self.items) {
            ("capacity", Some(items)) => format!("--items {items} of {} bytes", self.value_size),
            _ => format!("--{}", option.replace('_', "-")),
        };
        ReplayError::BadOption { option, expected, given }.into()
    }

    /// `--capacity`, or what `--items` records take.
    fn capacity_in_bytes(&self) -> Result<u64, ReplayError> {
        let Some(items) = self.items else {
            return Ok(self.capacity.unwrap_or(kennel::DEFAULT_CAPACITY));
        };
        let value_size = self.value_size;
        items
            .get()
            .checked_mul(kennel::record_size(KEY_LEN, value_size as usize))
            .ok_or(ReplayError::TooManyItems { items, value_size })
    }
}

fn play_alone(script: &mut Script, cache: Cache) -> Result<Tally, Failure> {
    let mut player = Player::new(cache);
    let mut tally = Tally::default();
    script.play(|chunk| {
        tally += player.play(chunk)?;
        Ok(())
    })?;
    Ok(tally)
}

fn play_together(script: &mut Script, mut team: Team) -> Result<Tally, Failure> {
    script.play(|chunk| Ok(team.play(chunk)?))?;
    Ok(team.finish()?)
}

/// What is played, until its end or that of the user's patience.
struct Script {
    trace: Trace,
    survey: Survey,
    interrupt: Interrupt,
}

impl Script {
    /// Hands the trace chunk by chunk to `play_chunk`.
    fn play(&mut self, mut play_chunk: impl FnMut(&[Job]) -> Result<(), Failure>) -> Result<(), Failure> {
        let expected = self.survey.requests();
        // Draws nothing unless standard error is a terminal.
        let progress = ProgressBar::new(expected).with_finish(ProgressFinish::AndClear);
        let mut jobs = self.trace.requests().map(|request| job(&request?, &self.survey));
        let mut played = 0;
        loop {
            let chunk = jobs.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
            played += chunk.len() as u64;
            let is_over = chunk.is_empty();
            // A file may change between the two times it is read. One that grows may have no end.
            if played > expected || (is_over && played < expected) {
                return Err(ReplayError::OtherLength { expected, found: played }.into());
            }
            if is_over {
                return Ok(());
            }
            let outcome = play_chunk(&chunk);
            // First, since Ctrl-C ends the workers as well, and that is no fault of theirs.
            self.interrupt.check()?;
            outcome?;
            progress.inc(chunk.len() as u64);
        }
    }
}

/// A request, with a value of the size that the survey found.
fn job(request: &Request, survey: &Survey) -> Result<Job, Failure> {
    let key = request.key;
    let size = survey.size_of(&key).ok_or(ReplayError::NewKey { key })?;
    Ok(Job { key, size })
}

/// Where the cache file lies: where the user wants it, or in a directory that goes with this.
struct CachePlace {
    path: PathBuf,
    _scratch: Option<TempDir>,
}

impl CachePlace {
    fn new(wanted: Option<&Path>) -> io::Result<Self> {
        if let Some(path) = wanted {
            return Ok(Self { path: path.to_owned(), _scratch: None });
        }
        let scratch = kennel_harness::directory(None)?;
        Ok(Self { path: scratch.path().join("replay.cache"), _scratch: Some(scratch) })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

fn parse_value_size(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    u32::try_from(size).map_err(|_| format!("expected at most {} bytes, found {size}", u32::MAX))
}

/// The files for a message, apart by commas.
fn list(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ReplayArgs,
    }

    fn parse(line: &str) -> Result<ReplayArgs, String> {
        let words = std::iter::once("replay").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.args).map_err(|error| error.to_string())
    }

    fn valid(line: &str) -> ReplayArgs {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_room_is_given_in_bytes_or_in_items() {
        let args = valid("a.csv --capacity 1MiB");
        assert_eq!(args.capacity_in_bytes().ok(), Some(1 << 20));
        let args = valid("a.csv --items 1000 --value-size 100");
        let expected = 1000 * kennel::record_size(KEY_LEN, 100);
        assert_eq!(args.capacity_in_bytes().ok(), Some(expected));
    }

    #[test]
    fn other_rooms_are_refused() {
        for line in [
            "a.csv",
            "a.csv --items 1 --capacity 1",
            "a.csv --items 0",
            "--items 1",
            "a.csv --items 1 --value-size 4GiB",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let args = valid("a.csv --items 18446744073709551615");
        let error = args.capacity_in_bytes().expect_err("too many").to_string();
        assert!(error.contains("64 bits"), "{error}");
    }

    #[test]
    fn locks_of_one_process_refuse_several() {
        assert!(valid("a --items 1 --locks process").check_processes().is_ok());
        assert!(valid("a --items 1 --processes 2").check_processes().is_ok());
        let args = valid("a --items 1 --processes 2 --locks process");
        let error = args.check_processes().expect_err("two processes").to_string();
        let message = "--locks process is for one process: expected --processes 1, found 2";
        assert_eq!(error, message);
    }

    /// A replay of a file that holds `first` when it is surveyed, and `second` when it is played.
    fn replay_of_a_changing_file(first: &str, second: &str) -> Result<usize, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("trace");
        std::fs::write(&path, first).expect("written");
        let mut trace = Trace::open(std::slice::from_ref(&path), None, Table::default()).expect("a trace");
        let survey = Survey::read(&mut trace, ValueSizes::AllOf(1)).expect("a trace");
        std::fs::write(&path, second).expect("written");
        let mut script = Script { trace, survey, interrupt: Interrupt::default() };
        let mut played = 0;
        let outcome = script.play(|chunk| {
            played += chunk.len();
            Ok(())
        });
        outcome.map(|()| played).map_err(|error| error.to_string())
    }

    #[test]
    fn a_trace_that_changes_is_an_error() {
        let trace = "7\n8\n".repeat(CHUNK);
        assert_eq!(replay_of_a_changing_file(&trace, &trace), Ok(2 * CHUNK));
        let changed = "the trace changed after it was first read: expected 256 requests, found ";
        assert_eq!(replay_of_a_changing_file(&trace, &trace[..40]), Err(format!("{changed}20")));
        assert_eq!(replay_of_a_changing_file(&trace, ""), Err(format!("{changed}0")));
        assert_eq!(replay_of_a_changing_file(&trace, &trace.repeat(2)), Err(format!("{changed}more")));
        let new = "key 9 was not in the trace when it was first read: it changed since";
        assert_eq!(replay_of_a_changing_file(&trace, "9\n"), Err(new.to_owned()));
    }
}
