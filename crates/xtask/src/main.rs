//! `cargo xtask COMMAND`: the project's chores, in Rust so that they are the same on every platform.
//!
//! One file per command; each builds a list of [`step::Step`]s and hands it to [`runner`].
//!
//! Tests of this crate stay inside `src/`. Integration tests would make `cargo test --workspace` link
//! the `xtask` binary anew, which Windows refuses while that very binary is running the command.

mod fuzz;
mod loom;
mod macos;
mod miri;
mod refused;
mod runner;
mod step;
mod test;
mod toolchain;
mod windows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check: format, lints, documentation, tests, loom models
    Test(test::Args),
    /// Run the loom models: every interleaving of a few threads
    Loom(loom::Args),
    /// Run the core's tests under miri, which sees undefined behaviour (needs nightly)
    Miri(miri::Args),
    /// Run all tests as Windows programs under Wine
    Windows(windows::Args),
    /// Type-check and lint everything for macOS
    MacosCheck,
    /// See that targets Kennel cannot run on are refused with a sentence
    RefusedCheck,
    /// Run the fuzz targets for a while (needs nightly)
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Loom(args) => loom::run(args),
        Command::Miri(args) => miri::run(args),
        Command::Windows(args) => windows::run(args),
        Command::MacosCheck => macos::run(),
        Command::RefusedCheck => refused::run(),
        Command::Fuzz(args) => fuzz::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
