//! One process's private notes on the claims and creations of a file, which save repeated tests and attempts.

use crate::store::claim::ClaimId;
use crate::store::record::mix;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a process tests the owner of a claim, however many of its threads wait.
pub(super) const TEST_EVERY: Duration = Duration::from_secs(1);
/// Number of places for tests of claims, and for resting keys. Of two entries in one place the later one is kept.
const REMEMBERED: usize = 64;
/// Number of low bits of a note that hold its time, in milliseconds; the bits above name the claim or the key.
const TIME_BITS: u32 = 40;

/// Why this process leaves a key with a stale value alone for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// A refresh in the background failed: the next one must not start immediately.
    Failed,
    /// Another thread held the stripe's lock: a caller that does not wait for it need not try again at each hit.
    Busy,
}

impl Rest {
    fn time(self) -> Duration {
        match self {
            Rest::Failed => Duration::from_secs(1),
            Rest::Busy => Duration::from_millis(10),
        }
    }
}

/// Remembered times of claims or keys. A word holds a time and, in its upper bits, what the time is of.
struct Times([AtomicU64; REMEMBERED]);

impl Default for Times {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; REMEMBERED])
    }
}

impl Times {
    /// The word for `name`, and the upper bits that name it there.
    fn word(&self, name: u64) -> (&AtomicU64, u64) {
        let mixed = mix(name);
        (&self.0[mixed as usize % REMEMBERED], mixed >> TIME_BITS << TIME_BITS)
    }

    /// The remembered time of `name`. The stored time is one millisecond higher, since 0 means no note.
    fn get_ms(&self, name: u64) -> Option<u64> {
        let (word, name) = self.word(name);
        let word = word.load(Ordering::Relaxed);
        (word != 0 && word >> TIME_BITS << TIME_BITS == name).then(|| (word ^ name) - 1)
    }

    /// Stores a time. If two threads do so simultaneously, either result is fine.
    fn set_ms(&self, name: u64, time_ms: u64) {
        let (word, name) = self.word(name);
        word.store(name | (time_ms + 1), Ordering::Relaxed);
    }
}

/// The notes of one process on one file.
#[derive(Default)]
pub(crate) struct Notes {
    /// When the owners of claims were last tested.
    tests: Times,
    /// Until when keys rest.
    rests: Times,
    /// Number of creations without the cache while this process had no seat to count them on.
    pub uncached: AtomicU64,
}

/// The result of a test of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Dead,
    /// Alive, or tested a short time ago; the next test is due after this time.
    Alive(Duration),
}

impl Notes {
    /// Time until the next test of a claim's owner is due; `None` if it is due now.
    pub(super) fn test_due_in(&self, claim_id: &ClaimId, now_ms: u64) -> Option<Duration> {
        let due_ms = self.tests.get_ms(claim_id.id())? + TEST_EVERY.as_millis() as u64;
        (now_ms < due_ms).then(|| Duration::from_millis(due_ms - now_ms))
    }

    /// Notes that a test of a claim's owner starts now.
    pub(super) fn note_test(&self, claim_id: &ClaimId, now_ms: u64) {
        self.tests.set_ms(claim_id.id(), now_ms);
    }

    /// Starts a rest for the key of a hash.
    pub(super) fn rest(&self, key_hash: u64, why: Rest, now_ms: u64) {
        self.rests.set_ms(key_hash ^ why as u64, now_ms + why.time().as_millis() as u64);
    }

    /// Whether the key of a hash rests.
    pub(super) fn rests(&self, key_hash: u64, why: Rest, now_ms: impl FnOnce() -> u64) -> bool {
        self.rests.get_ms(key_hash ^ why as u64).is_some_and(|until_ms| now_ms() < until_ms)
    }
}
