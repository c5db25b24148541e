//! `cargo xtask power`: simulates power failures by opening files that mix old and new pages.

use std::process::ExitCode;

use anyhow::Result;

use crate::runner;
use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many mixtures to open
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    mixtures: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let step = Step::cargo("power", "test -p kennel --features crash-points --test power")
        .env("KENNEL_POWER_MIXTURES", args.mixtures.to_string())
        .filter("mixture")
        // The tests print how many mixtures they opened and which values came back.
        .harness_args(vec!["--nocapture".into()]);
    runner::run(&[step], |_| runner::this_command())
}
