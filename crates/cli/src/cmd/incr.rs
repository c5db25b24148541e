//! `kennel incr`: counts in a value.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kennel::{Cache, Expiry, SetOptions};

use super::{CliResult, hit_or_miss};
use crate::args::{KeyArgs, WriteArgs};
use crate::output::print_line;
use crate::time::parse_duration;

type Failure = Box<dyn Error + Send + Sync>;

/// Attempts to count or to store, before it is said that others never let this one.
const MOST_ATTEMPTS: u32 = 1000;

/// Add to a value that is a decimal number, and write the new number to standard output.
///
/// No other process sees or makes a change in between. The exit status is 1 when the cache does not
/// hold the key and --initial is not given.
///
/// Example: kennel incr my.cache visits --initial 1 --ttl 1h
#[derive(Args)]
pub struct IncrArgs {
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// How much to add, or with --down to subtract.
    #[arg(long, value_name = "N", default_value_t = 1)]
    by: u64,
    /// Subtract instead of adding. Going below zero is an error, and the number stays.
    #[arg(long)]
    down: bool,
    /// What to store, as it is, when the cache does not hold the key.
    #[arg(long, value_name = "N")]
    initial: Option<u64>,
    /// How long a number lives that --initial stores. What counts later does not change when it expires.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "initial")]
    ttl: Option<Duration>,
}

pub fn run(args: IncrArgs) -> CliResult {
    let step = Step { by: args.by, down: args.down };
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
            Some(step.take_or_start(&cache, &key, initial, &how)?)
        }
        None => step.take(&cache, &key)?,
    };
    let Some(number) = counted else {
        return Ok(hit_or_miss(false));
    };
    print_line(number)?;
    Ok(ExitCode::SUCCESS)
}

struct Step {
    by: u64,
    down: bool,
}

impl Step {
    /// Counts, and says the new number, or `None` for an absent key.
    fn take(&self, cache: &Cache, key: &[u8]) -> kennel::Result<Option<u64>> {
        if self.down { cache.decr(key, self.by) } else { cache.incr(key, self.by) }
    }

    /// Counts, or stores `initial` for an absent key. Another process may
    /// store or delete the key between the two, hence the further attempts: each
    /// that fails is one in which another process got its way.
    fn take_or_start(&self, cache: &Cache, key: &[u8], initial: u64, how: &SetOptions) -> Result<u64, Failure> {
        for _ in 0..MOST_ATTEMPTS {
            if let Some(number) = self.take(cache, key)? {
                return Ok(number);
            }
            if cache.add(key, initial.to_string(), how)? {
                return Ok(initial);
            }
        }
        Err(format!("the key was stored and removed by others {MOST_ATTEMPTS} times meanwhile").into())
    }
}
