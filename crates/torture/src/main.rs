//! Torture: processes use one small cache file in every way while they are killed, stopped and forked at random moments,
//! and every answer that they get is checked.
//!
//! * [`history`] says what an answer must be, and why no correct cache can fail that.
//! * [`tenure`] says who may create or lock a key.
//! * [`events`] says what invalidations and replacements of the file change about both.
//! * [`value`] makes values that prove themselves.
//! * [`board`] is the memory that the processes share beside the cache.
//! * [`worker`] uses the cache, [`creator`] by claims, [`typed`] with values of two types, and [`parts`] its namespaces; [`killer`] kills, [`replacer`] replaces the file; [`round`] makes the file, and looks at what is left.
//!
//! The *longest wait* is the longest time that any one operation took, from its call to its return, among those that
//! no stop overlapped: none of the processes, its own included, was under `SIGSTOP` at any moment of it, nor had gone on
//! less than 50 ms before. The ways to claims, on which others are waited for while they create, are measured apart. It holds waiting for the locks of the killed, their repair, and whatever the scheduler added.
//!
//! A run ends in one line, and with status 1 if there was a violation.
#![cfg_attr(not(unix), allow(dead_code, unused_imports, reason = "signals are of Unix"))]

#[cfg(not(any(kennel_test_hooks, doc)))]
compile_error!(
    "the torture needs `--cfg kennel_test_hooks`, which .cargo/config.toml sets unless RUSTFLAGS takes its place"
);

#[cfg(unix)]
mod absence;

mod board;
#[cfg(unix)]
mod creator;
#[cfg(unix)]
mod durable;
#[cfg(unix)]
mod events;
#[cfg(unix)]
mod fork;
#[cfg(unix)]
mod history;
#[cfg(unix)]
mod keys;
#[cfg(unix)]
mod killer;
#[cfg(unix)]
mod parts;
#[cfg(all(unix, feature = "plant"))]
mod plant;
#[cfg(unix)]
mod random;
#[cfg(unix)]
mod replacer;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod round;
#[cfg(unix)]
mod tenure;
#[cfg(unix)]
mod typed;
#[cfg(unix)]
mod value;
#[cfg(unix)]
mod worker;

#[cfg(unix)]
mod run;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    run::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("error: the torture stops and kills processes by signals, which this system does not have");
    ExitCode::from(2)
}
