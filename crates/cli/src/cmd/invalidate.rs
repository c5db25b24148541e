//! `kennel invalidate`: forgets a namespace.

use clap::Args;
use kennel::Invalidation;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{WriteArgs, find_namespace};

/// Forget everything in a namespace, immediately and in every process.
///
/// A namespace is a named part of a cache: "memo" is the one of "kennel memo", others are those of your programs; "kennel stat"
/// lists them. It takes the same short time however much the namespace holds.
///
/// The exit status is 1 when the file has no namespace of that name, and standard error says which it has.
///
/// Example: kennel invalidate my.cache pages
#[derive(Args)]
pub struct InvalidateArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// The name of the namespace.
    namespace: String,
    /// Only make the values stale: they are returned while one process creates them anew.
    #[arg(long)]
    soft: bool,
}

pub fn run(args: &InvalidateArgs) -> CliResult {
    let namespace = find_namespace(&args.write.open()?, &args.namespace)?;
    if let Some(namespace) = &namespace {
        namespace.invalidate(if args.soft { Invalidation::Soft } else { Invalidation::Hard })?;
    }
    Ok(hit_or_miss(namespace.is_some()))
}
