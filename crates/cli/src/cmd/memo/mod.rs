//! `kennel memo`: remembers the output of a command, and runs it once however many callers ask for it at the same time.
//!
//! [`args`] is the command line, [`plain`] reads it without clap, and [`settings`] completes it from the environment.
//! [`identity`] makes the key, [`place`] opens the cache file, and [`work`] does the rest: it shows what is remembered
//! ([`recorded`]) or runs the command ([`runner`], [`nesting`], [`background`]).

mod args;
mod background;
mod held;
mod identity;
mod nesting;
mod place;
mod plain;
mod recorded;
mod runner;
mod settings;
mod work;

pub(super) use args::MemoArgs;
pub(super) use work::{run, run_in_background};
