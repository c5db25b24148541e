//! Histories: what processes read and wrote, and whether that keeps the promises. The tests of this crate and `kennel far
//! check` share it.

mod check;
mod dice;
mod load;
mod log;
mod patience;

pub use check::{Report, check};
pub use dice::Dice;
pub use load::{Load, Worker, key_name, now};
pub use log::{ALL_KEYS, Event, Kind, Log, NO_HOST};
pub use patience::open_patiently;
