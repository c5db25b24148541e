//! The groups of rows.

mod groups;
mod hits;
mod load;
mod pushes;
mod setting;
mod trackers;

pub use groups::all;
pub use setting::Setting;
