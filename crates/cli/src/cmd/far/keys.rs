//! `kennel far get`, `set` and `delete`: single keys, as a process of this host reads and writes them.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kennel_far::{Expiry, Far};

use super::server::{ServerArgs, TlsArgs};
use super::tier::TierArgs;
use crate::args::KeyHexArgs;
use crate::cmd::outcome::{AnyError, CliResult, hit_or_miss};
use crate::input::read_value;
use crate::output::stdout;
use crate::time::parse_duration;

/// Write the value of a key to standard output, as the processes of this host read it: from the near cache if it has the
/// value and is proved, else from the server.
///
/// The exit status is 1, and nothing is written, when the key has no value.
///
/// Example: kennel far get redis://10.0.0.5 /dev/shm/app.kennel app:user:7
#[derive(Args)]
pub struct GetArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// The key.
    key: OsString,
    #[command(flatten)]
    spelling: KeyHexArgs,
    /// Ask the server, whatever the near cache has.
    #[arg(long)]
    fresh: bool,
}

/// Store a value at the server. No process of this host reads the old value afterwards.
///
/// Example: kennel far set redis://10.0.0.5 /dev/shm/app.kennel app:user:7 Ann --ttl 10m
#[derive(Args)]
pub struct SetArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// The key.
    key: OsString,
    /// The value. Without it, or with "-", the value is standard input up to its end.
    value: Option<OsString>,
    #[command(flatten)]
    spelling: KeyHexArgs,
    /// The time after which the value expires, with a unit: 250ms, 1.5s, 5m, 2h or 1d. By default it does not expire.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
}

/// Remove keys at the server. No process of this host reads their values afterwards.
///
/// The exit status is 1 when not all of the keys had a value; those that had one are removed anyway.
///
/// Example: kennel far delete redis://10.0.0.5 /dev/shm/app.kennel app:user:7 app:user:8
#[derive(Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// The keys.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<OsString>,
    #[command(flatten)]
    spelling: KeyHexArgs,
}

/// A server, and the near tier in front of it.
#[derive(Args)]
struct AccessArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    tier: TierArgs,
}

impl AccessArgs {
    fn open(&self) -> Result<Far, AnyError> {
        self.tier.open(self.tls.options(&self.server.url()?))
    }
}

pub fn get(args: &GetArgs) -> CliResult {
    let key = args.spelling.bytes(args.key.clone())?;
    let far = args.access.open()?;
    let value = if args.fresh {
        far.get_fresh(key)?
    } else {
        // A process uses the near cache only after it has learned which run of the server it reaches. In a cluster it
        // learns this of each master separately, so the first read of a key asks the server.
        if far.masters().is_empty() {
            far.call(&["PING"], &[""; 0])?;
        }
        far.get(key)?
    };
    let Some(value) = value else { return Ok(hit_or_miss(false)) };
    let mut out = stdout();
    out.write_all(&value)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub fn set(args: SetArgs) -> CliResult {
    let key = args.spelling.bytes(args.key)?;
    let value = read_value(args.value)?;
    let far = args.access.open()?;
    far.set(key, value, args.ttl.map_or(Expiry::Never, Expiry::After))?;
    Ok(ExitCode::SUCCESS)
}

pub fn delete(args: &DeleteArgs) -> CliResult {
    let keys = args.keys.iter().map(|key| args.spelling.bytes(key.clone())).collect::<Result<Vec<_>, _>>()?;
    let far = args.access.open()?;
    let mut all_held = true;
    for key in keys {
        all_held &= far.delete(key)?;
    }
    Ok(hit_or_miss(all_held))
}
