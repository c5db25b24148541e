//! Reading without a lock.
//!
//! ```text
//! version = bucket.version            acquire; odd: a writer is at work, try again
//! find a live slot whose tag fits; compare the key in its record
//! take what is wanted out of the record
//! fence(acquire)
//! bucket.version == version           else all of it may be a mixture: try again
//! ```
//!
//! *A hit is valid if and only if the bucket's version was even before the slots were read and is the same
//! after the last byte was copied.* A miss is checked in the same way. Partners: the writer makes the version
//! odd, passes a release fence, changes the slots, and makes the version even with a release store; and whoever
//! re-uses a record's memory has unlinked its slot in this way, and passes a release fence before the first
//! new byte. So a reader that saw any new byte sees the new version too.
//!
//! *A record larger than [`IN_PLACE_LIMIT`] is valid if and only if its slot, access marks aside, and the era
//! in the version are the same after the last byte was copied*, whatever else changed in the bucket: such a
//! record is never written in place, and its slot is emptied before its memory is. Otherwise a long copy would
//! be in vain each time a neighbour is written.

use super::Store;
use super::record::{Head, Spot, is_sound};
use super::slot::Slot;
use crate::hash::Key;
use crate::shm::Memory;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::SLOTS;
use crate::shm::memory::{Words, word_of};

/// Records of at most so many bytes can be overwritten where they lie.
pub(crate) const IN_PLACE_LIMIT: u64 = 512;
/// The bits of a bucket's version that count how often its stripe's positions started again.
pub(crate) const ERA_SHIFT: u32 = 48;

/// What one look at the index gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<T> {
    /// What was taken out of the key's record, all of it between two changes.
    Hit(T),
    /// The key has no valid record.
    Miss,
    /// A writer was, or came, in between.
    Changing,
}

/// What a read wants of a record.
pub(crate) trait Take {
    type Out;
    /// Whether a record that says that the key has no value is wanted, too.
    const SEES_ABSENCE: bool = false;

    /// Copies it out. It counts only if the record turns out to be the same afterwards, and is dropped otherwise;
    /// `None` says that the record was seen to change.
    fn take<M: Memory>(&mut self, store: &Store<M>, found: &Found<'_>) -> Option<Self::Out>;
}

/// A record that a look found.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub stripe: u32,
    bucket: Words<'a, 8>,
    version: u64,
    /// Which word of the bucket the slot is.
    i: usize,
    pub slot: Slot,
    /// Offset of the record.
    pub at: u64,
    pub head: Head,
    pub value_len: usize,
}

impl Found<'_> {
    pub(crate) fn value_at(&self) -> u64 {
        self.at + self.head.value_at()
    }

    pub(crate) fn spot(&self) -> Spot {
        Spot { stripe: self.stripe, ring: self.slot.ring(), position: self.slot.position() }
    }
}

impl<M: Memory> Store<M> {
    /// Looks for a key once, takes what is wanted out of its record, and raises its access mark if `mark` says so.
    /// `now_ms` is asked only about a record that expires.
    ///
    /// Inlined into each kind of read, so that what is found stays in registers.
    #[inline(always)]
    pub(crate) fn look<T: Take>(
        &self,
        key: &Key<'_>,
        now_ms: impl Fn() -> u64,
        want: &mut T,
        mark: bool,
    ) -> Look<T::Out> {
        let bucket = self.mem.words::<8>(self.bucket_of(key));
        let version = bucket.at(0).load(Ordering::Acquire);
        if version & 1 == 1 {
            return Look::Changing;
        }
        let pattern = Slot::live_pattern(key);
        let stripe = self.stripe_of(key);
        // The first word is the version.
        let mut candidates = M::matching(bucket, pattern) & !1;
        while candidates != 0 {
            let i = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            // Once more, acquiring: the record was complete before a slot pointed to it. `still` needs that
            // where it goes by the slot alone.
            let slot = Slot(bucket.at(i).load(Ordering::Acquire));
            let Some((at, head, value_len)) = self.record_of(stripe, slot, key) else { continue };
            if !slot.is_live_of(pattern) {
                return Look::Changing;
            }
            if head.is_expired(&now_ms) || self.is_hidden(at, head, T::SEES_ABSENCE) {
                break;
            }
            let found = Found { stripe, bucket, version, i, slot, at, head, value_len };
            let Some(taken) = want.take(self, &found) else { return Look::Changing };
            if !self.still(&found) {
                return Look::Changing;
            }
            if mark {
                self.mark(&found);
            }
            return Look::Hit(taken);
        }
        fence(Ordering::Acquire);
        if bucket.get(0) == version { Look::Miss } else { Look::Changing }
    }

