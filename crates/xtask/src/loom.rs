//! `cargo xtask loom`: the models, which are the library's unit tests named `loom_*`.

use std::process::ExitCode;

use anyhow::Result;

use crate::runner;
use crate::step::Step;

const ALL_MODELS: &str = "loom_";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the models whose name contains this
    #[arg(default_value = ALL_MODELS)]
    filter: String,
    /// Arguments for the test binary, such as --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

/// The step of `cargo xtask test` that runs all models.
pub(crate) fn step() -> Step {
    models(ALL_MODELS.to_owned(), Vec::new())
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let step = models(args.filter, args.args);
    runner::run(&[step], |_| runner::this_command())
}

/// The step builds with optimizations, because a model visits some hundred thousand interleavings.
fn models(filter: String, args: Vec<String>) -> Step {
    Step::cargo("loom", "test -p kennel --release --lib")
        .env("RUSTFLAGS", "--cfg loom")
        .target_dir("loom")
        .filter(filter)
        .harness_args(args)
}
