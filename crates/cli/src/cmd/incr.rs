//! `kennel incr`: adds to a number.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kennel::{Cache, Expiry, SetOptions};

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{KeyArgs, WriteArgs};
use crate::output::print_line;
use crate::time::parse_duration;

/// Add to a value that is a decimal number, and write the new number to standard output.
///
/// The change is atomic for all processes. The exit status is 1 when the cache does not hold the key and --initial is
/// not given.
///
/// Example: kennel incr my.cache visits --initial 1 --ttl 1h
#[derive(Args)]
pub struct IncrArgs {
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The number to add, or to subtract with --down.
    #[arg(long, value_name = "N", default_value_t = 1)]
    by: u64,
    /// Subtract instead of adding. A result below zero is an error and leaves the number unchanged.
    #[arg(long)]
    down: bool,
    /// The number to store, without adding, when the cache does not hold the key.
    #[arg(long, value_name = "N")]
    initial: Option<u64>,
    /// The time after which a number stored by --initial expires. Later counting does not change it.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "initial")]
    ttl: Option<Duration>,
}

pub fn run(args: IncrArgs) -> CliResult {
    let key = args.key.bytes()?;
    let cache = args.write.open()?;
    let cache = match args.initial {
        Some(_) => Some(args.key.namespace.find_or_add(cache)?),
        None => args.key.namespace.find(cache)?,
    };
    let Some(cache) = cache else {
        return Ok(hit_or_miss(false));
    };
    let counted = match args.initial {
        Some(initial) => {
            let how = args.ttl.map_or(SetOptions::new(), |ttl| SetOptions::new().expiry(Expiry::After(ttl)));
            let count = if args.down { Cache::decr_or } else { Cache::incr_or };
            Some(count(&cache, &key, args.by, initial, &how)?)
        }
        None if args.down => cache.decr(&key, args.by)?,
        None => cache.incr(&key, args.by)?,
    };
    let Some(number) = counted else {
        return Ok(hit_or_miss(false));
    };
    print_line(number)?;
    Ok(ExitCode::SUCCESS)
}
