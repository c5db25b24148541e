//! `kennel resize`: gives a cache file another size while it is in use.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kennel::{Error, ResizeOptions, Resized, Wait};
use kennel_harness::human::latency;
use kennel_harness::size::{format_size, parse_size};

use super::outcome::CliResult;
use crate::args::WriteArgs;
use crate::output::{print_line, unless_reader_gone, with_spinner};
use crate::time::parse_duration;

/// Give a cache file another size while programs use it.
///
/// A new file gets the items, namespaces, counters and invalidations of the old one, and takes its place; all programs
/// switch to it at their next call. Reads do not miss because of the switch, and writers wait for some milliseconds at
/// the end. If not all items fit, the most used ones are kept. There must be room for both files, until the last
/// program has switched.
///
/// Creations in progress are voided: their callers get their values, which are not stored. The command waits for keys
/// that are locked, for example by "kennel lock". If the command is killed, the file stays as it was.
///
/// Programs that open the file with a capacity of their own must be told the new one before their next start: see
/// docs/operations.md.
///
/// Example: kennel resize my.cache --capacity 1GiB
#[derive(Args)]
pub struct ResizeArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// How many bytes of records the file is to hold.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    capacity: u64,
    /// The expected mean size of key and value; by default it stays as it is.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    mean_item: Option<u64>,
    /// How long to wait for keys that are locked; 0s does not wait.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    wait: Duration,
}

pub fn run(args: &ResizeArgs) -> CliResult {
    let cache = args.write.open()?;
    let mut how = ResizeOptions::new().wait(Wait::For(args.wait));
    if let Some(mean_item) = args.mean_item {
        how = how.mean_item(mean_item);
    }
    let resized: Result<Resized, Error> = with_spinner("Copying", || cache.resize(args.capacity, &how));
    let Resized { capacity_before, capacity, items_before, items, took, closed_for, .. } = resized?;
    let left_out = match items_before.saturating_sub(items) {
        0 => String::new(),
        left_out => format!(", left out {left_out}"),
    };
    unless_reader_gone(print_line(format_args!(
        "Resized from {} to {} in {}: kept {items} items{left_out}. Writers waited for {} at most.",
        format_size(capacity_before),
        format_size(capacity),
        shown(took),
        shown(closed_for),
    )))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(time: Duration) -> String {
    latency(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
