//! The suite, and what it reports.

use crate::attached::Attached;
use crate::checks::{Bench, CHECKS, Run};
use crate::trouble::Trouble;
use kennel::LockStrategy;
use std::fmt;
use std::process::Command;

/// The suite for one strategy.
pub struct Suite<'a> {
    strategy: LockStrategy,
    child: &'a dyn Fn(&str) -> Command,
}

/// What a strategy that passed was checked for.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the strategy.
    pub strategy: String,
    /// The checks in the order in which they ran.
    pub checks: Vec<Check>,
}

/// One check of the contract.
#[derive(Clone, Debug)]
pub struct Check {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Why the check was skipped, if it was.
    pub skipped: Option<&'static str>,
}

/// The check that a strategy did not pass.
#[derive(Debug, thiserror::Error)]
#[error("lock strategy {strategy}: \"{check}\" does not hold: {detail}")]
pub struct Failure {
    /// Name of the strategy.
    pub strategy: String,
    /// What should hold.
    pub check: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Report {
    /// Whether a check of this name ran; skipped ones did not.
    #[must_use]
    pub fn held(&self, name: &str) -> bool {
        self.checks.iter().any(|check| check.name == name && check.skipped.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lock strategy {}:", self.strategy)?;
        self.checks.iter().try_for_each(|check| match check.skipped {
            None => write!(f, "\n  held     {}", check.name),
            Some(why) => write!(f, "\n  skipped  {}: {why}", check.name),
        })
    }
}

impl fmt::Debug for Suite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl<'a> Suite<'a> {
    /// The suite for `strategy`. `child` makes the command of a child process from a task; the program that the command
    /// runs must call [`child`](fn@crate::child) with that task, its standard input and output untouched. It may print
    /// lines of its own.
    #[must_use]
    pub fn new(strategy: LockStrategy, child: &'a dyn Fn(&str) -> Command) -> Self {
        Self { strategy, child }
    }

    /// Runs every check that applies, each on a cache file of its own in the temporary directory.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub fn run(&self) -> Result<Report, Failure> {
        let strategy = self.strategy.name().to_owned();
        let mut report = Report { strategy, checks: Vec::new() };
        for &(name, run) in CHECKS {
            let failed = |detail| Failure { strategy: report.strategy.clone(), check: name, detail };
            let skipped = self.run_at_new_place(run).map_err(failed)?;
            report.checks.push(Check { name, skipped });
        }
        Ok(report)
    }

    /// Runs one check; says why it was skipped, if it was.
    fn run_at_new_place(&self, run: Run) -> Result<Option<&'static str>, String> {
        let directory = tempfile::Builder::new().prefix("kennel-conformance-").tempdir();
        let directory = directory.map_err(|error| format!("no temporary directory: {error}"))?;
        let made = Attached::create(&self.strategy, directory.path());
        made.map_err(|error| format!("the locks cannot be made: {error}"))?;
        match run(&Bench { strategy: &self.strategy, directory: directory.path(), child: self.child }) {
            Ok(()) => Ok(None),
            Err(Trouble::Skip(why)) => Ok(Some(why)),
            Err(Trouble::Fail(detail)) => Err(detail),
        }
    }
}
