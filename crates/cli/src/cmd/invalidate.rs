//! `kennel invalidate`: forgets a region.

use std::error::Error;

use clap::Args;
use kennel::{Invalidation, RegionOptions};

use super::outcome::{CliResult, hit_or_miss};
use crate::args::WriteArgs;
use crate::output::report_error;

/// Forget everything in a region, at once and in every process.
///
/// A region is a named part of a cache: "memo" is the one of "kennel memo", others are those of your programs; "kennel
/// stat" lists them. It takes the same short time however much the region holds.
///
/// The exit status is 1 when the file has no region of that name, and standard error says which it has.
///
/// Example: kennel invalidate my.cache pages
#[derive(Args)]
pub struct InvalidateArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// The name of the region.
    region: String,
    /// Only make the values stale: they are returned while one process creates them anew.
    #[arg(long)]
    soft: bool,
}

pub fn run(args: &InvalidateArgs) -> CliResult {
    let cache = args.write.open()?;
    // Naming a region makes it, and a slip of the finger is to make none.
    let is_there = cache.regions().contains(&args.region);
    if is_there {
        let how = if args.soft { Invalidation::Soft } else { Invalidation::Hard };
        cache.region(&args.region, &RegionOptions::new())?.invalidate(how)?;
    } else {
        report_missing(&args.region, &cache.regions());
    }
    Ok(hit_or_miss(is_there))
}

/// A miss that is more likely a slip of the finger than one of a key is.
fn report_missing(asked: &str, regions: &[String]) {
    let there_are = if regions.is_empty() { "it has none".to_owned() } else { regions.join(", ") };
    let error: Box<dyn Error> = format!("no region {asked:?}: expected one of the file's: {there_are}").into();
    report_error(&*error);
}
