//! `kennel memo`: remembers what a command printed, and runs it once however many ask at the same time.

mod background;
mod identity;
mod plain;
mod recorded;
mod runner;

use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kennel::{
    Cache, Claim, CreateOptions, Error, Expiry, Lookup, MAX_KEY, OnMismatch, Options, Region, RegionOptions,
    SetOptions, Wait,
};

use super::CliResult;
use super::command::{self, Failure};
use crate::size::format_size;
use crate::time::parse_duration;
use identity::Identity;
use recorded::Recorded;
use runner::{Audience, Ran};

/// Capacity of a cache file that this command makes.
const CAPACITY: u64 = 64 << 20;

/// What a remembered command takes on average: a few lines.
const MEAN_ITEM: u64 = 2048;

/// How long what a command printed is remembered, unless something else is asked for.
const DEFAULT_TTL: &str = "1m";

/// Environment variables that stand for options.
mod variable {
    pub const TTL: &str = "KENNEL_MEMO_TTL";
    pub const STALE: &str = "KENNEL_MEMO_STALE";
    pub const SCOPE: &str = "KENNEL_MEMO_SCOPE";
    pub const CACHE: &str = "KENNEL_MEMO_CACHE";
}

/// The region that remembered commands lie in, so that a file can hold other things, too.
const REGION: &str = "memo";

/// Longest identity of a command: the region's name and a separator are part of the key.
const LONGEST_KEY: usize = MAX_KEY - REGION.len() - 1;

/// What a record takes beside the two outputs and the key, at most.
const OVERHEAD: u64 = 64;

/// The longest time that a claim can be held: a command may run as long as it likes.
const LONGEST_RUN: Duration = Duration::from_secs(19 * 24 * 60 * 60);

/// Run a command, or show what it printed when it was run before.
///
/// Standard output, standard error and exit status are remembered for --ttl, and shown if they are not older than
/// the --ttl of the one who asks. When they are shown standard output comes first, then standard error. However many
/// shells ask for the same command at the same time, one runs it: the others wait and show the same. When the one is
/// killed, another takes over within a second.
///
/// What is the same command: the same words, in the same --scope, and what --cwd, --env and --modtime add. Standard
/// input is passed to the command when it runs, and makes no difference for that; a run in the background has none.
///
/// A command that fails is not remembered, unless --cache-failures says so, and those who wait for it run it one after
/// another. Output that is too large for the cache file is passed through, and that is said.
///
/// The exit status is the command's, with 128 and the signal's number for one that a signal ended. Failures of this
/// command itself are 125, and 126 or 127 for a command that cannot be run or is not found. "kennel invalidate FILE memo"
/// forgets all.
///
/// Example: kennel memo --ttl 1h --stale 1m -- curl -s https://example.com
#[derive(Args)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub struct MemoArgs {
    /// How long what the command printed is remembered, with its unit: 90s, 5m, 2h or 1d.
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TTL, value_parser = parse_duration, env = variable::TTL)]
    ttl: Duration,
    /// After so long it is shown all the same, and the command is run again in the background.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = variable::STALE)]
    stale: Option<Duration>,
    /// Keeps what is remembered apart from what is remembered in other scopes.
    #[arg(long, value_name = "NAME", env = variable::SCOPE)]
    scope: Option<OsString>,
    /// Tells runs in different working directories apart.
    #[arg(long)]
    cwd: bool,
    /// Tells runs with different values of this environment variable apart. May be given more than once.
    #[arg(long, value_name = "VAR")]
    env: Vec<OsString>,
    /// Tells runs before and after a change of this file apart. May be given more than once.
    #[arg(long, value_name = "FILE")]
    modtime: Vec<PathBuf>,
    /// Run the command now, whatever is remembered, and remember that.
    #[arg(long, conflicts_with = "warm")]
    force: bool,
    /// Run the command in the background, so that the next one finds it done, and show nothing.
    #[arg(long)]
    warm: bool,
    /// Remember commands that fail, too.
    #[arg(long)]
    cache_failures: bool,
    /// How long to wait for another who runs the same command, before it is run here as well. Without this, as long as
    /// the other runs it.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// The cache file; it is made if it is not there. Without this it is kennel-memo.cache in the runtime directory of
    /// the user, else kennel-memo-UID.cache in /dev/shm, else in the temporary directory.
    #[arg(long, value_name = "FILE", env = variable::CACHE)]
    cache: Option<PathBuf>,
    #[arg(long = &background::OPTION[2..], hide = true)]
    in_background: bool,
    /// The command with its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub fn run(args: &MemoArgs) -> CliResult {
    command::leave(args.run())
}

