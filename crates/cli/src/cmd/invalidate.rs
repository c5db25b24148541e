//! `kennel invalidate`: forgets a namespace.

use std::error::Error;

use clap::Args;
use kennel::{Invalidation, NamespaceOptions};

use super::outcome::{CliResult, hit_or_miss};
use crate::args::WriteArgs;
use crate::output::report_error;

/// Forget everything in a namespace, at once and in every process.
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
    let cache = args.write.open()?;
    // Naming a namespace makes it, and a slip of the finger is to make none.
    let is_there = cache.namespaces().contains(&args.namespace);
    if is_there {
        let how = if args.soft { Invalidation::Soft } else { Invalidation::Hard };
        cache.namespace(&args.namespace, &NamespaceOptions::new())?.invalidate(how)?;
    } else {
        report_missing(&args.namespace, &cache.namespaces());
    }
    Ok(hit_or_miss(is_there))
}

/// A miss that is more likely a slip of the finger than one of a key is.
fn report_missing(asked: &str, namespaces: &[String]) {
    let there_are = if namespaces.is_empty() { "it has none".to_owned() } else { namespaces.join(", ") };
    let error: Box<dyn Error> = format!("no namespace {asked:?}: expected one of the file's: {there_are}").into();
    report_error(&*error);
}