    /// The record a slot points to, if it is one of this key and its lengths lie within its ring.
    #[inline(always)]
    pub(crate) fn record_of(&self, stripe: u32, slot: Slot, key: &Key<'_>) -> Option<(u64, Head, usize)> {
        let ring = self.ring_shape(slot.ring());
        let at = self.record_at(stripe, slot.ring(), slot.position())?;
        // Where the value lies is known only once the header has come; a small record begins anywhere in a line and
        // ends two lines on.
        self.mem.prefetch(at + 64);
        self.mem.prefetch(at + 128);
        let head = self.head(at);
        let fits = head.is_record()
            && head.key_len() == key.bytes.len() as u64
            && ring.offset(slot.position()) + head.units() <= ring.units;
        if !fits {
            return None;
        }
        let value_len = head.value_len()?;
        self.has_key(at + head.key_at(), key.bytes).then_some((at, head, value_len as usize))
    }

    /// Compares a stored key, word by word; its last word is filled up with zeros.
    #[inline(always)]
    fn has_key(&self, at: u64, key: &[u8]) -> bool {
        // The length of most keys; one check of the offset for both words.
        if let Ok(key) = <&[u8; 16]>::try_from(key) {
            let words = self.mem.words::<2>(at);
            return words.get(0) == word_of(&key[..8]) && words.get(1) == word_of(&key[8..]);
        }
        let mut words = (at..).step_by(8).map(|at| self.mem.word(at).get());
        key.chunks(8).all(|chunk| words.next() == Some(word_of(chunk)))
    }

    /// Whether all that was loaded from a found record before this call belongs to that record.
    #[inline(always)]
    pub(crate) fn still(&self, found: &Found<'_>) -> bool {
        fence(Ordering::Acquire);
        let version = found.bucket.get(0);
        if version == found.version {
            return true;
        }
        found.head.units() * 8 > IN_PLACE_LIMIT
            && (version ^ found.version) >> ERA_SHIFT == 0
            && Slot(found.bucket.get(found.i)).same(found.slot)
    }

    /// Raises the access mark of a record that was read, unless it stands highest; that the record has left
    /// meanwhile is no matter.
    #[inline(always)]
    fn mark(&self, found: &Found<'_>) {
        if let Some(marked) = found.slot.marked() {
            let slot = found.bucket.at(found.i);
            let _ = slot.compare_exchange(crate::shm::Step::Mark, found.slot.0, marked.0, Ordering::Relaxed);
        }
    }

    /// Whether a found record passes its checksum; `value` is what was copied out of it.
    pub(crate) fn passes(&self, key: &Key<'_>, value: &[u8], found: &Found<'_>) -> bool {
        is_sound(key, value, found.head, self.extension(found.at, found.head), found.spot())
    }

    /// Asks for the first lines of the records that a key's bucket points to.
    #[inline]
    pub(crate) fn prefetch_record(&self, key: &Key<'_>) {
        let bucket = self.mem.words::<8>(self.bucket_of(key));
        let pattern = Slot::live_pattern(key);
        let stripe = self.stripe_of(key);
        for slot in slots_of(bucket).filter(|slot| slot.is_live_of(pattern)) {
            if let Some(at) = self.record_at(stripe, slot.ring(), slot.position()) {
                self.mem.prefetch(at);
                self.mem.prefetch(at + 64);
            }
        }
    }

    /// Appends the keys of a bucket that a read would find; `false` when a writer came in between.
    pub(crate) fn keys_of_bucket(&self, stripe: u32, bucket: u64, now_ms: u64, keys: &mut Vec<Vec<u8>>) -> bool {
        let bucket_at = self.geometry.bucket(stripe, bucket);
        let version = self.mem.word(bucket_at).load(Ordering::Acquire);
        if version & 1 == 1 {
            return false;
        }
        for slot in slots_of(self.mem.words::<8>(bucket_at)).filter(|slot| slot.is_live()) {
            keys.extend(self.key_at(stripe, slot, now_ms));
        }
        fence(Ordering::Acquire);
        self.mem.word(bucket_at).get() == version
    }

    /// The key of a slot's record, if the record is current and really belongs to this stripe.
    fn key_at(&self, stripe: u32, slot: Slot, now_ms: u64) -> Option<Vec<u8>> {
        let ring = self.ring_shape(slot.ring());
        let at = self.record_at(stripe, slot.ring(), slot.position())?;
        let head = self.head(at);
        let fits = head.is_record() && ring.offset(slot.position()) + head.units() <= ring.units;
        if !fits || head.value_len().is_none() || head.is_expired(|| now_ms) || self.is_hidden(at, head, false) {
            return None;
        }
        let mut bytes = Vec::new();
        self.mem.append_out(at + head.key_at(), head.key_len() as usize, &mut bytes);
        let key = self.key(&bytes);
        let own = key.tag() == slot.tag() && self.stripe_of(&key) == stripe;
        own.then_some(bytes)
    }
}

/// The slots of a bucket, in their order.
fn slots_of(bucket: Words<'_, 8>) -> impl Iterator<Item = Slot> {
    (1..=SLOTS as usize).map(move |i| Slot(bucket.get(i)))
}
