//! The harness that measures Kennel: many processes and threads work on one cache file, for each combination of lock
//! strategy, lock regions, processes, share of writes, value size and key distribution.
//!
//! `kennel bench` is a thin command on top of it. It is a library so that you can test and measure a lock strategy of
//! your own beside those of Kennel, with a program of a few lines and no change to Kennel. The workers are processes of
//! that same program. [`program::run`] is such a program's `main`; the two examples of this crate use it:
//!
//! ```sh
//! cargo run --release -p kennel-harness --example pthread_mutex -- conformance
//! cargo run --release -p kennel-harness --example pthread_mutex -- kill
//! cargo run --release -p kennel-harness --example pthread_mutex -- bench --report mutex.html
//! ```
//!
//! # Its modules
//!
//! * What to measure: [`Cell`], [`Matrix`], [`Plan`], [`Keys`].
//! * The processes that do the work, and the rounds over the cells: [`worker`], [`Bench`].
//! * The results: [`Results`], [`Latency`], [`Spread`], [`Fairness`]; [`report`] formats them as text and as a page.
//! * Further tests of a lock: [`kill`], and [`kennel_conformance`].
//! * A bound for comparison, the least work that any cache in a mapped file must do: [`Limit`].
//!
//! # From a program
//!
//! ```no_run
//! use kennel_harness::{Bench, Keys, Matrix, Plan, Strategies, worker};
//! use std::process::Command;
//!
//! let strategies = Strategies::built_in();
//! // The workers are this program, started again with the task as its second argument.
//! if let (Some("worker"), Some(task)) = (std::env::args().nth(1).as_deref(), std::env::args().nth(2)) {
//!     return Ok(worker::run_task(&task, &strategies)?);
//! }
//! let launcher = |task: &str| {
//!     let mut command = Command::new(std::env::current_exe().expect("this program"));
//!     command.args(["worker", task]);
//!     command
//! };
//! let matrix = Matrix {
//!     strategies: vec!["file".into(), "rw-file".into()],
//!     regions: vec![16],
//!     processes: vec![1, 2],
//!     threads: vec![1],
//!     write_percents: vec![5.0],
//!     value_sizes: vec![64],
//!     keys: vec![Keys::Zipf { theta: 0.99 }],
//!     batches: vec![1],
//!     data_sizes: vec![],
//!     large_pages: vec![kennel::LargePages::Auto],
//! };
//! let (cells, left_out) = matrix.cells(&strategies)?;
//! let results = Bench::new(Plan::default(), &strategies, &launcher).run(cells, left_out, |_| true)?;
//! for measured in &results.cells {
//!     println!("{}: {:.0} operations a second", measured.cell, measured.throughput.median);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How the numbers are kept honest
//!
//! * Several rounds, each over all cells, show how far the numbers spread.
//! * With a rate, a latency counts from the time when the operation was due, not from the time when the loop reached it
//!   ([`pace`]). Without a rate, one operation in [`worker::TIMED_EVERY`] is timed. The results state what reading the
//!   clock costs.
//! * Keys and operations are drawn before the start, so no number includes the drawing.
//! * Every value that is read is checked against its key. A wrong value ends the run.

mod bound;
mod calls;
mod command;
mod crew;
pub mod human;
pub mod interrupt;
mod keys;
pub mod kill;
mod latency;
mod limit;
mod load;
mod machine;
pub mod pace;
mod place;
mod plan;
pub mod program;
pub mod report;
mod run;
pub mod size;
mod stats;
mod strategies;
mod task;
mod usage;
mod work;
pub mod worker;

pub use calls::Calls;
pub use command::{BenchError, BenchOptions, Recording};
pub use crew::CrewError;
pub use keys::{KEY_LEN, Keys, MOST_KEYS, fill, is_right, key, write_recording};
pub use latency::{Buckets, Latency, Percentiles, QUANTILES};
pub use limit::Limit;
pub use machine::Machine;
pub use place::directory;
pub use plan::{Cell, LeftOut, MOST_PROCESSES, MOST_THREADS, Matrix, Plan, PlanError};
pub use run::{Bench, CpuTime, Measured, Progress, Results, RunError, Switches, fill_cache};
pub use stats::{Fairness, Spread};
pub use strategies::Strategies;
pub use task::Counts;
pub use usage::{Usage, pin};
