//! The hash table in a cache file: where its parts lie, and the words of the header on which every lookup depends.

use super::epochs::{CrashState, Epochs, Invalidation};
use super::record::{Extension, Head};
use super::slot::{Ring, Slot};
use super::tag_words::TagWords;
use crate::hash::Key;
use crate::shm::atomics::Ordering;
use crate::shm::layout::{EXTENSION_LEN, RECORD_LEN, RingShape, STATE_EPOCHS, STATE_REPLACED, STATE_UNVERIFIED, at};
use crate::shm::memory::Word;
use crate::shm::{Geometry, Memory};

/// A mapped cache file as the engine sees it: words, their layout, and the seed of the hash.
pub(crate) struct Store<M> {
    pub mem: M,
    pub geometry: Geometry,
    pub seed: u64,
}

/// How often to retry the exchange of a word that other processes exchange too. Each failure is another process's
/// success, so only a word that a hostile process changes endlessly exhausts the attempts.
pub(crate) const EXCHANGES: u32 = 10_000;

/// The stripe and bucket of a key, located once for each operation.
#[derive(Clone, Copy)]
pub(crate) struct KeyLocation {
    pub stripe: u32,
    /// Offset of the bucket in the file.
    pub bucket_at: u64,
}

/// The place of a ring position.
#[derive(Clone, Copy)]
pub(crate) struct RingOffset {
    /// Offset in the file.
    pub at: u64,
    /// Units from there to the end of its ring.
    pub left: u64,
}

