//! `cargo xtask power`: what comes back when power is lost, tried on many mixtures of old and new pages.

use std::process::ExitCode;

use anyhow::Result;

use crate::runner;
use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many mixtures are opened
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    mixtures: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let step = Step::cargo("power", "test -p kennel --features crash-points --test power")
        .env("KENNEL_POWER_MIXTURES", args.mixtures.to_string())
        .filter("mixture")
        // The tests say how many they tried, and what came back.
        .harness_args(vec!["--nocapture".into()]);
    runner::run(&[step], |_| runner::this_command())
}
