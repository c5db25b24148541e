//! A program for one lock strategy of your own: `conformance`, `kill` and `bench`.

use crate::command::BenchOptions;
use crate::kill::KillTest;
use crate::strategies::Strategies;
use crate::task::Task;
use crate::worker::run_task;
use clap::{Parser, Subcommand};
use kennel::LockStrategy;
use kennel_conformance::Suite;
use std::error::Error;
use std::process::{Command, ExitCode};

/// Test and measure a lock strategy
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Order,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a run has only one of these")]
enum Order {
    /// Check that the strategy keeps the contract of locks
    Conformance,
    /// Kill processes in the middle of their work, and check that the others work on undamaged
    Kill {
        /// Number of processes to kill
        #[arg(long, default_value_t = 100)]
        kills: u64,
        /// Seed of everything random
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure the strategy beside those of the library
    Bench(BenchOptions),
    /// Run as a worker process
    #[command(hide = true)]
    Worker {
        /// The task
        task: String,
    },
}

/// The `main` of a program that tests and measures a strategy. Its workers are processes of the same program.
///
/// ```no_run
/// use kennel::LockStrategy;
///
/// fn main() -> std::process::ExitCode {
///     // In place of `File`: `LockStrategy::Custom(Arc::new(YourFactory))`.
///     kennel_harness::program::run(LockStrategy::File)
/// }
/// ```
#[must_use]
pub fn run(strategy: LockStrategy) -> ExitCode {
    match perform(Cli::parse().command, &strategy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn perform(task: Order, strategy: &LockStrategy) -> Result<(), Box<dyn Error + Send + Sync>> {
    let strategies = Strategies::built_in().with(strategy.clone());
    let this = std::env::current_exe()?;
    let launcher = |task: &str| {
        let mut command = Command::new(&this);
        command.args(["worker", task]);
        command
    };
    match task {
        Order::Conformance => {
            let child = |task: &str| {
                let task = Task::Suite { strategy: strategy.name().to_owned(), task: task.to_owned() };
                launcher(&task.text())
            };
            println!("{}", Suite::new(strategy.clone(), &child).run()?);
        }
        Order::Kill { kills, seed } => {
            let test = KillTest { kills, seed, ..KillTest::default() };
            println!("{}", test.run(&strategies, strategy.name(), &launcher)?);
        }
        Order::Bench(args) => args.run(&strategies, &launcher, None, &mut std::io::stdout().lock())?,
        Order::Worker { task } => run_task(&task, &strategies)?,
    }
    Ok(())
}
