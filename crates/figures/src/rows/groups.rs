//! The groups, in the order in which they run.

use anyhow::Result;

use super::setting::Setting;
use super::{hits, load, pushes, trackers};
use crate::report::Row;

pub type Group = fn(&Setting<'_>) -> Result<Vec<Row>>;

pub fn all() -> [(&'static str, Group); 7] {
    [
        ("hit", hits::run),
        ("processes", load::processes),
        ("restart", load::restart),
        ("end", pushes::end_on_another_host),
        ("sets", pushes::sets),
        ("killed", trackers::killed),
        ("stopped", trackers::stopped),
    ]
}
