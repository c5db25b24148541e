//! A suite of checks for the [contract of locks](kennel::locks), for the built-in lock strategies of Kennel and for a
//! strategy of your own.
//!
//! Each check makes a cache file with the strategy and holds its lock regions
//! ([`Cache::while_locked`](kennel::Cache::while_locked)) in several threads and processes, so the strategy is checked
//! as the cache uses it.
//!
//! Only separate processes can show that a strategy excludes processes, and what happens to the lock of a process that
//! is killed or stopped. So the suite starts child processes with a command that you provide; the program of that
//! command must call [`child`]. A test can run its own test program, restricted to one test:
//!
//! ```
//! use kennel::LockStrategy;
//! use kennel_conformance::{Suite, child};
//! use std::process::Command;
//!
//! const TASK: &str = "LOCK_SUITE_TASK";
//!
//! // #[test]
//! fn child_of_the_suite() {
//!     // In an ordinary run of all tests, this test does nothing.
//!     if let Ok(task) = std::env::var(TASK) {
//!         child(&LockStrategy::File, &task);
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
//! A strategy passes if [`Suite::run`] returns a [`Report`], which lists the checks that ran and those that do not
//! apply. The suite does not measure how fast a lock is, and no check depends on small differences in time.
//!
//! `tests/custom_lock.rs` of this crate is a complete custom strategy. The same file has wrong strategies, each
//! with one flaw, and names the check that finds the flaw.

mod attached;
mod checks;
mod child;
mod limits;
mod process;
mod suite;
mod trouble;
mod worker;

pub use child::child;
pub use suite::{Check, Failure, Report, Suite};
