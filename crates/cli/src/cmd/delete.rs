//! `kennel delete`: removes keys.

use std::ffi::OsString;

use clap::Args;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{KeyHexArgs, NamespaceArgs, WriteArgs};

/// Remove keys with their values.
///
/// The exit status is 1 when the cache did not hold one of the keys; the others are removed anyway.
///
/// Example: kennel delete my.cache greeting page
#[derive(Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// The keys to remove.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<OsString>,
    #[command(flatten)]
    spelling: KeyHexArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
}

pub fn run(args: DeleteArgs) -> CliResult {
    let keys = args.keys.into_iter().map(|key| args.spelling.bytes(key)).collect::<Result<Vec<_>, _>>()?;
    let Some(cache) = args.namespace.find(args.write.open()?)? else {
        return Ok(hit_or_miss(false));
    };
    let mut all_held = true;
    for key in keys {
        all_held &= cache.delete(key)?;
    }
    Ok(hit_or_miss(all_held))
}
