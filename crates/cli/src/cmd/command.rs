//! How commands that run other commands fail and end.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::{ExitCode, ExitStatus};

use super::outcome::CliResult;
use crate::output::{Outlet, report_error};

/// The exit status of our own failures, the same as in `env`, `nice` and `timeout`.
pub const OWN_FAILURE: u8 = 125;
/// The exit status if the command was found but cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// The exit status if the command was not found.
const NOT_FOUND: u8 = 127;

/// A failure after which the command has no exit status.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure of this program.
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

    /// The output of the command could not be written.
    pub fn to_write(outlet: Outlet, error: io::Error) -> Self {
        Self::own(format!("cannot write to {}", outlet.name())).because(error)
    }

    /// Replaces the exit status [`OWN_FAILURE`].
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

/// Ends with the status of the command, or reports the failure.
pub fn leave(outcome: Result<i32, Failure>) -> CliResult {
    match outcome {
        Ok(status) => Ok(u8::try_from(status).map_or_else(|_| std::process::exit(status), ExitCode::from)),
        Err(failure) => {
            report_error(&failure);
            Ok(ExitCode::from(failure.status))
        }
    }
}

/// The status of an ended command in the form that shells use: 128 plus the signal number if a signal ended it.
pub fn exit_code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(OWN_FAILURE.into())
}

/// The path of this program, for starting it again.
pub fn this_program() -> std::path::PathBuf {
    // Without /proc, as in a chroot, Linux does not give the path; the name that started the program serves as well.
    std::env::current_exe().ok().or_else(|| std::env::args_os().next().map(Into::into)).unwrap_or_default()
}
