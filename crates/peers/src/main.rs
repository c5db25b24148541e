//! Kennel, a lower bound for any cache, and its peers, interleaved in one run: a table of ratios.
//!
//! `cargo xtask speed` builds and runs it. All subjects of a group are measured in turn, round after round, so that a
//! disturbance of the machine affects all of them; each row compares the medians of two.

mod batches;
mod creation;
mod group;
mod groups;
mod keys;
mod near;
mod opening;
mod pages;
mod rows;
mod server;
mod stores;
mod tags;
mod walk;
mod writes;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use kennel_harness::{Machine, Strategies, worker};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::group::Effort;
use crate::rows::Table;

/// Compares Kennel with a lower bound and with its peers, interleaved in one run, and prints a table of ratios.
#[derive(Parser)]
#[command(name = "cargo xtask speed", bin_name = "cargo xtask speed", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    order: Option<Order>,
    /// Fewer rounds, and no servers: within 50 seconds
    #[arg(long)]
    quick: bool,
    /// Also write the rows to a file: [{"name", "kennel_ns", "other", "other_ns", "ratio"}, ...]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run only the groups whose name contains TEXT; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
}

#[derive(Subcommand)]
enum Order {
    /// Run as a worker process
    #[command(hide = true)]
    Worker {
        /// The task
        task: String,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.order {
        Some(Order::Worker { task }) => worker::run_task(task, &Strategies::built_in()).map_err(Into::into),
        None => measure(&cli),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Result<()> {
    let machine = Machine::this();
    println!("{}, {} processors, {}", machine.processor, machine.processors, machine.system);
    let effort = if cli.quick { Effort::QUICK } else { Effort::FULL };
    let mut table = Table::default();
    for (name, group) in groups::ALL {
        let is_wanted = cli.only.is_empty() || cli.only.iter().any(|part| name.contains(part.as_str()));
        if is_wanted {
            group(&effort, &mut table).with_context(|| (*name).to_owned())?;
        }
    }
    println!("\n{table}");
    if let Some(path) = &cli.json {
        std::fs::write(path, table.json()?).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
