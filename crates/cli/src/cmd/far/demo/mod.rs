//! `kennel far demo`: two hosts in front of one server, while the processes that track are killed.
//!
//! The [`director`] starts [`worker`]s, kills some, and shows what happens. The [`server`] is a real one. [`tally`]
//! replays what the workers logged, and [`report`] prints the result.

mod director;
mod popularity;
mod report;
mod run;
mod server;
mod tally;
mod worker;

pub(super) use run::{DemoArgs, run};
pub(in crate::cmd) use server::run_server;
pub(in crate::cmd) use worker::run_worker;
