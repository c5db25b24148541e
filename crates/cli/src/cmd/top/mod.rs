//! `kennel top`: a live screen of what a cache does.

mod frame;
mod hot;
mod probe;
mod run;
mod screen;
mod tables;
mod watch;
mod words;

pub use run::{TopArgs, run};
