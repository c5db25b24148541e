//! The harness that measures Kennel: many processes and threads on one cache file, by a matrix of lock strategies,
//! lock regions, processes, shares of writes, value sizes and key distributions.
//!
//! `kennel bench` is a thin command on it. It is a library so that a lock strategy of your own can be measured and
//! tested beside those of Kennel, without touching Kennel: a program of a few lines, whose workers are processes of
//! that same program. [`program::run`] is such a program's `main`; the two examples of this crate use it:
//!
//! ```sh
//! cargo run --release -p kennel-harness --example pthread_mutex -- conformance
//! cargo run --release -p kennel-harness --example pthread_mutex -- kill
//! cargo run --release -p kennel-harness --example pthread_mutex -- bench --report mutex.html
//! ```
//!
//! # Its rooms
//!
//! * What is measured: [`Cell`], [`Matrix`], [`Plan`], [`Keys`].
//! * Who does it: [`worker`] (the processes), [`Bench`] (rounds over the cells).
//! * What comes of it: [`Results`], [`Latency`], [`Spread`], [`Fairness`]; [`report`] makes text and a page of it.
//! * What else is asked of a lock: [`kill`], and [`kennel_conformance`].
//! * [`Limit`]: the least that any cache in a mapped file must do.
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
//! };
//! let (cells, left_out) = matrix.cells(&strategies)?;
//! let results = Bench::new(Plan::default(), &strategies, &launcher).run(cells, left_out, |_| true)?;
//! for measured in &results.cells {
//!     println!("{}: {:.0} operations a second", measured.cell, measured.throughput.median);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is done against fooling oneself
//!
//! * Cells are measured in several rounds that interleave them, and the spread over the rounds is shown.
//! * With a rate, latencies count from when an operation was due, not from when the loop got around to it
//!   ([`pace`]). Without one, one operation in [`worker::TIMED_EVERY`] is timed; what the clock costs is told.
//! * What is asked for is drawn beforehand; drawing is no part of any number.
//! * Every value that is read is checked for its key. A wrong one ends the run.

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
