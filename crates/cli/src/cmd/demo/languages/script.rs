//! What the programs of all languages have in common.

use std::time::Duration;

/// The key that all programs miss together, and how long its value takes to create.
pub const MADE_ONCE: &str = "made once";
pub const CREATED_IN: Duration = Duration::from_millis(200);

pub fn greeting_key(name: &str) -> String {
    format!("hello:{name}")
}

pub fn greeting(name: &str) -> String {
    format!("{name} says hello")
}
