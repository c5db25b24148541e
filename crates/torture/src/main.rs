//! Torture: processes use one small cache file in every way while they are killed, stopped and forked at random
//! moments, and every answer of the cache is checked.
//!
//! * [`history`] defines the allowed answers, and why no correct cache can violate that.
//! * [`tenure`] defines which process may create or lock a key.
//! * [`events`] adds invalidations and replacements of the file to both, and [`tags`] invalidations of tags.
//! * [`value`] makes self-proving values.
//! * [`board`] is the memory that the processes share beside the cache.
//! * [`worker`] uses the cache, [`creator`] uses claims, [`typed`] uses values of two types, [`parts`] uses namespaces,
//!   and [`sizes`] resizes the file; [`killer`] kills the workers, [`replacer`] replaces the file; [`round`] creates
//!   the file, and checks what is left.
//!
//! The *longest wait* is the longest duration of any one operation, from its call to its return, among those that no
//! stop overlapped: no process, including its own, was under `SIGSTOP` at any moment of it, or had resumed less than 50
//! ms before. It includes waiting for the locks of killed processes, their repair, and delays by the scheduler. Waits
//! for claims, which include the time that others need to create, are measured separately.
//!
//! A run ends with one line of results, and with status 1 if there was a violation.

#[cfg(not(any(kennel_test_hooks, doc)))]
compile_error!(
    "the torture needs `--cfg kennel_test_hooks`, which .cargo/config.toml sets unless RUSTFLAGS takes its place"
);

#[cfg(unix)]
mod absence;

#[cfg(unix)]
mod board;
#[cfg(unix)]
mod creator;
#[cfg(unix)]
mod durable;
#[cfg(unix)]
mod events;
#[cfg(all(unix, feature = "faults"))]
mod fault;
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
#[cfg(unix)]
mod random;
#[cfg(unix)]
mod replacer;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod round;
#[cfg(unix)]
mod sizes;
#[cfg(unix)]
mod tags;
#[cfg(unix)]
mod tenure;
#[cfg(unix)]
mod typed;
#[cfg(unix)]
mod value;
#[cfg(unix)]
mod versions;
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
