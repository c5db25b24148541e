//! `kennel advise`: what a cache of another size would hit.

mod curve;
mod gather;
mod run;

#[cfg(feature = "top")]
pub use gather::FIRST_BIT;
pub use run::{AdviseArgs, run};
