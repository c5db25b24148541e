//! `kennel verify`: checks a cache file.

use std::io::{self, Write as _};

use clap::Args;
use kennel::Verification;
use kennel_harness::human::plural;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::OptionalFileArgs;
use crate::output::{print_json, stdout, unless_reader_gone, with_spinner};

/// Check every structure in a cache file, and list the problems.
///
/// The exit status is 1 when a problem was found. The file is opened read-only, and other processes may read and write
/// it at the same time.
///
/// Example: kennel verify my.cache
#[derive(Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    file: OptionalFileArgs,
    /// Write a JSON object instead: stripes (their number), records (their number), unchecked (an array of stripe
    /// numbers) and problems (an array, each with its stripe, invariant and detail).
    #[arg(long)]
    json: bool,
}

pub fn run(args: &VerifyArgs) -> CliResult {
    let cache = args.file.open_read_only()?;
    let found = with_spinner("Checking every record", || cache.verify());
    let printed = if args.json { print_json(&serde_json::to_value(&found)?) } else { print_text(&found) };
    unless_reader_gone(printed)?;
    Ok(hit_or_miss(found.is_ok()))
}

fn print_text(found: &Verification) -> io::Result<()> {
    let mut out = stdout();
    for problem in &found.problems {
        writeln!(out, "{problem}")?;
    }
    writeln!(out, "{}", summary(found))?;
    out.flush()
}

/// One line with the number of problems and the extent of the check.
pub fn summary(found: &Verification) -> String {
    let problems = match found.problems.len() as u64 {
        0 => "no problem".to_owned(),
        n => plural(n, "problem"),
    };
    let records = plural(found.records, "record");
    let checked = u64::from(found.stripes) - found.unchecked.len() as u64;
    let rest = match found.unchecked.len() as u64 {
        0 => String::new(),
        n => format!("; {} could not be checked (being written, or unused since a crash)", plural(n, "stripe")),
    };
    format!("{problems} in {} with {records}{rest}", plural(checked, "stripe"))
}
