//! Weakens the chosen places one at a time and runs the tests that should notice.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::scan::{self, Place};
use super::table::{self, Row};
use super::tool::Tool;
use super::tree;
use crate::toolchain;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only places whose names contain this, such as "stripe_guard.rs begin"; all if not given
    #[arg(value_name = "PLACE", default_value = "")]
    filter: String,
    /// Run every test that could notice, not only those in the table, and print which fail
    #[arg(long)]
    search: bool,
    /// Use only this tool
    #[arg(long, value_name = "TOOL", value_parser = ["test", "loom", "miri"])]
    tool: Option<String>,
    /// List the places with their tests from the table
    #[arg(long, conflicts_with = "search")]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let places = scan::places(&toolchain::root().join("src"))?;
    let rows = table::rows()?;
    let chosen: Vec<(usize, &Place)> =
        places.iter().enumerate().filter(|(_, place)| place.name().contains(&args.filter)).collect();
    ensure!(!chosen.is_empty(), "expected a fence or ordering whose name contains {:?}, found none", args.filter);
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

/// Runs the tests that the row of each place names. Each must pass on the unchanged library and fail on the mutant.
fn check(tree: &Path, chosen: &[(usize, &Place)], rows: &BTreeMap<String, Row>, tools: &[Tool]) -> Result<ExitCode> {
    let start = Instant::now();
    let (mut caught, mut survivors, mut missed) = (0, 0, Vec::new());
    let mut sound = HashSet::new();
    for (number, place) in chosen {
        let row = rows
            .get(&place.name())
            .with_context(|| format!("expected a row for {} in the table, found none", place.name()))?;
        survivors += u32::from(row.caught_by.is_empty());
        for test in row.caught_by.iter().filter(|test| tools.contains(&Tool::of(test))) {
            let tool = Tool::of(test);
            if sound.insert(test) {
                ensure!(
                    tool.failing(tree, None, test)?.is_empty(),
                    "expected {test} to pass without a mutant, found a failure"
                );
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

/// Prints for each place every test that fails on its mutant.
fn search(tree: &Path, chosen: &[(usize, &Place)], tools: &[Tool]) -> Result<ExitCode> {
    for &tool in tools {
        let failing = tool.failing(tree, None, tool.every_test())?;
        ensure!(
            failing.is_empty(),
            "expected all tests to pass without a mutant, found failures: {}",
            failing.join(", ")
        );
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
