//! `cargo xtask COMMAND`: the project's chores, in Rust so that they are the same on every platform.
//!
//! One file per command; each builds a list of [`step::Step`]s and hands it to [`runner`].
//!
//! Tests of this crate stay inside `src/`. Integration tests would make `cargo test --workspace` link
//! the `xtask` binary anew, which Windows refuses while that very binary is running the command.

mod fuzz;
mod instructions;
mod loom;
mod macos;
mod memcheck;
mod minimal;
mod miri;
mod mutants;
mod power;
mod python;
mod refused;
mod runner;
mod shuttle;
mod speed;
mod step;
mod test;
mod toolchain;
mod torture;
mod tsan;
mod windows;
mod wine;
mod wine_python;

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
    /// Run long histories of the models under schedules drawn at random
    Shuttle(shuttle::Args),
    /// Run the core's tests under miri, which sees undefined behaviour (needs nightly)
    Miri(miri::Args),
    /// Weaken each fence and each ordering, and see that a test fails
    Mutants(mutants::Args),
    /// Run the library's tests under ThreadSanitizer (needs nightly, on Linux)
    Tsan(tsan::Args),
    /// Run the main tests under valgrind's memcheck (Linux)
    Memcheck(memcheck::Args),
    /// Open many mixtures of old and new pages, as a loss of power leaves them
    Power(power::Args),
    /// Use a cache in many processes while they are killed, and check every answer
    Torture(torture::Args),
    /// Run all tests, Python's included, as Windows programs under Wine
    Windows(windows::Args),
    /// Type-check and lint everything for macOS
    MacosCheck,
    /// Check the library, the suite for locks and the command line with the oldest versions of their dependencies
    Minimal,
    /// See that targets Kennel cannot run on are refused with a sentence
    RefusedCheck,
    /// Run the fuzz targets for a while (needs nightly)
    Fuzz(fuzz::Args),
    /// Check and test the Python package in an environment of its own (needs Python)
    Python(python::TestArgs),
    /// Build uWSGI, and test the Python package in its workers, each with two interpreters (needs Python and a C compiler)
    Uwsgi,
    /// Build a wheel of the Python package (needs Python)
    Wheel(python::WheelArgs),
    /// Measure Kennel beside the least that any cache must do, and beside other caches
    Speed(speed::Args),
    /// Count the instructions of the calls that matter, under valgrind (Linux)
    Instructions(instructions::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Loom(args) => loom::run(args),
        Command::Shuttle(args) => shuttle::run(args),
        Command::Miri(args) => miri::run(args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Tsan(args) => tsan::run(args),
        Command::Memcheck(args) => memcheck::run(args),
        Command::Power(args) => power::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Windows(args) => windows::run(args),
        Command::MacosCheck => macos::run(),
        Command::Minimal => minimal::run(),
        Command::RefusedCheck => refused::run(),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Python(args) => python::test(&args),
        Command::Uwsgi => python::test_under_uwsgi(),
        Command::Wheel(args) => python::wheel(&args),
        Command::Speed(args) => speed::run(args),
        Command::Instructions(args) => instructions::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
