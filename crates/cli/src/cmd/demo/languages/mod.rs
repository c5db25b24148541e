//! `kennel demo --languages`: programs in several languages share one cache file.
//!
//! Each language has a program in `speakers`, which does the same actions as all others: it stores a value, reads those
//! of all, creates one that many miss together, and writes until it is killed. [`Speaker::prepared`] compiles the
//! programs that need it, and finds out which languages this machine has. [`run`] runs the programs, and reports.

mod language;
mod report;
mod run;
mod rust;
mod script;
mod speaker;

pub use language::Languages;
pub use run::run;
pub use rust::{SpeakerArgs, run_speaker};
