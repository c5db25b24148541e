//! `cargo xtask mutants`: takes out each fence and weakens each ordering of the library, one at a time, and sees
//! that a test fails.
//!
//! `docs/orderings.md` says for each place which tests those are. A new fence or ordering needs a row there; to fill
//! it in, `cargo xtask mutants --search PLACE` runs every test that could notice and names those that fail.

mod scan;
mod table;
mod tool;
mod tree;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::toolchain;
use scan::Place;
use table::Row;
use tool::Tool;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only places whose name contains this, such as "exclusive.rs begin"; all without it
    #[arg(value_name = "PLACE", default_value = "")]
    filter: String,
    /// Run everything that could notice, whatever the table says, and name what fails
    #[arg(long)]
    search: bool,
    /// Only with this tool
    #[arg(long, value_name = "TOOL", value_parser = ["test", "loom", "miri"])]
    tool: Option<String>,
    /// List the places and what the table says of them
    #[arg(long, conflicts_with = "search")]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let places = scan::places(&toolchain::root().join("src"))?;
    let rows = table::rows()?;
    let chosen: Vec<(usize, &Place)> =
        places.iter().enumerate().filter(|(_, place)| place.name().contains(&args.filter)).collect();
    ensure!(!chosen.is_empty(), "no fence or ordering has {:?} in its name", args.filter);
    if args.list {
        chosen.iter().for_each(|(_, place)| println!("{}: {}: {}", place.name(), place.what(), said(&rows, place)));
        return Ok(ExitCode::SUCCESS);
    }
    let tree = tree::make(&places)?;
    let tools = Tool::ALL.into_iter().filter(|tool| args.tool.as_ref().is_none_or(|name| name == tool.name()));
    let tools: Vec<Tool> = tools.collect();
    if tools.contains(&Tool::Miri) {
        toolchain::ensure_nightly(&["miri", "rust-src"])?;
    }
    if args.search { search(&tree, &chosen, &tools) } else { check(&tree, &chosen, &rows, &tools) }
}

fn said(rows: &BTreeMap<String, Row>, place: &Place) -> String {
    match rows.get(&place.name()) {
        None => "not in the table".to_owned(),
        Some(row) if row.caught_by.is_empty() => "survives".to_owned(),
        Some(row) => row.caught_by.join(", "),
    }
}

/// Runs for each place the tests that its row names; each must pass on the library as it is, and fail without.
fn check(tree: &Path, chosen: &[(usize, &Place)], rows: &BTreeMap<String, Row>, tools: &[Tool]) -> Result<ExitCode> {
    let start = Instant::now();
    let (mut caught, mut survivors, mut missed) = (0, 0, Vec::new());
    let mut sound = HashSet::new();
    for (number, place) in chosen {
        let row = rows.get(&place.name()).with_context(|| format!("the table has no row for {}", place.name()))?;
        survivors += u32::from(row.caught_by.is_empty());
        for test in row.caught_by.iter().filter(|test| tools.contains(&Tool::of(test))) {
            let tool = Tool::of(test);
            if sound.insert(test) {
                ensure!(tool.failing(tree, None, test)?.is_empty(), "{test} fails without a mutant");
            }
            let is_caught = !tool.failing(tree, Some(*number), test)?.is_empty();
            println!("{}: {} by {test}", place.name(), if is_caught { "caught" } else { "NOT caught" });
            if is_caught {
                caught += 1;
            } else {
                missed.push(format!("{} by {test}", place.name()));
            }
        }
    }
    missed.iter().for_each(|missed| println!("not caught: {missed}"));
    println!(
        "{} places, {caught} catches, {survivors} survivors with their reason, {} missed, in {} s",
        chosen.len(),
        missed.len(),
        start.elapsed().as_secs()
    );
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Names for each place every test that fails without it.
fn search(tree: &Path, chosen: &[(usize, &Place)], tools: &[Tool]) -> Result<ExitCode> {
    for &tool in tools {
        let failing = tool.failing(tree, None, tool.every_test())?;
        ensure!(failing.is_empty(), "fails without a mutant: {}", failing.join(", "));
    }
    for (number, place) in chosen {
        for &tool in tools {
            let failing = tool.failing(tree, Some(*number), tool.every_test())?;
            let found = if failing.is_empty() { "nothing".to_owned() } else { failing.join(", ") };
            println!("{}: {}: {}: {found}", place.name(), place.what(), tool.name());
        }
    }
    Ok(ExitCode::SUCCESS)
}
