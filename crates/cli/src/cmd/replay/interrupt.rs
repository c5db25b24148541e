//! Signals that ask for an end, taken note of so that the temporary cache file is removed before the process ends.

use std::io;

use kennel_harness::interrupt;

/// Whether this process was asked to end.
#[derive(Default)]
pub(super) struct Interrupt(());

/// A signal asked for the end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before the end of the trace")]
pub(super) struct Interrupted;

impl Interrupt {
    /// From here on Ctrl-C, `SIGTERM` and `SIGHUP` no longer end the process by themselves.
    pub(super) fn install() -> io::Result<Self> {
        interrupt::watch()?;
        Ok(Self(()))
    }

    #[expect(clippy::unused_self, reason = "only who has installed it may ask")]
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        if interrupt::is_asked() { Err(Interrupted) } else { Ok(()) }
    }
}
