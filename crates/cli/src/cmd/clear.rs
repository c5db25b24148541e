//! `kennel clear`: removes everything.

use clap::Args;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{WriteArgs, find_namespace};

/// Remove every key of a cache, or of one namespace, and keep the file.
///
/// Processes that have the file open can continue to use it, and find it empty. The exit status is 1 when the file does
/// not have the namespace.
///
/// Examples: kennel clear my.cache; kennel clear my.cache --namespace pages --remove
#[derive(Args)]
pub struct ClearArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// Remove only the keys of this namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Also remove the namespace, to make room for another name. A program that still uses it adds it again when it writes.
    #[arg(long, requires = "namespace")]
    remove: bool,
}

pub fn run(args: &ClearArgs) -> CliResult {
    let cache = args.write.open()?;
    let cleared = match &args.namespace {
        Some(name) => find_namespace(&cache, name)?,
        None => Some(cache),
    };
    match (&cleared, &args.namespace) {
        (Some(cache), Some(name)) if args.remove => drop(cache.remove_namespace(name)?),
        (Some(cache), _) => cache.clear()?,
        (None, _) => {}
    }
    Ok(hit_or_miss(cleared.is_some()))
}