impl MemoArgs {
    fn run(&self) -> Result<i32, Failure> {
        self.check()?;
        if self.warm && !self.in_background {
            return start_in_background();
        }
        let key = self.key()?;
        if key.len() > LONGEST_KEY {
            let found = format_size(key.len() as u64);
            return self.run_unremembered(&format!("its command line of {found} is too long to be a key"));
        }
        let cache = self.open()?;
        let region = cache.region(REGION, &RegionOptions::new())?;
        let memo = Memo { args: self, region, key };
        if self.in_background { memo.refresh() } else { memo.show_or_run() }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.ttl.is_zero() {
            return Err(Failure::own("--ttl: expected more than 0, found 0: nothing would be remembered"));
        }
        match self.stale {
            Some(stale) if stale >= self.ttl => Err(Failure::own(format!(
                "--stale: expected less than --ttl, which is {:?}, found {stale:?}: it would be forgotten before it is stale",
                self.ttl
            ))),
            _ => Ok(()),
        }
    }

    fn key(&self) -> Result<Vec<u8>, Failure> {
        let mut identity = Identity::new(self.scope.as_deref(), &self.command);
        if self.cwd {
            let directory =
                env::current_dir().map_err(|error| Failure::own("cannot tell the directory").because(error))?;
            identity = identity.with_directory(&directory);
        }
        for name in &self.env {
            identity = identity.with_variable(name, env::var_os(name).as_deref());
        }
        Ok(self.modtime.iter().fold(identity, |identity, file| identity.with_modification(file)).into_key())
    }

    fn open(&self) -> Result<Cache, Failure> {
        let options = Options::new().capacity(CAPACITY).mean_item(MEAN_ITEM);
        let existing = options.clone().on_mismatch(OnMismatch::UseExisting);
        match &self.cache {
            Some(path) => Ok(existing.open_or_create(path)?),
            None => match existing.open_or_create(default_file()) {
                // One of another version of this program, say. Nobody chose that file: a new one takes its place.
                Err(Error::BadFile { .. }) => {
                    Ok(options.on_mismatch(OnMismatch::Recreate).open_or_create(default_file())?)
                }
                other => Ok(other?),
            },
        }
    }

    fn execute(&self, most: u64) -> Result<Ran, Failure> {
        let audience = if self.in_background { Audience::Nobody } else { Audience::Caller };
        runner::run(&self.command, audience, most).map_err(|error| Failure::to_start(&self.command, error))
    }

    fn run_unremembered(&self, why: &str) -> Result<i32, Failure> {
        remark(format_args!("not remembered: {why}"));
        self.execute(0).map(|ran| ran.status)
    }
}

/// One command, and where it is remembered.
struct Memo<'a> {
    args: &'a MemoArgs,
    region: Region,
    key: Vec<u8>,
}

