//! How commands end: exit statuses and errors.

use std::error::Error;
use std::process::ExitCode;

/// Any error that ends a command.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// The exit status of a command, or the error that ended it.
pub type CliResult = Result<ExitCode, AnyError>;

/// The exit status of a miss, and of a check that found problems.
const MISSED: u8 = 1;

/// The exit status of an error. Clap uses the same for a wrong command line.
pub const FAILED: u8 = 2;

/// Success for a hit, and otherwise the exit status of a miss.
pub fn hit_or_miss(hit: bool) -> ExitCode {
    if hit { ExitCode::SUCCESS } else { ExitCode::from(MISSED) }
}
