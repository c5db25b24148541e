//! `cargo xtask mutants`: weakens each fence and each ordering of the library, one at a time, and checks that a test
//! fails.
//!
//! `docs/orderings.md` lists those tests for each place. A new fence or ordering needs a row there; to fill it in,
//! `cargo xtask mutants --search PLACE` runs every test that could notice and prints those that fail.

mod command;
mod scan;
mod table;
mod tool;
mod tree;

pub(crate) use command::{Args, run};
