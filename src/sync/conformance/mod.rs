//! One suite for the [contract of locks](crate::locks): for the built-in strategies and for one of your own.
//!
//! Exclusion among processes, and what becomes of the lock of one that is killed or stopped, can only be seen
//! with processes. So the suite starts some, through a command that you give it and that must end up in
//! [`child`]. In a test that is the test program itself, told to run one test only:
//!
//! ```
//! use kennel::LockStrategy;
//! use kennel::conformance::{Suite, child};
//! use std::process::Command;
//!
//! const TASK: &str = "LOCK_SUITE_TASK";
//!
//! // #[test]
//! fn child_of_the_suite() {
//!     // Run by the harness like any other test it does nothing.
//!     if let Ok(task) = std::env::var(TASK) {
//!         child(&LockStrategy::File, &task, None);
//!     }
//! }
//!
//! // #[test]
//! fn file_locks_keep_the_contract() {
//!     let again = |task: &str| {
//!         let mut command = Command::new(std::env::current_exe().unwrap());
//!         command.args(["child_of_the_suite", "--exact", "--nocapture"]).env(TASK, task);
//!         command
//!     };
//!     let report = Suite::new(LockStrategy::File, &again).run().unwrap_or_else(|failure| panic!("{failure}"));
//!     println!("{report}");
//! }
//! ```
//!
//! A strategy passes if [`Suite::run`] returns a [`Report`]; that one lists what was held and what does not
//! apply. Nothing here measures how fast a lock is, and no check passes or fails by being a little slow.

mod attached;
mod checks;
mod child;
mod worker;

pub use child::child;

use super::locks::{LockError, LockPlace, LockStrategy};
use checks::{Bench, CHECKS, Run};
use std::fmt;
use std::io;
use std::process::Command;
use std::time::Duration;

/// Forks the process: `true` in the child, `false` in the parent. The suite cannot, since that needs `unsafe`.
pub type Fork = fn() -> io::Result<bool>;

/// Lock regions of the place that the suite makes.
const REGIONS: u32 = 4;
/// A limit that is waited for in full.
const SHORT: Duration = Duration::from_millis(150);
/// A limit within which a lock must be given; only a failure takes that long.
const LONG: Duration = Duration::from_secs(30);
/// The same for the lock of a dead owner: the engine promises milliseconds, a busy machine may take more.
const AFTER_DEATH: Duration = Duration::from_secs(8);
/// What a wait may take beyond its limit on a machine that is busy with other things.
const SLACK: Duration = Duration::from_secs(10);
/// Threads, and processes, that add to one counter, and how often each of them does.
const WORKERS: u64 = 4;
const THREAD_ROUNDS: u64 = 400;
const PROCESS_ROUNDS: u64 = 150;
/// What a child's lines begin with, among those of a test harness.
const MARK: &str = "kennel-conformance: ";
/// What a child says that was given no way to fork.
const NO_FORK: &str = "no fork";

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
    /// Why it was left out, if it was.
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
    /// The suite for `strategy`. The command that `child` makes for a task must come to [`child`](fn@child) with
    /// that task, its standard input and output untouched; text of others around the child's is no matter.
    #[must_use]
    pub fn new(strategy: LockStrategy, child: &'a dyn Fn(&str) -> Command) -> Self {
        Self { strategy, child }
    }

    /// Runs every check that applies, each at a place of its own in the temporary directory.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub fn run(&self) -> Result<Report, Failure> {
        let strategy = self.strategy.name().to_owned();
        let mut report = Report { strategy, checks: Vec::new() };
        for &(name, run) in CHECKS {
            let failed = |detail| Failure { strategy: report.strategy.clone(), check: name, detail };
            let skipped = self.at_new_place(run).map_err(failed)?;
            report.checks.push(Check { name, skipped });
        }
        Ok(report)
    }

    fn at_new_place(&self, run: Run) -> Result<Option<&'static str>, String> {
        let directory = tempfile::Builder::new().prefix("kennel-conformance-").tempdir();
        let directory = directory.map_err(|error| format!("no temporary directory: {error}"))?;
        let place = LockPlace::new(&directory.path().join("locks"), REGIONS);
        attached::make(&self.strategy, &place).map_err(|error| format!("the locks cannot be made: {error}"))?;
        match run(&Bench { strategy: &self.strategy, place, child: self.child }) {
            Ok(()) => Ok(None),
            Err(Trouble::Skip(why)) => Ok(Some(why)),
            Err(Trouble::Fail(detail)) => Err(detail),
        }
    }
}

/// Why a check did not hold, or does not apply.
enum Trouble {
    Skip(&'static str),
    Fail(String),
}

fn fail(detail: impl Into<String>) -> Trouble {
    Trouble::Fail(detail.into())
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Fail(error.to_string())
    }
}

impl From<LockError> for Trouble {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy => fail("the lock was not given"),
            LockError::Failed(error) => fail(format!("the lock failed: {error}")),
        }
    }
}
