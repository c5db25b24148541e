//! The steps that all workers share.

use crate::interrupt;
use crate::strategies::Strategies;
use crate::task::{MARK, Said};
use kennel::{Cache, LargePages, OnMismatch, Options};
use std::io::{self, Write};
use std::path::PathBuf;

/// Why a worker stops early.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The text is not a task of this version.
    #[error("not a task of this version: {0}")]
    NoTask(#[from] serde_json::Error),
    /// The worker does not know the lock strategy.
    #[error("{0}")]
    Strategy(String),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] kennel::Error),
    /// Drawing keys, writing samples or reaching the parent failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The cache returned a value that no worker set.
    #[error("key {key}: expected its own value of {expected} bytes, found {found} bytes or another key's")]
    WrongValue {
        /// Number of the key.
        key: u64,
        /// The size of all values.
        expected: usize,
        /// The size of the value found.
        found: usize,
    },
}

/// Prints a line for the parent.
pub(crate) fn say(what: &Said) -> Result<(), WorkError> {
    let line = format!("{MARK}{}\n", serde_json::to_string(what)?);
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    Ok(out.flush()?)
}

/// Reports that this worker is ready, and waits for the signal to begin. The input ends with the parent; from then on,
/// this worker ends with its input.
pub(crate) fn wait_for_start() -> Result<(), WorkError> {
    say(&Said::Ready)?;
    let mut line = String::new();
    match io::stdin().read_line(&mut line)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        _ => Ok(interrupt::end_with_input()?),
    }
}

/// Opens the cache file of a job.
pub(crate) fn open(
    strategy: &str,
    large: LargePages,
    file: &PathBuf,
    strategies: &Strategies,
) -> Result<Cache, WorkError> {
    let strategy = strategies.named(strategy).map_err(WorkError::Strategy)?;
    let options = Options::new().locks(strategy).on_mismatch(OnMismatch::UseExisting).prefault(true).large_pages(large);
    Ok(options.open(file)?)
}
