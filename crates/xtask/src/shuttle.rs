//! `cargo xtask shuttle`: longer models under random schedules, which are the library's unit tests named `shuttle_*`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::runner;
use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the models whose name contains this
    #[arg(default_value = "shuttle_")]
    filter: String,
    /// Number of schedules for each model
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(2..))]
    schedules: u64,
    /// Repeat the schedule in this file, whose name a failure prints; give the name of the failed model as well
    #[arg(long, value_name = "FILE", conflicts_with = "schedules")]
    replay: Option<PathBuf>,
    /// Arguments for the test binary, such as --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let mut step = models(args.filter, args.schedules).harness_args(args.args);
    if let Some(file) = args.replay {
        step = step.env("KENNEL_REPLAY", absolute(&file)?);
    }
    runner::run(&[step], |_| runner::this_command())
}

/// `--cfg loom` leaves out code that no checker can run, and `--cfg shuttle` replaces loom with shuttle.
fn models(filter: String, schedules: u64) -> Step {
    Step::cargo("shuttle", "test -p kennel --release --lib")
        .env("RUSTFLAGS", "--cfg loom --cfg shuttle")
        .env("KENNEL_SCHEDULES", schedules.to_string())
        .target_dir("shuttle")
        .filter(filter)
}

/// The absolute path of `file`: the test runs in the folder of its package.
fn absolute(file: &Path) -> Result<String> {
    let path = file.canonicalize().with_context(|| format!("could not find the schedule {}", file.display()))?;
    Ok(path.to_string_lossy().into_owned())
}
