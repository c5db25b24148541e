//! `cargo xtask torture`: processes use one cache while some of them are killed or stopped, and check every answer. The
//! program is `crates/torture`, built with optimizations; this file passes its arguments on.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::step::Step;
use crate::toolchain::Toolchain;

/// The faults that can be injected, each of which the torture must find.
const FAULTS: [&str; 13] = [
    "torn",
    "revived",
    "unlocked",
    "late-store",
    "double-claim",
    "unfollowed",
    "deaf-to-tags",
    "fresh-though-tagged",
    "late-clock",
    "not-closed",
    "left-closed",
    "forgotten-tags",
    "moved-locks",
];
/// How long the torture may take to find a fault, in seconds: many times what the slowest takes, some 15 s on average.
const SECONDS_PER_FAULT: u64 = 180;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to run, in seconds
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// Number of processes that run at the same time
    #[arg(long, value_name = "P")]
    processes: Option<u64>,
    /// Lock strategy, or `all` for each in turn
    #[arg(long, value_name = "NAME")]
    locks: Option<String>,
    /// Seed of the random choices
    #[arg(long, value_name = "S")]
    seed: Option<String>,
    /// Disable one protection of the engine; the torture must find the fault
    #[arg(long, value_parser = FAULTS)]
    fault: Option<String>,
    /// Disable each protection in turn, and pass if the torture finds every fault
    #[arg(long, conflicts_with_all = ["fault", "seconds"])]
    faults: bool,
}

/// The step of `cargo xtask test` that runs a short torture.
pub(crate) fn step() -> Step {
    Step::cargo("torture", "run --release --quiet --package kennel-torture -- --seconds 20 --locks all")
}

/// The step of `cargo xtask test` that checks that the torture finds injected faults.
pub(crate) fn faults_step() -> Step {
    Step::cargo("faults", "run --quiet --package xtask -- torture --faults")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.faults {
        return find_all(args);
    }
    Ok(ExitCode::from(start(args, args.seconds, args.fault.as_deref())?))
}

/// Plants each fault in turn, and passes if the torture finds them all.
fn find_all(args: &Args) -> Result<ExitCode> {
    for fault in FAULTS {
        println!("=== fault: {fault}");
        let status = start(args, SECONDS_PER_FAULT, Some(fault))?;
        ensure!(
            status != 0,
            "expected the torture to find the fault {fault} within {SECONDS_PER_FAULT} s, found no violation"
        );
        ensure!(status == 1, "the torture could not run: status {status}");
    }
    println!("all {} faults were found", FAULTS.len());
    Ok(ExitCode::SUCCESS)
}

/// Runs the torture and returns its exit status, which is 1 if it found violations.
fn start(args: &Args, seconds: u64, fault: Option<&str>) -> Result<u8> {
    let mut command = Toolchain::InUse.cargo();
    command.args(["run", "--release", "--quiet", "--package", "kennel-torture"]);
    if fault.is_some() {
        command.args(["--features", "faults"]);
    }
    command.args(["--", "--seconds", &seconds.to_string()]);
    let processes = args.processes.map(|processes| processes.to_string());
    let options = [
        ("--processes", processes.as_deref()),
        ("--locks", args.locks.as_deref()),
        ("--seed", args.seed.as_deref()),
        ("--fault", fault),
    ];
    for (option, value) in options {
        command.args(value.iter().flat_map(|value| [option, value]));
    }
    let status = command.status().context("could not start cargo")?;
    let code = status.code().context("a signal ended the torture")?;
    u8::try_from(code).context("the torture ended with an exit status out of range")
}
