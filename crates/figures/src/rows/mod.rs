//! The groups of rows.

mod groups;
mod hits;
mod load;
mod pushes;
mod trackers;

pub use groups::{Setting, all};
