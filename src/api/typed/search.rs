//! A caller's search for a value of one type.

use super::codec::{Codec, TAG};
use crate::api::create::{Claim, CreateOptions, Lookup};
use crate::api::item::Item;
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// After more than this many values in a row that have the right fingerprint but cannot be decoded, the call fails.
const MOST_UNREADABLE: u32 = 16;

/// A caller's search for a value of one type, or for the claim to create it.
pub(super) struct Search<'c, T> {
    codec: &'c Codec<T>,
    /// The options of the next lookup.
    pub how: CreateOptions,
    unreadable: u32,
}

/// A value that was found.
pub(super) struct Found<T> {
    pub item: Item<T>,
    /// The length of the stored value, in bytes.
    pub stored_len: usize,
}

/// How a search ends.
pub(super) enum End<T> {
    Found(Found<T>),
    /// The cache remembers that the key has no value.
    Absent,
    Create(Claim),
}

impl<'c, T: Serialize + DeserializeOwned> Search<'c, T> {
    pub(super) fn new(codec: &'c Codec<T>, how: &CreateOptions) -> Result<Self> {
        codec.check_type("serialize")?;
        Ok(Self { codec, how: how.clone().flags(TAG).form(codec.form()), unreadable: 0 })
    }

    /// The end of the search, or `None` if the value cannot be decoded: then the caller looks again, with options that
    /// make this value a miss. Values of other types are misses already, because a lookup compares the fingerprint,
    /// under the stripe's lock if necessary. The value is decoded here, where no lock is held.
    pub(super) fn judge(&mut self, lookup: Lookup) -> Result<Option<End<T>>> {
        let item = match lookup {
            Lookup::Hit(item) | Lookup::Stale(item) => item,
            Lookup::Absent => return Ok(Some(End::Absent)),
            Lookup::Create(claim) => return Ok(Some(End::Create(claim))),
        };
        self.unreadable += 1;
        match self.codec.decode(&item) {
            Ok(value) => Ok(Some(End::Found(Found { item: item.with_value(value), stored_len: item.value.len() }))),
            Err(error) if self.unreadable > MOST_UNREADABLE => Err(error),
            Err(_) => {
                self.how = self.how.clone().form(self.codec.form().except(item.stamp));
                Ok(None)
            }
        }
    }
}
