//! The command line, and the order of the rows.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use kennel_harness::Machine;
use kennel_harness::interrupt;

use crate::report::{Row, print, to_json};
use crate::rows::{Setting, all};
use crate::server::Server;
use crate::worker;

/// Measure the far tier.
#[derive(Parser)]
struct Args {
    /// The server's program.
    #[arg(long, value_name = "PATH")]
    server: PathBuf,
    /// Also write the rows to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also show rows that another program has measured: a file as `--json` writes it.
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// Run only the groups whose name contains this; may be given several times.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Rounds of each group; the figures are medians of them.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// One short round of each group, to see that it works: the figures mean little.
    #[arg(long)]
    quick: bool,
}

pub fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return end(worker::run());
    }
    end(interrupt::watch().context("cannot watch signals").and_then(|()| measure(&Args::parse())))
}

fn end(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let server = Server::start(&args.server, folder.path())?;
    let rounds = if args.quick { 1 } else { args.rounds };
    let setting = Setting { server: &server, folder: folder.path(), rounds, is_quick: args.quick };
    let groups: Vec<_> = all()
        .into_iter()
        .filter(|(name, _)| args.only.is_empty() || args.only.iter().any(|only| name.contains(only.as_str())))
        .collect();
    if groups.is_empty() {
        bail!("expected a group whose name contains {:?}, found none of {}", args.only, names());
    }
    let machine = Machine::this();
    println!("{}, {} processors, {}; {}", machine.processor, machine.processors, machine.system, server.version()?);
    let begin = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    for (name, group) in groups {
        let of_group = Instant::now();
        rows.extend(group(&setting).with_context(|| format!("group {name}"))?);
        println!("{name}: {:.0} s", of_group.elapsed().as_secs_f64());
        if interrupt::is_asked() {
            bail!("interrupted before the end");
        }
    }
    if let Some(path) = &args.rows {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        rows.extend(serde_json::from_str::<Vec<Row>>(&text).context("these are no rows")?);
    }
    print(&rows);
    println!("\n{} rows of {rounds} rounds in {:.0} s", rows.len(), begin.elapsed().as_secs_f64());
    if let Some(path) = &args.json {
        std::fs::write(path, to_json(&rows)? + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn names() -> String {
    all().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
