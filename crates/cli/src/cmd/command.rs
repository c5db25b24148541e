//! What commands that run other commands have in common: how they fail, and how they end.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::{ExitCode, ExitStatus};

use super::CliResult;
use crate::output::{Outlet, report_error};

/// Exit status of a failure of our own, as `env`, `nice` and `timeout` have it.
pub const OWN_FAILURE: u8 = 125;
/// Exit status when the command was found and cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// Exit status when the command was not found.
const NOT_FOUND: u8 = 127;

/// Why there is no exit status of the command.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure of our own.
    pub fn own(what: impl Into<String>) -> Self {
        Self { status: OWN_FAILURE, what: what.into(), source: None }
    }

    pub fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The command could not be started.
    pub fn to_start(command: &[OsString], error: io::Error) -> Self {
        let status = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            io::ErrorKind::PermissionDenied => NOT_RUNNABLE,
            _ => OWN_FAILURE,
        };
        let name = command.first().map(|name| name.display().to_string()).unwrap_or_default();
        Self { status, what: format!("cannot run {name}"), source: Some(error.into()) }
    }

    /// What the command wrote could not be written to one of our own outputs.
    pub fn to_write(outlet: Outlet, error: io::Error) -> Self {
        Self::own(format!("cannot write to {}", outlet.name())).because(error)
    }

    /// It ends with another status than [`OWN_FAILURE`].
    pub fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<kennel::Error> for Failure {
    fn from(error: kennel::Error) -> Self {
        Self::own("the cache cannot be used").because(error)
    }
}

/// Ends as the command did, or says what kept it from being run.
pub fn leave(outcome: Result<i32, Failure>) -> CliResult {
    match outcome {
        Ok(status) => Ok(u8::try_from(status).map_or_else(|_| std::process::exit(status), ExitCode::from)),
        Err(failure) => {
            report_error(&failure);
            Ok(ExitCode::from(failure.status))
        }
    }
}

/// The status of an ended command, as a shell gives it: 128 and the signal's number if a signal ended it.
pub fn exit_code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(OWN_FAILURE.into())
}

/// This program, to be started once more.
pub fn this_program() -> std::path::PathBuf {
    // Without /proc, in a chroot, Linux does not tell; the name that it was called by is as good there.
    std::env::current_exe().ok().or_else(|| std::env::args_os().next().map(Into::into)).unwrap_or_default()
}
