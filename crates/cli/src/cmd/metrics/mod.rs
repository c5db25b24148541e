//! `kennel metrics`: serves the statistics of cache files over HTTP.

mod document;
mod exposition;
mod http;
mod run;
mod server;
mod target;

pub use exposition::exposition;
pub use run::{MetricsArgs, run};
pub use target::{Target, named_once};
