//! `kennel touch`: changes when a value expires.

use std::time::Duration;

use clap::Args;
use kennel::Expiry;

use super::{CliResult, hit_or_miss};
use crate::args::{KeyArgs, WriteArgs};
use crate::time::parse_duration;

/// Change when a value expires, and leave the value as it is.
///
/// The exit status is 1 when the cache does not hold the key.
///
/// Example: kennel touch my.cache greeting --ttl 2h
#[derive(Args)]
pub struct TouchArgs {
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    when: When,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct When {
    /// How long the value lives from now on, with its unit: 250ms, 90s, 5m, 2h or 1d.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Let the value live until it is evicted.
    #[arg(long)]
    no_expiry: bool,
}

pub fn run(args: TouchArgs) -> CliResult {
    let expiry = args.when.ttl.map_or(Expiry::Never, Expiry::After);
    let key = args.key.bytes()?;
    let Some(cache) = args.key.namespace.find(args.write.open()?)? else {
        return Ok(hit_or_miss(false));
    };
    Ok(hit_or_miss(cache.touch(key, expiry)?))
}
