//! The near tier on the command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use kennel_far::{Error, Far, NearTier, Options, inspect};

use crate::cmd::outcome::AnyError;
use crate::time::parse_duration;

const DEFAULT_STALENESS: Duration = Duration::from_secs(1);

/// A near file.
#[derive(Args)]
pub struct NearArgs {
    /// The near file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Accept a file that belongs to another user or that other users can write. By default such a file is refused,
    /// because anyone who can write it decides what you read from it.
    #[arg(long)]
    trust: bool,
}

impl NearArgs {
    pub fn options(&self) -> kennel::Options {
        kennel::Options::new().trust(self.trust)
    }

    /// The near tiers of the file.
    pub fn inspect(&self) -> Result<Vec<NearTier>, AnyError> {
        inspect(&self.file, &self.options()).map_err(|error| match error {
            Error::Near(kennel::Error::NotFound(path)) => {
                format!("no near file at {}: the first process that uses it creates it", path.display()).into()
            }
            error => error.into(),
        })
    }
}

/// A near tier that processes of this host use.
#[derive(Args)]
pub struct TierArgs {
    #[command(flatten)]
    near: NearArgs,
    /// A prefix of the keys in the near tier; may be given several times. By default those of the processes that use
    /// the file.
    #[arg(long, value_name = "PREFIX")]
    prefix: Vec<OsString>,
    /// The greatest age of a value that is read; by default that of the processes that use the file.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_staleness: Option<Duration>,
}

impl TierArgs {
    /// Opens the tier as a process that never tracks.
    pub fn open(&self, server: Options) -> Result<Far, AnyError> {
        let tiers = self.near.inspect()?;
        let mut given: Vec<Vec<u8>> = self.prefix.iter().cloned().map(OsString::into_vec).collect();
        given.sort();
        let used: Vec<&NearTier> = tiers.iter().filter(|tier| !tier.processes.is_empty()).collect();
        let known = match (given.is_empty(), used.as_slice()) {
            (true, [only]) => Some(*only),
            (true, []) => {
                let file = self.near.file.display();
                return Err(format!("no running process uses {file} as a near cache: give its --prefix").into());
            }
            (true, _) => {
                let file = self.near.file.display();
                return Err(format!("processes use {file} with different prefixes: give the --prefix of one").into());
            }
            (false, _) => used.into_iter().find(|tier| prefixes(tier) == given),
        };
        let staleness = self.max_staleness.or_else(|| known?.max_staleness()).unwrap_or(DEFAULT_STALENESS);
        let options = server.keepers(0).max_staleness(staleness).near(self.near.options());
        let prefixes = known.filter(|_| given.is_empty()).map_or(given, prefixes);
        Ok(prefixes.into_iter().fold(options, Options::prefix).open(&self.near.file)?)
    }
}

fn prefixes(tier: &NearTier) -> Vec<Vec<u8>> {
    tier.processes.first().map(|process| process.prefixes.clone()).unwrap_or_default()
}
