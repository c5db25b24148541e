//! What a caller finds that looks a key up.

use super::creation::Claim;
use crate::api::item::Item;

/// What [`Cache::claim`](crate::Cache::claim) found.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Lookup {
    /// A value to be used.
    Hit(Item),
    /// A stale value to be used while another caller creates a new one.
    Stale(Item),
    /// The cache remembers that the key has no value.
    Absent,
    /// This caller creates the value.
    Create(Claim),
}

impl Lookup {
    /// The value, if there is one.
    pub(super) fn into_item(self) -> Option<Item> {
        match self {
            Lookup::Hit(item) | Lookup::Stale(item) => Some(item),
            Lookup::Absent | Lookup::Create(_) => None,
        }
    }
}
