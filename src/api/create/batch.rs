//! Many keys at once.

use super::{Claim, Lookup, store};
use crate::error::{Error, Result};

/// The places of each key in a list. The keys come in one order, the same for all who claim several, whatever order they
/// name them in: no two wait in a circle.
pub(crate) fn in_one_order<K: AsRef<[u8]>>(keys: &[K]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].as_ref().cmp(keys[b].as_ref()));
    let same = |a: &usize, b: &usize| keys[*a].as_ref() == keys[*b].as_ref();
    order.chunk_by(same).map(<[usize]>::to_vec).collect()
}

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

    /// All values, those included that were created for the keys that were [missing](Self::missing).
    pub(crate) fn finish(mut self, created: Vec<Option<Vec<u8>>>) -> Result<Vec<Option<Vec<u8>>>> {
        let claims = std::mem::take(&mut self.claims);
        if created.len() != claims.len() {
            let (given, expected) = (created.len().to_string(), format!("{}, one for each key", claims.len()));
            return Err(Error::BadOption { option: "values of the creator", given, expected });
        }
        for ((places, claim), value) in claims.into_iter().zip(created) {
            let _ = store(claim, value.as_deref());
            self.give(&places, value);
        }
        Ok(self.values)
    }

    fn give(&mut self, places: &[usize], value: Option<Vec<u8>>) {
        places.iter().for_each(|&place| self.values[place].clone_from(&value));
    }
}
