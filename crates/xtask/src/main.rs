//! `cargo xtask COMMAND`: the project's chores, in Rust so that they are the same on every platform.
//!
//! Each command has a file of its own. Most build a list of [`step::Step`]s and pass it to [`runner`].
//!
//! The tests of this crate stay inside `src/`. Integration tests would make `cargo test --workspace` relink the `xtask`
//! binary, which Windows refuses while that binary runs the command.

mod bindings;
mod built_from;
mod capi;
mod cross_check;
mod far;
mod far_figures;
mod fuzz;
mod go;
mod growth;
mod instructions;
mod languages;
mod library_tests;
mod limit;
mod loom;
mod memcheck;
mod minimal;
mod miri;
mod mutants;
mod node;
mod package;
mod php;
mod picture;
mod plan;
mod power;
mod public_api;
mod python;
mod refused;
mod ruby;
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
    /// Run every check: format, lints, documentation, tests, models, torture, C library, Python package
    Test(test::Args),
    /// Run the loom models under every interleaving of their threads
    Loom(loom::Args),
    /// Run longer models under random schedules
    Shuttle(shuttle::Args),
    /// Run the core's tests under miri, which detects undefined behaviour (needs nightly)
    Miri(miri::Args),
    /// Weaken each fence and each ordering, and check that a test fails
    Mutants(mutants::Args),
    /// Run the library's tests under ThreadSanitizer (needs nightly, on Linux)
    Tsan(library_tests::Selection),
    /// Run the main tests under valgrind's memcheck (Linux)
    Memcheck(library_tests::Selection),
    /// Open many mixtures of old and new pages, as a power failure leaves them
    Power(power::Args),
    /// Use a cache from many processes, kill some of them, and check every answer
    Torture(torture::Args),
    /// Use the far tier on two hosts in front of a real server, among faults, and check every answer
    Far(far::Args),
    /// Measure the far tier, all its figures in one run
    FarFigures(far_figures::Args),
    /// Run all tests, Python's included, as Windows programs under Wine
    Windows(windows::Args),
    /// Type-check and lint everything for Windows
    WindowsCheck(cross_check::Args),
    /// Type-check and lint everything for macOS
    MacosCheck(cross_check::Args),
    /// Check the library, the suite for locks and the command line with the oldest versions of their dependencies
    Minimal,
    /// Build each crate that is to be published from its package alone
    Package,
    /// Compare the public interface with its pinned text (needs nightly)
    PublicApi(public_api::Args),
    /// Check that compiling for an unsupported target fails with a clear message
    RefusedCheck,
    /// Run the fuzz targets for a while (needs nightly)
    Fuzz(fuzz::Args),
    /// Check and test the C library, or install it with --prefix (needs a C compiler)
    Capi(capi::Args),
    /// Check and test the package for Go (needs Go and a C compiler)
    Go,
    /// Let programs in all languages that this machine has share one cache file
    Languages(languages::Args),
    /// Build and test the package for Node.js (needs Node.js and a C compiler)
    Node(node::Args),
    /// Build and test the PHP extension and library (needs PHP and a C compiler)
    Php,
    /// Check and test the Python package in its own virtual environment (needs Python)
    Python(python::TestArgs),
    /// Build uWSGI and test the Python package in its workers, with two interpreters each (needs Python and a C
    /// compiler)
    Uwsgi,
    /// Build and test the gem for Ruby (needs Ruby and a C compiler)
    Ruby,
    /// Build a wheel of the Python package (needs Python)
    Wheel(python::WheelArgs),
    /// Compare the speed of Kennel with a lower limit and with other caches
    Speed(speed::Args),
    /// Draw the picture of the README from the figures that `speed --json` wrote
    Picture(picture::Args),
    /// Draw how the cost of an operation grows with data, processes, value size, keys of a call and lock regions
    Growth(growth::Args),
    /// Count the instructions of the hot calls under valgrind (Linux)
    Instructions(instructions::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Loom(args) => loom::run(args),
        Command::Shuttle(args) => shuttle::run(args),
        Command::Miri(args) => miri::run(args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Tsan(selection) => tsan::run(selection),
        Command::Memcheck(selection) => memcheck::run(selection),
        Command::Power(args) => power::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Far(args) => far::run(&args),
        Command::FarFigures(args) => far_figures::run(args),
        Command::Windows(args) => windows::run(args),
        Command::WindowsCheck(args) => cross_check::WINDOWS.check(&args),
        Command::MacosCheck(args) => cross_check::MACOS.check(&args),
        Command::Minimal => minimal::run(),
        Command::Package => package::run(),
        Command::PublicApi(args) => public_api::run(&args),
        Command::RefusedCheck => refused::run(),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Capi(args) => capi::run(&args),
        Command::Go => go::run(),
        Command::Languages(args) => languages::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Php => php::run(),
        Command::Ruby => ruby::run(),
        Command::Python(args) => python::test(&args),
        Command::Uwsgi => python::test_under_uwsgi(),
        Command::Wheel(args) => python::wheel(&args),
        Command::Speed(args) => speed::run(args),
        Command::Picture(args) => picture::run(args),
        Command::Growth(args) => growth::run(args),
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
