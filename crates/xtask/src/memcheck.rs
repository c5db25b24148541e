//! `cargo xtask memcheck`: the main tests under valgrind's memcheck, which finds reads of uninitialized and of freed
//! memory. It also shows that a program under valgrind can use a cache at all.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, ensure};

use crate::library_tests::{PACKAGES, Selection, main_tests};
use crate::runner;
use crate::step::Step;

/// An error fails the run, also in processes that a test starts. Leaks are not checked: a killed process frees nothing.
/// Scheduling is fair, because a thread that spins would otherwise starve the thread that it waits for.
const MEMCHECK: [&str; 7] = [
    "valgrind",
    "--tool=memcheck",
    "--quiet",
    "--error-exitcode=99",
    "--leak-check=no",
    "--trace-children=yes",
    "--fair-sched=yes",
];

/// Tests that are skipped, by parts of their names: each would run for many minutes under valgrind.
const EXCLUDED: [&str; 3] = ["four_processes_of", "no_hit_is_torn_or_old", "different_keys_do_not_wait"];

pub(crate) fn run(selection: Selection) -> Result<ExitCode> {
    let has_valgrind =
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    ensure!(
        has_valgrind,
        "valgrind was not found; on Debian: sudo apt-get install --no-install-recommends valgrind libc6-dbg"
    );
    runner::run(&[selection.apply_to(step(), &main_tests(), EXCLUDED)], |_| runner::this_command())
}

fn step() -> Step {
    Step::cargo("memcheck", &format!("test {PACKAGES} --all-features --no-fail-fast --config"))
        .arg(&format!("target.'cfg(unix)'.runner = {MEMCHECK:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_program_runs_under_valgrind() {
        let step = step().to_string();
        assert!(step.contains("--config") && step.contains("runner = [\"valgrind\", "), "{step}");
    }
}
