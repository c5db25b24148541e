//! The waits and the errors of sockets.

use crate::error::Error;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// The system takes a timeout of zero for no timeout.
pub(crate) const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The time until a deadline, as a timeout of a socket.
pub(crate) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(SHORTEST_WAIT)
}

/// Whether a call to a socket ended because of its timeout or a signal.
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

pub(crate) fn lost(error: io::Error) -> Error {
    Error::Connection(error.to_string())
}
