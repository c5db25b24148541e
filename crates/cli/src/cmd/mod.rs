//! The commands: each has a file or a folder, and [`command_line`] lists them all.
//!
//! [`outcome`] is how commands end. The commands that store saved items share [`filling`], and those that run other
//! commands share [`command`].

mod advise;
mod bench;
mod clear;
mod command;
mod command_line;
mod completions;
mod copy;
mod create;
mod delete;
mod demo;
mod destroy;
mod dump;
#[cfg(all(unix, feature = "far"))]
mod far;
mod filling;
mod flush;
mod get;
mod incr;
mod invalidate;
mod keys;
mod load;
mod lock;
mod man;
mod memo;
mod metrics;
mod outcome;
mod replay;
mod resize;
mod set;
mod stat;
#[cfg(feature = "top")]
mod top;
mod touch;
mod verify;

pub(crate) use command_line::{run, usage_status};
pub(crate) use outcome::{CliResult, FAILED};
