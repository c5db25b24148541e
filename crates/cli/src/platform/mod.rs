//! What differs between operating systems: closed standard streams, and signals.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod relay;
#[cfg(unix)]
mod startup;

#[cfg(not(unix))]
pub use other::{Relay, is_closed, run_in_place};
#[cfg(unix)]
pub use relay::{Relay, run_in_place};
#[cfg(unix)]
pub use startup::is_closed;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Input = 0,
    Output = 1,
    Error = 2,
}

impl Stream {
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "standard input",
            Self::Output => "standard output",
            Self::Error => "standard error",
        }
    }
}
