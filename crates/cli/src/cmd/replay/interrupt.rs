//! Ctrl-C, taken note of so that the temporary cache file is removed before the process ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the user has asked for the end.
#[derive(Default)]
pub(super) struct Interrupt {
    asked: Arc<AtomicBool>,
}

/// The user asked for the end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before the end of the trace")]
pub(super) struct Interrupted;

impl Interrupt {
    /// From here on Ctrl-C no longer ends the process by itself.
    pub(super) fn install() -> Result<Self, ctrlc::Error> {
        let asked = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&asked);
        // Relaxed: the flag publishes no other memory.
        ctrlc::set_handler(move || noted.store(true, Ordering::Relaxed))?;
        Ok(Self { asked })
    }

    pub(super) fn check(&self) -> Result<(), Interrupted> {
        if self.asked.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}
