//! What keepers record in the words of a near tier: generations of proofs, and the proofs.
//!
//! A record holds for the file to which they apply changes. The file's lineage distinguishes it from a file that takes
//! its place.

use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::near::Near;
use crate::proof::{LAST_GENERATION, NAME, PROOF, Stamped};

impl Near {
    /// Raises a word in the file of this lineage. Fails if another file has taken its place: what the caller knows
    /// about the old file says nothing about the new one, which counts its generations anew.
    fn raise(&self, lineage: u64, index: usize, value: u64) -> Result<u64> {
        if !keeps(Rule::ProofsStayInFile) {
            return Ok(self.cache().raise_namespace_word(index, value)?);
        }
        self.cache().raise_namespace_word_of(lineage, index, value)?.ok_or_else(replaced)
    }

    /// Fails if another file has taken the place of the one of this lineage.
    pub(crate) fn must_be(&self, lineage: u64) -> Result<()> {
        let is_same = self.lineage() == Some(lineage) || !keeps(Rule::ProofsStayInFile);
        is_same.then_some(()).ok_or_else(replaced)
    }

    /// Takes the proofs of a generation back, unless another one has begun.
    pub(crate) fn end_generation(&self, lineage: u64, generation: u64) -> Result<()> {
        if generation < LAST_GENERATION {
            self.raise(lineage, PROOF, Stamped::new(generation + 1, 0).0)?;
        }
        Ok(())
    }

    /// The current generation, if it belongs to this identity.
    pub(crate) fn generation_of(&self, identity: u64) -> Option<u64> {
        self.proof_of(identity).map(Stamped::generation)
    }

    /// Begins a generation for an identity. All proofs are taken back first; the caller flushes before it proves
    /// anything. `None`: another caller was faster, or no generation is left.
    pub(crate) fn begin_generation(&self, lineage: u64, identity: u64) -> Result<Option<u64>> {
        let next = self.proof().generation() + 1;
        if next > LAST_GENERATION {
            return Ok(None);
        }
        let before = Stamped(self.raise(lineage, PROOF, Stamped::new(next, 0).0)?);
        if before.generation() >= next {
            return Ok(None);
        }
        self.raise(lineage, NAME, Stamped::new(next, identity).0)?;
        Ok(Some(next))
    }

    /// Raises the proof of a generation of the file of this lineage. `false`: the generation has passed.
    pub(crate) fn prove(&self, lineage: u64, generation: u64, time: u64) -> Result<bool> {
        if self.proof().generation() != generation {
            return Ok(false);
        }
        let before = Stamped(self.raise(lineage, PROOF, Stamped::new(generation, time).0)?);
        Ok(before.generation() == generation)
    }
}

fn replaced() -> Error {
    Error::Connection("another file has taken the place of the near file".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::tests::{SCOPE, near, open};

    fn of(near: &Near) -> u64 {
        near.lineage().unwrap()
    }

    #[test]
    fn a_generation_belongs_to_whoever_began_it() {
        let (place, near) = near();
        assert_eq!((near.proof_of(0), near.generation_of(7)), (None, None), "nothing is proved in a new file");
        assert_eq!(near.begin_generation(of(&near), 7).unwrap(), Some(1));
        let other = open(&place, &SCOPE).unwrap();
        assert_eq!((other.generation_of(7), other.generation_of(8)), (Some(1), None));
        let begun = near.proof_of(7).unwrap();
        assert!(!near.is_fresh(begun), "a generation begins without a proof");
        assert!(near.prove(of(&near), 1, near.clock.now()).unwrap() && near.is_fresh(other.proof_of(7).unwrap()));
        assert_eq!(other.begin_generation(of(&other), 8).unwrap(), Some(2));
        assert!(!near.prove(of(&near), 1, near.clock.now()).unwrap(), "an old generation proves nothing");
        assert_eq!((near.proof_of(7), near.generation_of(8)), (None, Some(2)));
    }

    #[test]
    fn what_is_taken_back_stays_so_until_a_generation_has_a_name() {
        let (_place, near) = near();
        near.begin_generation(of(&near), 7).unwrap();
        near.prove(of(&near), 1, near.clock.now()).unwrap();
        near.revoke();
        near.revoke();
        assert_eq!((near.proof_of(7), near.proof().generation()), (None, 2), "the second found nothing to take back");
        assert!(!near.prove(of(&near), 1, near.clock.now()).unwrap());
        assert_eq!(near.begin_generation(of(&near), 7).unwrap(), Some(3));
        near.cache().raise_namespace_word(PROOF, Stamped::new(LAST_GENERATION, 5).0).unwrap();
        near.cache().raise_namespace_word(NAME, Stamped::new(LAST_GENERATION, 7).0).unwrap();
        near.revoke();
        assert!(!near.is_fresh(near.proof()) && near.begin_generation(of(&near), 7).unwrap().is_none());
    }

    #[test]
    fn a_generation_that_has_ended_proves_nothing_and_another_is_left_alone() {
        let (_place, near) = near();
        near.begin_generation(of(&near), 7).unwrap();
        near.prove(of(&near), 1, near.clock.now()).unwrap();
        near.end_generation(of(&near), 1).unwrap();
        assert_eq!((near.proof_of(7), near.prove(of(&near), 1, near.clock.now()).unwrap()), (None, false));
        assert_eq!(near.begin_generation(of(&near), 8).unwrap(), Some(3));
        near.prove(of(&near), 3, near.clock.now()).unwrap();
        near.end_generation(of(&near), 1).unwrap();
        assert!(near.is_fresh(near.proof_of(8).unwrap()));
    }

    #[test]
    fn what_is_proved_of_a_file_says_nothing_of_its_successor() {
        let (place, near) = near();
        let lineage = of(&near);
        near.begin_generation(lineage, 7).unwrap();
        near.prove(lineage, 1, near.clock.now()).unwrap();
        std::fs::remove_file(place.path().join("near")).unwrap();
        let other = open(&place, &SCOPE).unwrap();
        other.begin_generation(of(&other), 7).unwrap();
        assert!(near.must_be(lineage).is_ok(), "it has the removed file open");
        near.cache().notice_removal();
        assert_eq!(near.lineage(), other.lineage());
        let now = near.clock.now();
        assert!(near.must_be(lineage).is_err() && near.prove(lineage, 1, now).is_err());
        assert!(near.end_generation(lineage, 1).is_err() && near.begin_generation(lineage, 8).is_err());
        assert_eq!((other.generation_of(7), other.proof().low()), (Some(1), 0));
    }
}
