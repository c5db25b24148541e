//! `cargo xtask miri`: the core's unit tests, whose names begin with `core_`, under miri, which sees
//! undefined behaviour and, over several seeds, weak memory and different interleavings.

use std::process::ExitCode;

use anyhow::Result;

use crate::step::Step;
use crate::{runner, toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the tests whose name contains this
    #[arg(default_value = "core_")]
    filter: String,
    /// Seeds of the scheduler, from the first up to but not with the last
    #[arg(long, value_name = "RANGE", default_value = "0..8")]
    seeds: String,
    /// Arguments for the test binary, such as --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    toolchain::ensure_nightly(&["miri", "rust-src"])?;
    let step = Step::cargo("miri", "miri test -p kennel --lib")
        .nightly()
        .env("MIRIFLAGS", flags(&args.seeds))
        .filter(args.filter)
        .harness_args(args.args);
    runner::run(&[step], |_| runner::this_command())
}

/// What miri is told, for a range of seeds such as `0..64`.
pub(crate) fn flags(seeds: &str) -> String {
    // Threads change places more often than by default (0.01): the tests are short, the races narrow. What runs here
    // is the engine on heap memory, which has no unsafe code; checking who borrows it would take most of the time.
    format!("-Zmiri-many-seeds={seeds} -Zmiri-preemption-rate=0.1 -Zmiri-disable-stacked-borrows")
}
