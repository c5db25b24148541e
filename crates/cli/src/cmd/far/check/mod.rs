//! `kennel far check`: the check of histories against a user's own server.
//!
//! [`run`] plays [`round`]s of processes among faults, and [`worker`] is one of these processes.

mod round;
mod run;
mod worker;

pub(super) use run::{CheckArgs, run};
pub(in crate::cmd) use worker::run_worker;
