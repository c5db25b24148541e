//! The keys of one call that creates many values.

use super::created::Created;
use super::creation::{Claim, Lookup};
use crate::error::{Error, Result};

/// Groups the places of equal keys in a list, and sorts the groups by key. All callers claim several keys in this
/// order, so that no two of them wait for each other.
pub(crate) fn in_one_order<K: AsRef<[u8]>>(keys: &[K], places: Vec<usize>) -> Vec<Vec<usize>> {
    // `as_ref` is called once for each key, since it is the caller's code.
    let mut order: Vec<(&[u8], usize)> = places.into_iter().map(|i| (keys[i].as_ref(), i)).collect();
    order.sort_unstable();
    order.chunk_by(|a, b| a.0 == b.0).map(|same| same.iter().map(|&(_, i)| i).collect()).collect()
}

/// A claim with the places of its key, and the value created for it.
type Made = (Vec<usize>, Claim, Option<Created>);

/// The keys of a list: the values that were found, and the claims to create the others.
pub(crate) struct Batch {
    values: Vec<Option<Vec<u8>>>,
    /// The claims to create values, with the places of their keys.
    claims: Vec<(Vec<usize>, Claim)>,
}

impl Batch {
    /// A batch with the values that are at hand, and the places of the keys without one.
    pub(crate) fn of(values: Vec<Option<Vec<u8>>>) -> (Self, Vec<usize>) {
        let left = (0..values.len()).filter(|&i| values[i].is_none()).collect();
        (Self { values, claims: Vec::new() }, left)
    }

    /// Adds what was found for the key at these places.
    pub(crate) fn found(&mut self, places: Vec<usize>, lookup: Lookup) {
        match lookup {
            Lookup::Hit(item) | Lookup::Stale(item) => self.give(&places, Some(item.value)),
            Lookup::Absent => {}
            Lookup::Create(claim) => self.claims.push((places, claim)),
        }
    }

    /// The places of the keys to be created, in the caller's order.
    pub(crate) fn missing(&mut self) -> Vec<usize> {
        self.claims.sort_by_key(|(places, _)| places[0]);
        self.claims.iter().map(|(places, _)| places[0]).collect()
    }

    /// The claims of the [missing](Self::missing) keys, each with its places and the value created for it.
    pub(crate) fn take_claims(&mut self, created: Vec<Option<Created>>) -> Result<Vec<Made>> {
        let claims = std::mem::take(&mut self.claims);
        if created.len() != claims.len() {
            let (given, expected) = (created.len().to_string(), format!("{}, one for each key", claims.len()));
            return Err(Error::BadOption { option: "values of the creator", given, expected });
        }
        Ok(claims.into_iter().zip(created).map(|((places, claim), made)| (places, claim, made)).collect())
    }

    /// The values to use after the creator failed: `None`, unless each missing key has a stale value that its claim
    /// allows to be used.
    pub(crate) fn into_stale_values(mut self) -> Option<Vec<Option<Vec<u8>>>> {
        let claims = std::mem::take(&mut self.claims);
        if claims.iter().any(|(_, claim)| claim.stale().is_none()) {
            claims.into_iter().for_each(|(_, claim)| claim.fail_without_stale());
            return None;
        }
        let items: Vec<_> = claims.into_iter().map(|(places, claim)| (places, claim.fail())).collect();
        for (places, item) in items {
            self.give(&places, Some(item?.value));
        }
        Some(self.values)
    }

    pub(crate) fn give(&mut self, places: &[usize], value: Option<Vec<u8>>) {
        places.iter().for_each(|&place| self.values[place].clone_from(&value));
    }

    pub(crate) fn into_values(self) -> Vec<Option<Vec<u8>>> {
        self.values
    }
}
