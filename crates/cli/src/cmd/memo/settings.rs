//! The settings of an invocation: its options, completed from the environment.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::args::MemoArgs;
use crate::cmd::command::Failure;
use crate::time::parse_duration;

/// How long a result is remembered by default.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Environment variables with defaults for options.
pub mod variable {
    pub const TTL: &str = "KENNEL_MEMO_TTL";
    pub const STALE: &str = "KENNEL_MEMO_STALE";
    pub const SCOPE: &str = "KENNEL_MEMO_SCOPE";
    pub const CACHE: &str = "KENNEL_MEMO_CACHE";
}

/// The options that the environment can complete, and those that need checking.
pub struct Settings {
    pub ttl: Duration,
    pub stale: Option<Duration>,
    /// How long after its time to live a result may take the place of a failure.
    stale_if_error: Option<Duration>,
    pub scope: Option<OsString>,
    pub cache: Option<PathBuf>,
    /// Names of environment variables, sorted and without duplicates.
    pub variables: Vec<OsString>,
    /// Paths of files, sorted and without duplicates.
    pub files: Vec<PathBuf>,
}

/// A value, and the option or variable that it comes from.
struct Given<T> {
    name: &'static str,
    value: T,
}

impl Settings {
    /// # Errors
    /// An option or an environment variable has a wrong value.
    pub fn of(args: &MemoArgs) -> Result<Self, Failure> {
        let ttl = time(args.ttl, "--ttl", variable::TTL)?;
        let ttl = ttl.unwrap_or(Given { name: "--ttl", value: DEFAULT_TTL });
        if ttl.value.is_zero() {
            let name = ttl.name;
            return Err(Failure::own(format!("{name}: expected more than 0, found 0, which would remember nothing")));
        }
        let stale = time(args.stale, "--stale", variable::STALE)?;
        if let Some(stale) = stale.as_ref().filter(|stale| stale.value >= ttl.value) {
            return Err(Failure::own(format!(
                "{}: expected less than {}, which is {:?}, found {:?}, so the result would expire before it is stale",
                stale.name, ttl.name, ttl.value, stale.value
            )));
        }
        Ok(Self {
            ttl: ttl.value,
            stale: stale.map(|stale| stale.value),
            stale_if_error: args.stale_if_error,
            // An empty scope is no scope, so that an option can override the environment.
            scope: args.scope.clone().or_else(|| from(variable::SCOPE)).filter(|scope| !scope.is_empty()),
            cache: args.cache.clone().or_else(|| from(variable::CACHE).map(Into::into)),
            variables: in_order(variables(args)?),
            files: in_order(args.modtime.clone()),
        })
    }
}

impl Settings {
    /// How long a result stays in the cache.
    pub fn kept(&self) -> Duration {
        self.ttl.saturating_add(self.stale_if_error.unwrap_or_default())
    }

    /// The greatest age of a result that takes the place of a failure; `None` if no result does.
    pub fn longest_if_failed(&self) -> Option<Duration> {
        (self.stale.is_some() || self.stale_if_error.is_some()).then(|| self.kept())
    }
}

/// The value of an environment variable; an empty one counts as unset.
fn from(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

fn time(
    option: Option<Duration>,
    name: &'static str,
    variable: &'static str,
) -> Result<Option<Given<Duration>>, Failure> {
    if let Some(value) = option {
        return Ok(Some(Given { name, value }));
    }
    let Some(text) = from(variable) else { return Ok(None) };
    match parse_duration(&text.to_string_lossy()) {
        Ok(value) => Ok(Some(Given { name: variable, value })),
        Err(message) => Err(Failure::own(format!("the environment variable {variable}: {message}"))),
    }
}

fn variables(args: &MemoArgs) -> Result<Vec<OsString>, Failure> {
    let is_name = |name: &OsString| !name.is_empty() && !name.as_encoded_bytes().contains(&b'=');
    match args.env.iter().find(|name| !is_name(name)) {
        Some(wrong) => Err(Failure::own(format!(
            "--env: expected the name of an environment variable, such as LANG, found {:?}",
            wrong.to_string_lossy()
        ))),
        None => Ok(args.env.clone()),
    }
}

/// Sorts the names and removes duplicates, because order and repetition make no difference.
fn in_order<T: Ord>(mut names: Vec<T>) -> Vec<T> {
    names.sort_unstable();
    names.dedup();
    names
}
