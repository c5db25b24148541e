//! `kennel set`: stores one value.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use kennel::{Cache, Expiry, SetOptions};

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{KeyArgs, WriteArgs};
use crate::input::read_value;
use crate::time::parse_duration;

/// Store a value under a key.
///
/// The exit status is 1, and nothing is stored, when --add finds the key or --replace does not find it.
///
/// Examples: kennel set my.cache greeting hello --ttl 5m; gzip -c page.html | kennel set my.cache page
#[derive(Args)]
pub struct SetArgs {
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The value. Without it, or with "-", the value is standard input up to its end.
    value: Option<OsString>,
    /// The time after which the value expires, with a unit: 250ms, 1.5s, 5m, 2h or 1d. The default is that of the
    /// namespace; without one, the value does not expire.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// A number of 32 bits that is stored with the value and shown by "kennel get --json".
    #[arg(long, value_name = "N", default_value_t = 0)]
    flags: u32,
    /// A tag of the value: "kennel invalidate --tag" invalidates all values that bear it. May be given up to 16 times.
    #[arg(long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Store the value only if the cache does not hold the key.
    #[arg(long, conflicts_with = "replace")]
    add: bool,
    /// Store the value only if the cache holds the key.
    #[arg(long)]
    replace: bool,
}

pub fn run(args: SetArgs) -> CliResult {
    let how = SetOptions::new().flags(args.flags).tags(&args.tags);
    let how = args.ttl.map_or(how, |ttl| how.expiry(Expiry::After(ttl)));
    let condition = Condition::of(&args);
    let key = args.key.bytes()?;
    // The value is read before the file is opened, so that the file is open only during the write.
    let value = read_value(args.value)?;
    let cache = args.key.namespace.find_or_add(args.write.open()?)?;
    Ok(hit_or_miss(condition.store(&cache, &key, &value, &how)?))
}

#[derive(Clone, Copy)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

impl Condition {
    fn of(args: &SetArgs) -> Self {
        match (args.add, args.replace) {
            (true, _) => Self::IfAbsent,
            (_, true) => Self::IfPresent,
            _ => Self::Always,
        }
    }

    /// Stores the value if the condition holds, and returns whether it did.
    fn store(self, cache: &Cache, key: &[u8], value: &[u8], how: &SetOptions) -> kennel::Result<bool> {
        match self {
            Self::Always => cache.set_with(key, value, how).map(|_| true),
            Self::IfAbsent => cache.add(key, value, how),
            Self::IfPresent => cache.replace(key, value, how),
        }
    }
}
