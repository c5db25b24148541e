//! Many keys at once.

use super::claim::{Claim, store_prepared};
use super::created::Created;
use super::lookup::Lookup;
use crate::api::stripe_lock::Patience;
use crate::error::{Error, Result};
use std::time::Duration;

/// The places of each key in a list. The keys come in one order, the same for all who claim several, whatever order they
/// name them in: no two wait in a circle.
pub(crate) fn in_one_order<K: AsRef<[u8]>>(keys: &[K]) -> Vec<Vec<usize>> {
    // Asked for once: the answer to that is the caller's code.
    let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&i| keys[i]);
    let same = |a: &usize, b: &usize| keys[*a] == keys[*b];
    order.chunk_by(same).map(<[usize]>::to_vec).collect()
}

/// A claim with the places of its key, and what was created.
type Made = (Vec<usize>, Claim, Option<Created>);

/// What became of the keys of a list.
pub(crate) struct Batch {
    values: Vec<Option<Vec<u8>>>,
    /// Those to be created, with their places.
    claims: Vec<(Vec<usize>, Claim)>,
}

impl Batch {
    pub(crate) fn of(keys: usize) -> Self {
        Self { values: vec![None; keys], claims: Vec::new() }
    }

    /// Notes what was found of the key at these places.
    pub(crate) fn found(&mut self, places: Vec<usize>, lookup: Lookup) {
        match lookup {
            Lookup::Hit(item) | Lookup::Stale(item) => self.give(&places, Some(item.value)),
            Lookup::Absent => {}
            Lookup::Create(claim) => self.claims.push((places, claim)),
        }
    }

    /// Where the keys stand that are to be created, in the order in which the caller named them.
    pub(crate) fn missing(&mut self) -> Vec<usize> {
        self.claims.sort_by_key(|(places, _)| places[0]);
        self.claims.iter().map(|(places, _)| places[0]).collect()
    }

    /// All values, those included that were created for the keys that were [missing](Self::missing). The locks of all of
    /// them together are waited for as long as one.
    pub(crate) fn finish(mut self, created: Vec<Option<Created>>) -> Result<Vec<Option<Vec<u8>>>> {
        let made = self.take_claims(created)?;
        let mut patience = made.first().map_or(Patience::of(Duration::ZERO), |(_, claim, _)| claim.patience());
        for (places, claim, made) in made {
            // What keeps the cache from storing it is counted there; the caller has its values.
            let _ = store_prepared(claim.prepare(made.as_ref()), &mut patience);
            self.give(&places, made.map(Created::into_value));
        }
        Ok(self.into_values())
    }

    /// The claims, each with its places and what was created for it.
    pub(crate) fn take_claims(&mut self, created: Vec<Option<Created>>) -> Result<Vec<Made>> {
        let claims = std::mem::take(&mut self.claims);
        if created.len() != claims.len() {
            let (given, expected) = (created.len().to_string(), format!("{}, one for each key", claims.len()));
            return Err(Error::BadOption { option: "values of the creator", given, expected });
        }
        Ok(claims.into_iter().zip(created).map(|((places, claim), made)| (places, claim, made)).collect())
    }

    pub(crate) fn give(&mut self, places: &[usize], value: Option<Vec<u8>>) {
        places.iter().for_each(|&place| self.values[place].clone_from(&value));
    }

    pub(crate) fn into_values(self) -> Vec<Option<Vec<u8>>> {
        self.values
    }
}
