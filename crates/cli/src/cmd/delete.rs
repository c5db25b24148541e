//! `kennel delete`: removes keys.

use std::ffi::OsString;

use clap::Args;
use kennel::Cache;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{KeyHexArgs, NamespaceArgs, WriteArgs};

/// Remove keys with their values.
///
/// The exit status is 1 when the cache did not hold all of the keys; those that it held are removed anyway. With
/// --prefix it is 1 when no key begins with the prefix. A key that is stored while the keys are listed may stay.
///
/// Example: kennel delete my.cache greeting page
#[derive(Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// The keys to remove.
    #[arg(required_unless_present = "prefix", value_name = "KEY")]
    keys: Vec<OsString>,
    /// Remove all keys that begin with this instead. Without --namespace these are the stored keys of the whole file. The
    /// whole file is searched; "kennel invalidate" is much faster for a namespace.
    #[arg(long, value_name = "PREFIX", conflicts_with = "keys")]
    prefix: Option<OsString>,
    #[command(flatten)]
    spelling: KeyHexArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
}

pub fn run(args: DeleteArgs) -> CliResult {
    let keys = args.keys.into_iter().map(|key| args.spelling.bytes(key)).collect::<Result<Vec<_>, _>>()?;
    let prefix = args.prefix.map(|prefix| args.spelling.bytes(prefix)).transpose()?;
    let Some(cache) = args.namespace.find(args.write.open()?)? else {
        return Ok(hit_or_miss(false));
    };
    if let Some(prefix) = prefix {
        return Ok(hit_or_miss(delete_all_with(&cache, &prefix)?));
    }
    let mut all_held = true;
    for key in keys {
        all_held &= cache.delete(key)?;
    }
    Ok(hit_or_miss(all_held))
}

/// How many keys are removed together.
const BATCH: usize = 1024;

/// Removes all keys that begin with a prefix, and returns whether there were any.
fn delete_all_with(cache: &Cache, prefix: &[u8]) -> kennel::Result<bool> {
    let (mut keys, mut any) = (cache.keys_with(prefix), false);
    loop {
        let batch: Vec<_> = keys.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(any);
        }
        for deleted in cache.delete_multi(&batch) {
            any |= deleted?;
        }
    }
}
