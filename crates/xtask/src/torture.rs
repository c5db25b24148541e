//! `cargo xtask torture`: processes use one cache while they are killed and stopped, and every answer is checked.
//! The work is done by `crates/torture`, built for speed; this hands its arguments on.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::step::Step;
use crate::toolchain::Toolchain;

/// Faults that the torture must find when they are planted.
const PLANTS: [&str; 6] = ["torn", "revived", "unlocked", "late-store", "double-claim", "unfollowed"];
/// The longest that one may take to be found, in seconds.
const PLANTED_SECONDS: u64 = 60;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long, in seconds
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// Processes at work at once
    #[arg(long, value_name = "P")]
    processes: Option<u64>,
    /// Lock strategy, or `all`, which take turns
    #[arg(long, value_name = "NAME")]
    locks: Option<String>,
    /// Seed of what is chosen
    #[arg(long, value_name = "S")]
    seed: Option<String>,
    /// Break a protection of the engine, which must be found
    #[arg(long, value_parser = PLANTS)]
    plant: Option<String>,
    /// Break each protection in turn, and pass if each is found
    #[arg(long, conflicts_with_all = ["plant", "seconds"])]
    plants: bool,
}

/// A short torture, for `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("torture", "run --release --quiet --package kennel-torture -- --seconds 20 --locks all")
}

/// That the torture finds what it is there for.
pub(crate) fn planted_step() -> Step {
    Step::cargo("planted", "run --quiet --package xtask -- torture --plants")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.plants {
        return find_all(args);
    }
    Ok(ExitCode::from(start(args, args.seconds, args.plant.as_deref())?))
}

/// Passes if the torture finds each fault.
fn find_all(args: &Args) -> Result<ExitCode> {
    for plant in PLANTS {
        println!("=== planted: {plant}");
        let status = start(args, PLANTED_SECONDS, Some(plant))?;
        ensure!(status != 0, "the torture did not find the fault {plant} within {PLANTED_SECONDS} s");
        ensure!(status == 1, "the torture could not run: status {status}");
    }
    println!("all {} faults were found", PLANTS.len());
    Ok(ExitCode::SUCCESS)
}

/// Runs the torture; its exit status: 1 says that there were violations.
fn start(args: &Args, seconds: u64, plant: Option<&str>) -> Result<u8> {
    let mut command = Toolchain::InUse.cargo();
    command.args(["run", "--release", "--quiet", "--package", "kennel-torture"]);
    if plant.is_some() {
        command.args(["--features", "plant"]);
    }
    command.args(["--", "--seconds", &seconds.to_string()]);
    let processes = args.processes.map(|processes| processes.to_string());
    let options = [
        ("--processes", processes.as_deref()),
        ("--locks", args.locks.as_deref()),
        ("--seed", args.seed.as_deref()),
        ("--plant", plant),
    ];
    for (option, value) in options {
        command.args(value.iter().flat_map(|value| [option, value]));
    }
    let status = command.status().context("could not start cargo")?;
    let code = status.code().context("the torture was ended by a signal")?;
    u8::try_from(code).context("no exit status of the torture")
}
