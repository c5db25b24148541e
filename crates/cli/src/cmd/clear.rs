//! `kennel clear`: removes everything.

use clap::Args;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{WriteArgs, find_namespace};

/// Remove every key of a cache, or of one namespace, and keep the file.
///
/// Processes that have the file open can continue to use it, and find it empty. The exit status is 1 when the file does
/// not have the namespace.
///
/// Example: kennel clear my.cache
#[derive(Args)]
pub struct ClearArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// Remove only the keys of this namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

pub fn run(args: &ClearArgs) -> CliResult {
    let cache = args.write.open()?;
    let cleared = match &args.namespace {
        Some(name) => find_namespace(&cache, name)?,
        None => Some(cache),
    };
    if let Some(cache) = &cleared {
        cache.clear()?;
    }
    Ok(hit_or_miss(cleared.is_some()))
}
