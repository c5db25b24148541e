//! `kennel touch`: changes the expiry of a value.

use std::time::Duration;

use clap::Args;
use kennel::Expiry;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{KeyArgs, WriteArgs};
use crate::time::parse_duration;

/// Change the expiry of a value, and leave the value as it is.
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
    /// The time from now on after which the value expires, with a unit: 250ms, 90s, 5m, 2h or 1d.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Remove the expiry, so that the value stays until it is evicted.
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