impl<M: Memory> Store<M> {
    #[inline(always)]
    pub(crate) fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, self.seed)
    }

    pub(crate) fn stripe_of(&self, key: &Key<'_>) -> u32 {
        key.stripe(self.geometry.shape.stripes)
    }

    /// Locates the stripe and bucket of a key.
    #[inline(always)]
    pub(crate) fn locate(&self, key: &Key<'_>) -> KeyLocation {
        KeyLocation { stripe: self.stripe_of(key), bucket_at: self.bucket_of(key) }
    }

    /// Offset of the bucket a key belongs to.
    #[inline]
    pub(crate) fn bucket_of(&self, key: &Key<'_>) -> u64 {
        self.geometry.bucket(key.stripe(self.geometry.shape.stripes), key.bucket(self.geometry.buckets))
    }

    #[inline]
    pub(crate) fn ring_shape(&self, ring: Ring) -> RingShape {
        match ring {
            Ring::Small => self.geometry.small,
            Ring::Main => self.geometry.main,
        }
    }

    /// Offset of a ring.
    #[inline]
    pub(crate) fn ring_at(&self, stripe: u32, ring: Ring) -> u64 {
        match ring {
            Ring::Small => self.geometry.arena(stripe),
            Ring::Main => self.geometry.arena(stripe) + self.geometry.small.bytes(),
        }
    }

    /// Offset of the record at a position, unless the record's header would extend beyond the ring.
    pub(crate) fn record_at(&self, stripe: u32, ring: Ring, position: u64) -> Option<u64> {
        let shape = self.ring_shape(ring);
        let fits = shape.offset(position) + RECORD_LEN / 8 <= shape.units;
        fits.then(|| self.address(stripe, ring, position))
    }

    /// The place of a slot's record, unless its ring ends less than `units` after it.
    ///
    /// Which of the two rings it is cannot be predicted, and a misprediction would cost a wait for the bucket to arrive
    /// from memory. So the place is computed without a branch, in units from the start of the stripe's arena. The mask
    /// of the small ring is part of the mask of the main ring, which is larger.
    #[inline(always)]
    pub(crate) fn place_of(&self, stripe: u32, slot: Slot, units: u64) -> Option<RingOffset> {
        let Geometry { small, main, .. } = &self.geometry;
        let is_main = slot.main_mask();
        let start = (slot.0 & (small.mask | is_main & main.mask)) + (is_main & small.units);
        let end = small.units + (is_main & main.units);
        // The arena is aligned here once, so that the compiler need not align each use.
        let at = (self.geometry.arena(stripe) & !7) + start * 8;
        (start + units <= end).then(|| RingOffset { at, left: end - start })
    }

    /// Offset in the file of a position whose offset is known to lie within its ring.
    #[inline(always)]
    pub(crate) fn address(&self, stripe: u32, ring: Ring, position: u64) -> u64 {
        self.ring_at(stripe, ring) + self.ring_shape(ring).offset(position) * 8
    }

    #[inline(always)]
    pub(crate) fn head(&self, at: u64) -> Head {
        Head::of(self.mem.row(at, (RECORD_LEN / 8) as usize))
    }

    #[inline(always)]
    pub(crate) fn extension(&self, at: u64, head: Head) -> Extension {
        if !head.is_extended() {
            return Extension::default();
        }
        Extension { tags: self.tag_words(at, head), ..self.extension_without_tags(at) }
    }

    /// The words of the extension of the record at an offset, which has one and lies within its ring.
    #[inline(always)]
    pub(super) fn extension_without_tags(&self, at: u64) -> Extension {
        let words = self.mem.words::<3>(at + RECORD_LEN);
        Extension { soft_expiry: words.get(0), created: words.get(1), flags: words.get(2), tags: None }
    }

    /// The caller's flags of the record at an offset.
    #[cfg(feature = "typed")]
    #[inline(always)]
    pub(crate) fn caller_flags(&self, at: u64, head: Head) -> u32 {
        if !head.is_extended() {
            return 0;
        }
        let flags = self.mem.words::<3>(at + RECORD_LEN).get(2);
        Extension { flags, ..Extension::default() }.caller_flags()
    }

    /// The words of the tags of a record with an extension.
    #[inline]
    fn tag_words(&self, at: u64, head: Head) -> Option<TagWords> {
        let len = head.tag_words() as usize;
        (len > 0).then(|| {
            let row = self.mem.row(at + RECORD_LEN + EXTENSION_LEN, len);
            TagWords::load(len, |i| row.get(i))
        })
    }

    /// The lineage of the values in the file. Equal stamps name equal values only within one lineage.
    #[inline]
    pub(crate) fn lineage(&self) -> u64 {
        self.mem.word(at!(lineage)).get()
    }

    /// The epochs of the whole cache.
    #[inline]
    pub(crate) fn epochs(&self) -> Epochs {
        Epochs(self.mem.state().get(STATE_EPOCHS))
    }

    /// Raises the epochs of a namespace, or of the whole cache if `namespace` is 0. Returns `false` if the epochs are
    /// used up, if records may carry epochs that the file lost in a crash, or if the word keeps changing; the caller
    /// must then remove the records, stripe by stripe.
    pub(crate) fn raise_epoch(&self, namespace: u16, how: Invalidation) -> bool {
        let word = self.epochs_word(namespace);
        // Relaxed is enough, because no other data is published with the epochs. A thread that learns of the
        // invalidation sees this value of the word or a later one, as the coherence of a single word guarantees.
        for _ in 0..EXCHANGES {
            if self.mem.word(at!(unverified)).get() != 0 {
                return false;
            }
            let now = word.get();
            let Some(next) = Epochs(now).after(how) else { return false };
            if word.compare_exchange(crate::shm::Step::Epoch, now, next.0, Ordering::Relaxed).is_ok() {
                self.void_outdated();
                return true;
            }
        }
        false
    }

    /// A word of a stripe's head.
    #[inline]
    pub(crate) fn stripe_word(&self, stripe: u32, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.stripe(stripe) + field)
    }

    /// Not 0 if a read must look further: the file was replaced, or a stripe is not trusted yet after a crash.
    #[inline(always)]
    pub(crate) fn unsettled(&self) -> u64 {
        let state = self.mem.state();
        state.get(STATE_REPLACED) | state.get(STATE_UNVERIFIED)
    }

    /// How far a stripe's bytes can be trusted.
    #[inline]
    pub(crate) fn distrust(&self, stripe: u32) -> CrashState {
        if self.mem.state().get(STATE_UNVERIFIED) == 0 {
            return CrashState::None;
        }
        match self.stripe_word(stripe, at!(Stripe.verify_me)).load(Ordering::Relaxed) {
            0 => CrashState::None,
            1 => CrashState::Verify,
            _ => CrashState::Discard,
        }
    }
}
