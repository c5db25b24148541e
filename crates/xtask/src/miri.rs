//! `cargo xtask miri`: the core's unit tests under miri, which detects undefined behaviour and emulates weak memory.
//! Each seed gives another interleaving. Tests named `core_*` have several threads and run with all seeds. Tests named
//! `alone_*` have one thread, so that every seed gives the same run; they take longest and run once.

use std::process::ExitCode;

use anyhow::Result;

use crate::step::Step;
use crate::{runner, toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the tests whose names contain this, with all seeds
    filter: Option<String>,
    /// Seeds of the scheduler; the end of the range is excluded
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

/// The flags of miri for a range of seeds such as `0..64`.
pub(crate) fn flags(seeds: &str) -> String {
    // The preemption rate is above the default of 0.01, because the tests are short and the races narrow. These tests
    // run the engine on heap memory, without unsafe code; checking stacked borrows would take most of the time.
    format!("-Zmiri-many-seeds={seeds} -Zmiri-preemption-rate=0.1 -Zmiri-disable-stacked-borrows")
}
