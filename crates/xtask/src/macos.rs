//! `cargo xtask macos-check`: type-checks and lints the whole workspace with its tests for macOS, on any system. It
//! links and runs nothing: only a Mac can show how a system call behaves there.

use std::process::ExitCode;

use anyhow::Result;

use crate::step::Step;
use crate::{runner, toolchain};

const TARGET: &str = "aarch64-apple-darwin";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pass, with a warning, where rustup cannot install the target: without a network, for example
    #[arg(long)]
    if_possible: bool,
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("macos", "run --quiet --package xtask -- macos-check --if-possible")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match toolchain::ensure_target(TARGET) {
        Err(error) if args.if_possible => {
            println!("warning: not checked for macOS: {error:#}");
            return Ok(ExitCode::SUCCESS);
        }
        other => other?,
    }
    let step = Step::cargo("macos-check", "clippy --workspace --all-targets --all-features --target")
        .arg(TARGET)
        .harness_args(vec!["-D".into(), "warnings".into()])
        .component("clippy")
        // A folder of its own, so that it need not wait for another build.
        .target_dir("macos")
        // Some dependencies compile C code. The check does not need it, and a C compiler for macOS is rarely installed.
        .env("CC_aarch64_apple_darwin", "true")
        .env("AR_aarch64_apple_darwin", "true");
    runner::run(&[step], |_| runner::this_command())
}
