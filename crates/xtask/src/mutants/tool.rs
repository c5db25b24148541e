//! The tools that catch mutants. Each runs the library's unit tests with a certain prefix in their names.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::tree::CHOICE;
use crate::toolchain::Toolchain;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Loom, for the models `loom_*`.
    Loom,
    /// Miri with many seeds, for the core's tests `core_*`.
    Miri,
    /// The ordinary test harness, for all other unit tests.
    Test,
}

impl Tool {
    pub(crate) const ALL: [Tool; 3] = [Tool::Test, Tool::Loom, Tool::Miri];

    /// The tool that runs a test.
    pub(crate) fn of(test: &str) -> Self {
        match test {
            _ if test.starts_with("loom_") => Tool::Loom,
            _ if test.starts_with("core_") => Tool::Miri,
            _ => Tool::Test,
        }
    }

    /// Selects the tests that may catch a mutant of the engine.
    pub(crate) fn every_test(self) -> &'static str {
        match self {
            Tool::Loom => "loom_",
            Tool::Miri => "core_",
            Tool::Test => "reordered::",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tool::Loom => "loom",
            Tool::Miri => "miri",
            Tool::Test => "test",
        }
    }

    fn command(self, tree: &Path) -> Command {
        let toolchain = if self == Tool::Miri { Toolchain::Nightly } else { Toolchain::InUse };
        let mut command = toolchain.cargo();
        // A separate target folder, because cargo takes two copies of one package for the same.
        command.current_dir(tree).env("CARGO_TARGET_DIR", tree.join("target").join(self.name()));
        match self {
            Tool::Loom => {
                command.args(["test", "-p", "kennel", "--release", "--lib"]);
                command.env("RUSTFLAGS", "--cfg loom");
            }
            Tool::Miri => {
                let flags = crate::miri::flags("0..64") + &format!(" -Zmiri-env-forward={CHOICE}");
                command.args(["miri", "test", "-p", "kennel", "--lib"]);
                command.env("MIRIFLAGS", flags);
            }
            Tool::Test => {
                command.args(["test", "-p", "kennel", "--lib"]);
            }
        }
        command
    }

    /// Runs the tests that `filter` selects, on a mutant if one is given, and returns the names of those that fail.
    /// Under miri the first failure ends the run and is the only name.
    pub(crate) fn failing(self, tree: &Path, mutant: Option<usize>, filter: &str) -> Result<Vec<String>> {
        let mut command = self.command(tree);
        command.args([filter, "--", "--test-threads=1"]).stdin(Stdio::null());
        // Backtraces of a hundred thousand schedules would only slow the run down.
        command.env("RUST_BACKTRACE", "0").env_remove(CHOICE);
        if let Some(number) = mutant {
            command.env(CHOICE, number.to_string());
        }
        let output = command.output().context("could not start cargo")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(text.contains("running "), "could not run {}:\n{said}", self.name());
        ensure!(!text.contains("running 0 tests"), "{}: expected tests named {filter}, found none", self.name());
        if output.status.success() {
            return Ok(Vec::new());
        }
        let mut failed = failed_tests(&text);
        if failed.is_empty() {
            // The program aborted; the test without a result is the one that failed.
            failed.extend(text.lines().filter_map(started).next_back());
        }
        ensure!(!failed.is_empty(), "{} failed, but no test did:\n{text}\n{said}", self.name());
        Ok(failed)
    }
}

/// The last parts of the names in lines such as `test a::b::name ... FAILED`.
fn failed_tests(text: &str) -> Vec<String> {
    let failed = text.lines().filter(|line| line.ends_with("FAILED")).filter_map(started);
    let mut failed: Vec<_> = failed.collect();
    failed.sort();
    failed.dedup();
    failed
}

fn started(line: &str) -> Option<String> {
    let name = line.strip_prefix("test ")?.split(" ... ").next()?;
    (!name.starts_with("result:")).then(|| name.rsplit("::").next().unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tests_say_who_runs_them() {
        let tools = ["loom_a", "core_b", "a_death"].map(Tool::of);
        assert_eq!(tools, [Tool::Loom, Tool::Miri, Tool::Test]);
    }

    #[test]
    fn failures_are_read_from_the_harness() {
        let text = "running 3 tests\ntest a::b::one ... ok\ntest a::b::two ... FAILED\ntest result: FAILED. 1 passed\n";
        assert_eq!(failed_tests(text), ["two"]);
        assert_eq!(started("test a::three ... "), Some("three".to_owned()));
    }
}
