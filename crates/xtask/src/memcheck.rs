//! `cargo xtask memcheck`: the main tests under valgrind's memcheck, which sees memory that is read before it is written,
//! or used after it was freed. It also shows that a program under valgrind can use a cache at all.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, ensure};

use crate::runner;
use crate::step::Step;

/// The test files that are run: what one process does with a cache, and what several do with claims and locks. The
/// others make thousands of processes or files, which takes hours under valgrind.
const MAIN: [&str; 7] = ["claims", "create", "expiry", "locks", "namespaces", "sizes", "values"];

/// An error fails the run, in the processes that a test starts, too. What a killed process leaves allocated is no leak.
/// Threads get the processor in turns: else one that spins keeps it from the one that it waits for.
const MEMCHECK: [&str; 7] = [
    "valgrind",
    "--tool=memcheck",
    "--quiet",
    "--error-exitcode=99",
    "--leak-check=no",
    "--trace-children=yes",
    "--fair-sched=yes",
];

/// Tests that are left out, by what their names contain: each makes more work than valgrind does in minutes.
const EXCLUDED: [&str; 3] = ["four_processes_of", "no_hit_is_torn_or_old", "different_keys_do_not_wait"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the tests whose name contains this
    #[arg(default_value = "")]
    filter: String,
    /// Run only this test file of `tests/`, or `lib` for the unit tests
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Arguments for the test binaries, such as --nocapture
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let has_valgrind =
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    ensure!(
        has_valgrind,
        "valgrind was not found; on Debian: sudo apt-get install --no-install-recommends valgrind libc6-dbg"
    );
    runner::run(&[step(args)], |_| runner::this_command())
}

fn step(args: Args) -> Step {
    let which = match args.only.as_deref() {
        None => MAIN.map(|name| format!("--test {name}")).join(" "),
        Some("lib") => "--lib".to_owned(),
        Some(name) => format!("--test {name}"),
    };
    let mut step = Step::cargo("memcheck", &format!("test -p kennel --all-features --no-fail-fast {which}"))
        .arg("--config")
        .arg(&format!("target.'cfg(unix)'.runner = {MEMCHECK:?}"))
        .harness_args(
            EXCLUDED.iter().flat_map(|&name| ["--skip".to_owned(), name.to_owned()]).chain(args.args).collect(),
        );
    if !args.filter.is_empty() {
        step = step.filter(args.filter);
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_tests_are_there() {
        let tests = crate::toolchain::root().join("tests");
        assert!(MAIN.iter().all(|name| tests.join(format!("{name}.rs")).is_file()));
    }

    #[test]
    fn every_test_program_runs_under_valgrind() {
        let step = step(Args { filter: String::new(), only: Some("values".into()), args: Vec::new() }).to_string();
        assert!(step.contains("--test values --config") && step.contains("runner = [\"valgrind\", "), "{step}");
    }
}
