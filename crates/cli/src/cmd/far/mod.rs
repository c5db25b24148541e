//! `kennel far`: a near cache of all processes of a host, in front of Redis or Valkey.
//!
//! The library is `kennel-far`. Each command has a file or a folder; [`command`] lists them. [`server`] and [`tier`] are
//! the arguments that they share, and [`workers`] are the processes of `check` and `demo`.

mod bench;
mod check;
mod command;
mod demo;
mod keep;
mod keys;
mod server;
mod stat;
mod tier;
mod workers;

pub(super) use check::run_worker as run_check_worker;
pub(super) use command::{FarArgs, run};
pub(super) use demo::{run_server as run_demo_server, run_worker as run_demo_worker};
