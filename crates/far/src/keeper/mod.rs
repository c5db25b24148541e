//! Keepers: one thread in each process that uses the near tier. It waits for a seat, and tracks while it has one.
//!
//! ```text
//! waiting --seat--> joining --tracking on--> tracking --covered--> proving
//!    ^                 ^ |  refused, lost        |  lost, no answer in 4 T, no master, marker changed, generation passed
//!    |                 | +-----------------------+
//!    |                 +--- pause: 20 ms, doubling to 1 s
//!    +--- ten failures in a row: another process may do better
//! volunteer: nothing was proved for 1.5 T, and no holder of a seat was at work: the holders are stopped
//! ```
//!
//! In a cluster the holder of a seat tracks each master in this way, in a thread of its own.

mod attempts;
mod batch;
mod member;
mod members;
mod pace;
mod reporter;
mod seat;
mod shared;
mod thread;
mod tracker;
mod watch;

pub(crate) use seat::{SeatFile, look_at_seats};
pub(crate) use thread::Keeper;
