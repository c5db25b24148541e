//! `kennel advise`: what a cache of another size would hit.

mod curve;
mod gather;
mod run;

pub use run::{AdviseArgs, run};