impl Memo<'_> {
    fn show_or_run(&self) -> Result<i32, Failure> {
        if self.args.force {
            return self.run_anew();
        }
        match self.region.claim(&self.key, &self.how(self.args.wait.map_or(Wait::Forever, Wait::For)))? {
            Lookup::Hit(item) | Lookup::Stale(item) => self.show(&item.value),
            Lookup::Create(claim) => match claim.stale().map(|item| item.value.clone()) {
                Some(stale) => {
                    claim.fail();
                    start_in_background()?;
                    self.show(&stale)
                }
                None => self.run_under(claim),
            },
            // Nothing here stores an absence.
            Lookup::Absent => self.run_anew(),
        }
    }

    /// In the background: runs the command unless somebody else does. What is remembered and fresh is made anew only if
    /// that was asked for.
    fn refresh(&self) -> Result<i32, Failure> {
        match self.region.claim(&self.key, &self.how(Wait::No).unprotected(false)) {
            Ok(Lookup::Create(claim)) => self.run_under(claim),
            Ok(Lookup::Hit(_)) if self.args.warm => self.run_anew(),
            Ok(_) | Err(Error::TimedOut { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn how(&self, wait: Wait) -> CreateOptions {
        let how = CreateOptions::new().expiry(Expiry::After(self.args.ttl)).wait(wait).unprotected(true);
        // What was remembered for longer than this caller wants is too old for it.
        let how = how.max_age(LONGEST_RUN).usable_for(self.args.ttl);
        match self.args.stale {
            Some(stale) => how.soft_expiry(Expiry::After(stale)).fresh_for(stale),
            None => how,
        }
    }

    fn show(&self, value: &[u8]) -> Result<i32, Failure> {
        // Anything else under this key was put there by another program.
        let Some(recorded) = Recorded::from_bytes(value) else { return self.run_anew() };
        recorded.replay().map_err(|error| Failure::own("cannot write the output").because(error))?;
        Ok(recorded.status)
    }

    /// Runs the command while all others who want it wait for it.
    fn run_under(&self, claim: Claim) -> Result<i32, Failure> {
        let ran = self.args.execute(self.most())?;
        let Some(recorded) = &ran.recorded else {
            claim.refuse();
            self.remark_size(&ran);
            return Ok(ran.status);
        };
        if self.is_kept(&ran) {
            claim.store(recorded.to_bytes()).map(drop).unwrap_or_else(not_remembered);
        } else {
            claim.fail();
        }
        Ok(ran.status)
    }

    /// Runs the command whatever others do or have remembered.
    fn run_anew(&self) -> Result<i32, Failure> {
        let ran = self.args.execute(self.most())?;
        match &ran.recorded {
            Some(recorded) if self.is_kept(&ran) => {
                let mut how = SetOptions::new().expiry(Expiry::After(self.args.ttl));
                if let Some(stale) = self.args.stale {
                    how = how.soft_expiry(Expiry::After(stale));
                }
                self.region.set_with(&self.key, recorded.to_bytes(), &how).map(drop).unwrap_or_else(not_remembered);
            }
            Some(_) => {}
            None => self.remark_size(&ran),
        }
        Ok(ran.status)
    }

    fn is_kept(&self, ran: &Ran) -> bool {
        ran.status == 0 || self.args.cache_failures
    }

    /// Bytes of output that can be remembered.
    fn most(&self) -> u64 {
        self.region.cache().stats().largest_record.saturating_sub(self.key.len() as u64 + OVERHEAD)
    }

    fn remark_size(&self, ran: &Ran) {
        let (found, most) = (format_size(ran.output), format_size(self.most()));
        remark(format_args!("not remembered: {found} of output, and the cache file takes {most} at most"));
    }
}

fn default_file() -> PathBuf {
    let path = kennel::default_path();
    let name = path.file_name().unwrap_or_default().to_string_lossy().replacen("kennel", "kennel-memo", 1);
    path.with_file_name(name)
}

fn start_in_background() -> Result<i32, Failure> {
    background::start()
        .map(|()| 0)
        .map_err(|error| Failure::own("cannot start the run in the background").because(error))
}

fn not_remembered(error: Error) {
    remark(format_args!("not remembered: {error}"));
}

/// Says something about ourselves, beside the command's own output.
fn remark(what: impl Display) {
    // When standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "kennel memo: {what}");
}
