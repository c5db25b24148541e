//! `kennel invalidate`: forgets a namespace, or what bears a tag.

use clap::Args;
use kennel::Invalidation;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{WriteArgs, find_namespace};

/// Forget everything in a namespace, or everything that bears a tag, immediately and in every process.
///
/// A namespace is a named part of a cache: "memo" is that of "kennel memo", and your programs may have others. "kennel
/// stat" lists them. Values bear the tags with which they were stored, for example by "kennel set --tag", in any
/// namespace. An invalidation takes the same short time for any number of values.
///
/// The exit status is 1 when the file has no namespace of that name, and standard error lists those that it has. An
/// unknown tag is no error, because a file does not know which tags there are.
///
/// Examples: kennel invalidate my.cache pages; kennel invalidate my.cache --tag product:7
#[derive(Args)]
pub struct InvalidateArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// The name of the namespace.
    #[arg(required_unless_present = "tags", conflicts_with = "tags")]
    namespace: Option<String>,
    /// Forget the values that bear this tag. May be given several times.
    #[arg(long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Only make the values stale: they are returned while one process creates them anew.
    #[arg(long)]
    soft: bool,
}

pub fn run(args: &InvalidateArgs) -> CliResult {
    let how = if args.soft { Invalidation::Soft } else { Invalidation::Hard };
    let cache = args.write.open()?;
    let Some(name) = &args.namespace else {
        cache.invalidate_tags(&args.tags, how)?;
        return Ok(hit_or_miss(true));
    };
    let namespace = find_namespace(&cache, name)?;
    if let Some(namespace) = &namespace {
        namespace.invalidate(how)?;
    }
    Ok(hit_or_miss(namespace.is_some()))
}
