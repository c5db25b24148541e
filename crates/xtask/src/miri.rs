//! `cargo xtask miri`: the core's unit tests under miri, which sees undefined behaviour, and weak memory and different
//! interleavings, one a seed. Tests of one thread, whose names begin with `alone_`, are the same with every seed and
//! take longest: they run once. Those named `core_*` have two threads or more and run with all seeds.

use std::process::ExitCode;

use anyhow::Result;

use crate::step::Step;
use crate::{runner, toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the tests whose name contains this, with all seeds
    filter: Option<String>,
    /// Seeds of the scheduler, from the first up to but not with the last
    #[arg(long, value_name = "RANGE", default_value = "0..8")]
    seeds: String,
    /// Arguments for the test binary, such as --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    toolchain::ensure_nightly(&["miri", "rust-src"])?;
    let step = |name, filter: &str, seeds: &str| {
        Step::cargo(name, "miri test -p kennel --lib")
            .nightly()
            .env("MIRIFLAGS", flags(seeds))
            .filter(filter)
            .harness_args(args.args.clone())
    };
    let steps = match &args.filter {
        Some(filter) => vec![step("miri", filter, &args.seeds)],
        None => vec![step("threads", "core_", &args.seeds), step("alone", "alone_", "0..1")],
    };
    runner::run(&steps, |_| runner::this_command())
}

/// What miri is told, for a range of seeds such as `0..64`.
pub(crate) fn flags(seeds: &str) -> String {
    // Threads change places more often than by default (0.01): the tests are short, the races narrow. What runs here
    // is the engine on heap memory, which has no unsafe code; checking who borrows it would take most of the time.
    format!("-Zmiri-many-seeds={seeds} -Zmiri-preemption-rate=0.1 -Zmiri-disable-stacked-borrows")
}
