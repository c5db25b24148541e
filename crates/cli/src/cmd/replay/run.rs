//! A replay from start to end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use kennel::{Cache, OnMismatch, Options};
use tempfile::TempDir;

use super::args::{ReplayArgs, WorkerArgs};
use super::inputs::announce;
use super::interrupt::Interrupt;
use super::player::{Player, Tally};
use super::report::Report;
use super::script::Script;
use super::survey::Survey;
use super::team::{self, Team};
use crate::cmd::outcome::{AnyError, CliResult};
use crate::output::with_spinner;

/// The inputs have no requests.
#[derive(Debug, thiserror::Error)]
#[error("{}: expected at least one request, found none", list(traces))]
struct NoRequests {
    traces: Vec<PathBuf>,
}

/// Replays the traces and prints the result.
pub fn run(args: ReplayArgs) -> CliResult {
    args.check_processes()?;
    let mut trace = args.trace()?;
    if !args.json {
        announce(&trace);
    }
    let survey = with_spinner("Reading the trace", || Survey::read(&mut trace, args.value_sizes()))?;
    if survey.requests() == 0 {
        return Err(NoRequests { traces: args.traces }.into());
    }
    let options = args.options(&survey)?;
    let mut script = Script { trace, survey, interrupt: Interrupt::install()? };
    // Declared before the cache, so that it is dropped after it.
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

/// Plays the jobs that the parent process sends, until it sends no more.
pub fn run_worker(args: WorkerArgs) -> CliResult {
    let options = Options::new().locks(args.locks.into()).on_mismatch(OnMismatch::UseExisting);
    let player = Player::new(options.open(&args.path)?);
    team::serve(player, io::stdin().lock(), io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn play_alone(script: &mut Script, cache: Cache) -> Result<Tally, AnyError> {
    let mut player = Player::new(cache);
    let mut tally = Tally::default();
    script.play(|chunk| {
        tally += player.play(chunk)?;
        Ok(())
    })?;
    Ok(tally)
}

fn play_together(script: &mut Script, mut team: Team) -> Result<Tally, AnyError> {
    script.play(|chunk| Ok(team.play(chunk)?))?;
    Ok(team.finish()?)
}

/// The path of the cache file: the one that the user named, or one in a temporary directory.
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

/// The paths, separated by commas.
fn list(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}
