//! `kennel replay`: plays an access trace and measures the hit ratio.
//!
//! A request is a `get`, followed after a miss by a `set`. Each value repeats its key and has the size that the trace
//! first gives for the object, so that every hit can be checked.
//!
//! The trace is read twice: first by [`survey`], whose result sizes the cache, and then by [`script`], which hands it
//! out in chunks to one [`player`] or to the workers of a [`team`], with which this process exchanges [`message`]s.
//! Input from a pipe is kept in a temporary file for the second reading. Before the replay, [`inputs`] prints the
//! format in which each input is read.

mod args;
mod inputs;
mod interrupt;
mod message;
mod player;
mod report;
mod run;
mod script;
mod survey;
mod team;

pub(super) use args::{ReplayArgs, WorkerArgs};
pub(super) use inputs::announce;
pub(super) use run::{run, run_worker};
