//! `kennel copy`: stores the items of one cache file in another.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use kennel::{Cache, Error, LockStrategy, Options};
use kennel_harness::size::parse_size;
use kennel_stream::{Filling, Namespace};

use super::filling::{FillArgs, InWords, refused};
use super::outcome::{AnyError, CliResult};
use crate::args::{LockWaitArgs, TrustArgs, open_to_read};
use crate::output::{print_line, unless_reader_gone, with_spinner};

/// Store the items of one cache file in another, which may have another size and other options.
///
/// The most used items come first, so they are the ones that a smaller file gets. Items keep their flags, expiries and
/// times of creation. If the second file does not exist, it is created with the sizes and the lock strategy of the
/// first; for other options, create it before with "kennel create".
///
/// The copy is not a snapshot: other processes may use both files meanwhile, and each item was current at some moment of
/// the copy. The first file is not changed.
///
/// Example: kennel copy my.cache larger.cache --capacity 1GiB
#[derive(Args)]
pub struct CopyArgs {
    /// The cache file to read.
    #[arg(value_name = "FROM", value_hint = ValueHint::FilePath)]
    from: PathBuf,
    /// The cache file to fill.
    #[arg(value_name = "TO", value_hint = ValueHint::FilePath)]
    to: PathBuf,
    /// How many bytes of records the new file holds; by default as many as the first one. A file that exists must have
    /// this capacity.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    capacity: Option<u64>,
    #[command(flatten)]
    fill: FillArgs,
    #[command(flatten)]
    wait: LockWaitArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

pub fn run(args: &CopyArgs) -> CliResult {
    let from = open_to_read(&args.trust.options(), &args.from)?;
    let to = open_or_create(args, &from)?;
    if from.path() == to.path() {
        return Err(format!("{} and {} are one file", args.from.display(), args.to.display()).into());
    }
    let mut filling = Filling::new(&to, args.fill.how());
    let copied = with_spinner("Copying", || copy(&from, &mut filling));
    // This is printed also after an error, since the items so far are in the file.
    let printed = print_line(format_args!("Copied {}.", InWords(&filling.tally)));
    copied?;
    unless_reader_gone(printed)?;
    Ok(ExitCode::SUCCESS)
}

fn open_or_create(args: &CopyArgs, from: &Cache) -> Result<Cache, AnyError> {
    let mut options = args.trust.options();
    if let Some(capacity) = args.capacity {
        options = options.capacity(capacity);
    }
    match args.wait.open(options.clone(), &args.to) {
        Err(Error::NotFound(_)) => match args.wait.create(like(from, options, args.capacity)?, &args.to) {
            // Another process was faster.
            Err(Error::Exists(_)) => Ok(args.wait.open(args.trust.options(), &args.to)?),
            created => Ok(created?),
        },
        opened => Ok(opened?),
    }
}

/// Options for a file like another one.
fn like(from: &Cache, options: Options, capacity: Option<u64>) -> Result<Options, AnyError> {
    let stats = from.stats();
    let locks: LockStrategy = stats.strategy.parse().map_err(|_| {
        format!("{} has the lock strategy {:?} of a program; create the second file first", path(from), stats.strategy)
    })?;
    let namespaces = u32::try_from(from.namespaces().len()).unwrap_or(u32::MAX).max(64);
    let options = options.mean_item(stats.mean_item).locks(locks).seats(stats.seats).namespaces(namespaces);
    // With as many stripes, the largest items fit.
    let options = options.stripes(stats.stripes).lock_regions(stats.lock_regions);
    Ok(options.capacity(capacity.unwrap_or(stats.capacity)))
}

fn path(cache: &Cache) -> std::path::Display<'_> {
    Path::display(cache.path())
}

fn copy(from: &Cache, filling: &mut Filling<'_>) -> kennel::Result<()> {
    for name in from.namespaces() {
        let namespace = Namespace::new(&name, from.namespace_defaults(&name));
        if let Some(error) = filling.namespace(&namespace)? {
            refused(&namespace, &error);
        }
    }
    filling.store(from.hottest_first()).map(drop)
}
