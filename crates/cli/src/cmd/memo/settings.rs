//! What an invocation asks for by its options, and where it has none by the environment.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::MemoArgs;
use crate::cmd::command::Failure;
use crate::time::parse_duration;

/// How long what a command printed is remembered, unless something else is asked for.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Environment variables that stand for options.
pub mod variable {
    pub const TTL: &str = "KENNEL_MEMO_TTL";
    pub const STALE: &str = "KENNEL_MEMO_STALE";
    pub const SCOPE: &str = "KENNEL_MEMO_SCOPE";
    pub const CACHE: &str = "KENNEL_MEMO_CACHE";
}

/// The options that the environment can stand for, and the others that must be looked at before they are used.
pub struct Settings {
    pub ttl: Duration,
    pub stale: Option<Duration>,
    pub scope: Option<OsString>,
    pub cache: Option<PathBuf>,
    /// Names of environment variables, in order and each once.
    pub variables: Vec<OsString>,
    /// The same for files.
    pub files: Vec<PathBuf>,
}

/// A value, and what the caller calls it.
struct Given<T> {
    name: &'static str,
    value: T,
}

impl Settings {
    /// # Errors
    /// What the caller said wrong, and where.
    pub fn of(args: &MemoArgs) -> Result<Self, Failure> {
        let ttl = time(args.ttl, "--ttl", variable::TTL)?;
        let ttl = ttl.unwrap_or(Given { name: "--ttl", value: DEFAULT_TTL });
        if ttl.value.is_zero() {
            let name = ttl.name;
            return Err(Failure::own(format!("{name}: expected more than 0, found 0: nothing would be remembered")));
        }
        let stale = time(args.stale, "--stale", variable::STALE)?;
        if let Some(stale) = stale.as_ref().filter(|stale| stale.value >= ttl.value) {
            return Err(Failure::own(format!(
                "{}: expected less than {}, which is {:?}, found {:?}: it would be forgotten before it is stale",
                stale.name, ttl.name, ttl.value, stale.value
            )));
        }
        Ok(Self {
            ttl: ttl.value,
            stale: stale.map(|stale| stale.value),
            // An empty one is none, so that one can be had in spite of the environment.
            scope: args.scope.clone().or_else(|| from(variable::SCOPE)).filter(|scope| !scope.is_empty()),
            cache: args.cache.clone().or_else(|| from(variable::CACHE).map(Into::into)),
            variables: in_order(variables(args)?),
            files: in_order(args.modtime.clone()),
        })
    }
}

/// What an environment variable says; an empty one says nothing.
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

/// In whatever order they were given, and however often each.
fn in_order<T: Ord>(mut names: Vec<T>) -> Vec<T> {
    names.sort_unstable();
    names.dedup();
    names
}
