//! What differs between operating systems: closed standard streams, and signals.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod relay;
#[cfg(unix)]
mod startup;
mod stream;

#[cfg(not(unix))]
pub(crate) use other::{Relay, is_closed, run_in_place};
#[cfg(unix)]
pub(crate) use relay::{Relay, run_in_place};
#[cfg(unix)]
pub(crate) use startup::is_closed;
pub(crate) use stream::Stream;
