//! Notes signals that ask the process to end, so that it can remove the temporary cache file first.

use std::io;

use kennel_harness::interrupt;

/// Access to the note whether a signal asked for the end.
#[derive(Default)]
pub(super) struct Interrupt(());

/// A signal asked for the end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before the end of the trace")]
pub(super) struct Interrupted;

impl Interrupt {
    /// Keeps Ctrl-C, `SIGTERM` and `SIGHUP` from ending the process.
    pub(super) fn install() -> io::Result<Self> {
        interrupt::watch()?;
        Ok(Self(()))
    }

    #[expect(clippy::unused_self, reason = "asking makes sense only after installing")]
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        if interrupt::is_asked() { Err(Interrupted) } else { Ok(()) }
    }
}
