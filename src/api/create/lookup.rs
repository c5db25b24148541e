//! What a look at a key found.

use super::claim::Claim;
use crate::api::item::Item;

/// What [`Cache::claim`](crate::Cache::claim) found.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Lookup {
    /// A value to be used.
    Hit(Item),
    /// A stale value to be used while somebody else creates a new one.
    Stale(Item),
    /// It is known that there is no value.
    Absent,
    /// The caller is the one to create the value.
    Create(Claim),
}

impl Lookup {
    /// The value, if it found one.
    pub(super) fn into_item(self) -> Option<Item> {
        match self {
            Lookup::Hit(item) | Lookup::Stale(item) => Some(item),
            Lookup::Absent | Lookup::Create(_) => None,
        }
    }
}
