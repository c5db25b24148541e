//! The words of the near tier's namespace: the proof, and the identity that it is about.
//!
//! | word | high 16 bits | low 48 bits |
//! |---|---|---|
//! | 0, the proof | generation | host time P in microseconds: whatever the far tier changed before P is applied here |
//! | 1, the name | generation | hash of the identity that this generation's proofs are about |
//! | 2, the beat | | host time at which a holder of a seat last did something |
//! | 3, the settings | hash of the settings on which all processes must agree | |
//!
//! In a cluster, words 2 and 3 lie in a namespace that all masters share, and each master has words 0 and 1 in a
//! namespace of its own.
//!
//! In the namespace of brief values, which end by themselves, word 0 is the *rest*: the host time before which none of
//! them is used. It is 0 unless every way to delete a value there failed. Word 1 is the hash of the settings on which
//! all processes that use these values must agree: processes with other settings may have replaced the near file.
//!
//! Words only rise. A generation belongs to one identity: the one caller that raised the proof past the end of the
//! previous generation names the new one, and no other caller does. While the words 0 and 1 have different generations,
//! nothing is proved. So a caller that raises the generation of word 0 alone takes back all proofs at once.

/// Bits of a word that hold a time or a hash; the generation stands above them.
const LOW_BITS: u32 = 48;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;

/// Indices of the words.
pub(crate) const PROOF: usize = 0;
pub(crate) const NAME: usize = 1;
pub(crate) const BEAT: usize = 2;
pub(crate) const SETTINGS: usize = 3;
/// The index of the rest, where values end by themselves.
pub(crate) const REST: usize = 0;
/// The index of the settings of values that end by themselves.
pub(crate) const BRIEF_SETTINGS: usize = 1;

/// The last generation. After it there are no proofs until the file is replaced.
pub(crate) const LAST_GENERATION: u64 = u16::MAX as u64;

/// The value of word 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamped(pub u64);

impl Stamped {
    pub(crate) fn new(generation: u64, low: u64) -> Self {
        Self(generation << LOW_BITS | low & LOW_MASK)
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> LOW_BITS
    }

    /// The time of a proof, or the hash of an identity.
    pub(crate) fn low(self) -> u64 {
        self.0 & LOW_MASK
    }

    /// The age of a proof in microseconds. `None`: the proof is of the future, so it proves nothing.
    #[inline]
    pub(crate) fn age(self, now: u64) -> Option<u64> {
        now.checked_sub(self.low())
    }
}

/// What a proof is about, besides the server's run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub database: i64,
    pub prefixes: &'a [Vec<u8>],
    pub max_staleness_us: u64,
    pub is_tracked: bool,
    pub is_cluster: bool,
    /// Whether fills go on while nothing is proved.
    pub is_brief: bool,
}

/// The version of the format in which the near tier stores values. A change of it changes every identity.
const FORMAT: u64 = 1;

impl Scope<'_> {
    fn bytes(&self) -> Vec<u8> {
        let modes = u64::from(self.is_tracked) | u64::from(self.is_cluster) << 1 | u64::from(self.is_brief) << 2;
        let mut bytes = [FORMAT, self.max_staleness_us, modes].map(u64::to_le_bytes).concat();
        bytes.extend_from_slice(&self.database.to_le_bytes());
        bytes.extend_from_slice(&self.prefix_bytes());
        bytes
    }

    fn prefix_bytes(&self) -> Vec<u8> {
        let mut bytes = FORMAT.to_le_bytes().to_vec();
        for prefix in self.prefixes {
            bytes.extend_from_slice(&(prefix.len() as u64).to_le_bytes());
            bytes.extend_from_slice(prefix);
        }
        bytes
    }

    /// The name of the namespace, which depends on the prefixes.
    pub(crate) fn namespace(&self) -> String {
        format!("kennel-far:{:016x}", xxhash_rust::xxh3::xxh3_64(&self.prefix_bytes()))
    }

    /// The name of the namespace of values that end by themselves, beside those that are proved.
    pub(crate) fn brief_namespace(&self) -> String {
        format!("{}:brief", self.namespace())
    }

    /// A hash of the settings on which all processes that use the namespace must agree; never 0.
    pub(crate) fn settings(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.bytes()).max(1)
    }

    /// A hash of the server's run and of this scope; never 0.
    pub(crate) fn identity(&self, run_id: &str) -> u64 {
        let hash = xxhash_rust::xxh3::xxh3_64(&[self.bytes(), run_id.as_bytes().to_vec()].concat());
        (hash & LOW_MASK).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_of_a_run_a_database_prefixes_and_a_staleness() {
        let prefixes = [b"app:".to_vec()];
        let others = [b"app".to_vec(), b":".to_vec()];
        let scope = Scope {
            database: 0,
            prefixes: &prefixes,
            max_staleness_us: 1,
            is_tracked: true,
            is_cluster: false,
            is_brief: false,
        };
        let scopes = [
            scope,
            Scope { database: 1, ..scope },
            Scope { prefixes: &others, ..scope },
            Scope { max_staleness_us: 2, ..scope },
            Scope { is_tracked: false, ..scope },
            Scope { is_cluster: true, ..scope },
            Scope { is_brief: true, ..scope },
        ];
        let mut identities: Vec<u64> = scopes.iter().map(|scope| scope.identity("run")).collect();
        identities.push(scope.identity("another run"));
        identities.sort_unstable();
        identities.dedup();
        assert_eq!(identities.len(), 8);
        assert_ne!(scope.namespace(), scopes[2].namespace());
        assert_eq!(scope.namespace(), scopes[1].namespace());
        assert_ne!(scope.settings(), scopes[1].settings());
    }

    #[test]
    fn a_proof_of_the_future_has_no_age() {
        let proof = Stamped::new(3, 1_000);
        assert_eq!((proof.generation(), proof.low(), proof.age(1_500)), (3, 1_000, Some(500)));
        assert_eq!(proof.age(999), None);
        assert!(Stamped::new(4, 0).0 > Stamped::new(3, LOW_MASK).0);
    }
}
