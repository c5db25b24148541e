//! The engine: an index of buckets over two ring logs per stripe.
//!
//! Generic over its [`Memory`], so the same code runs on a mapped file, under the model checker and under
//! Miri. It knows offsets, records and epochs; it does not know files, paths, processes or options.
//!
//! * [`read`] looks a key up without a lock; [`write`] changes a stripe under its lock.
//! * [`intent`] is what makes a kill harmless: an operation is written down before it is done.
//! * [`claim`] lets one create a key while others wait; [`region`] are the named name spaces.
//! * [`evict`] makes room; [`rebuild`] makes a stripe anew after an operating-system crash, unless a [`durable`] point
//!   came last.
//! * [`verify`] checks what all of them promise to each other.

pub(crate) mod claim;
pub(crate) mod copied;
pub(crate) mod durable;
mod ends;
pub(crate) mod evict;
pub(crate) mod exclusive;
#[cfg(fuzzing)]
pub(crate) mod fuzzed;
pub(crate) mod intent;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod read;
pub(crate) mod rebuild;
pub(crate) mod record;
pub(crate) mod region;
#[cfg(all(test, not(loom)))]
mod reordered;
pub(crate) mod ring;
pub(crate) mod slot;
pub(crate) mod tally;
#[cfg(all(test, not(loom)))]
mod tests;
pub(crate) mod verify;
pub(crate) mod write;

use crate::hash::Key;
use crate::names::names;
use crate::shm::atomics::Ordering;
use crate::shm::layout::{RECORD_LEN, RingShape, STATE_EPOCHS, STATE_REPLACED, STATE_UNVERIFIED, at};
use crate::shm::memory::Word;
use crate::shm::{Geometry, Memory};
use record::{EPOCH_BITS, EPOCH_MASK, Extension, Head};
use slot::{Ring, Slot};

/// A mapped cache file as the engine sees it: words, their layout, and the seed of the hash.
pub(crate) struct Store<M> {
    pub mem: M,
    pub geometry: Geometry,
    pub seed: u64,
}

/// Attempts to exchange a word that others exchange, too. Each that fails is another's success, so only a word that
/// changes without end, by somebody who means harm, outlasts them.
pub(crate) const EXCHANGES: u32 = 10_000;

/// Where a position of a ring lies.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Offset in the file.
    pub at: u64,
    /// Units from there to the end of its ring.
    pub left: u64,
}

/// Hard and soft epoch, packed into one word so that both are read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epochs(pub u64);

impl Epochs {
    /// Records of a lower epoch are gone.
    pub(crate) fn hard(self) -> u64 {
        self.0 & EPOCH_MASK
    }

    /// Records of a lower epoch are stale.
    pub(crate) fn soft(self) -> u64 {
        self.0 >> EPOCH_BITS & EPOCH_MASK
    }

    /// The epoch that a record written now carries.
    pub(crate) fn current(self) -> u64 {
        self.hard().max(self.soft())
    }

    /// After an invalidation; `None` when the epochs are used up, since they never wrap.
    pub(crate) fn after(self, how: Invalidation) -> Option<Self> {
        let next = self.current() + 1;
        let raised = match how {
            Invalidation::Hard => self.soft() << EPOCH_BITS | next,
            Invalidation::Soft => next << EPOCH_BITS | self.hard(),
        };
        (next <= EPOCH_MASK).then_some(Self(raised))
    }
}

/// What an invalidation does to the values that were created before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalidation {
    /// They are gone. Its name is `hard`.
    Hard,
    /// They are stale: `get` still returns them, `get_or_create` creates them anew and returns them to those who would
    /// have to wait. Its name is `soft`.
    Soft,
}

names!(Invalidation, "invalidation", "hard or soft", Hard = "hard", Soft = "soft");

/// A stripe's verify-me flag: what an operating-system crash left of it. The values are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Distrust {
    None = 0,
    /// Reads check checksums, and the next to lock the stripe builds its index anew.
    Verify = 1,
    /// Reads miss, and the next to lock the stripe empties it.
    Discard = 2,
}

impl<M: Memory> Store<M> {
    pub(crate) fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, self.seed)
    }

    pub(crate) fn stripe_of(&self, key: &Key<'_>) -> u32 {
        key.stripe(self.geometry.shape.stripes)
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

    /// Offset of the record at a position, unless the position's offset lies beyond the ring.
    pub(crate) fn record_at(&self, stripe: u32, ring: Ring, position: u64) -> Option<u64> {
        let shape = self.ring_shape(ring);
        let fits = shape.offset(position) + RECORD_LEN / 8 <= shape.units;
        fits.then(|| self.address(stripe, ring, position))
    }

    /// Where the record of a slot lies, unless its ring ends before it has `units` behind it.
    ///
    /// Which ring it is, nobody can predict, and a misprediction would wait for the bucket to come from memory. So it is
    /// computed, with units from the start of the stripe's arena on; the mask of the small ring is part of the main
    /// ring's, which is larger.
    #[inline(always)]
    pub(crate) fn place_of(&self, stripe: u32, slot: Slot, units: u64) -> Option<Place> {
        let Geometry { small, main, .. } = &self.geometry;
        let is_main = slot.main_mask();
        let start = (slot.0 & (small.mask | is_main & main.mask)) + (is_main & small.units);
        let end = small.units + (is_main & main.units);
        // Said once to be a multiple of eight, it need not be made one at each use.
        let at = (self.geometry.arena(stripe) & !7) + start * 8;
        (start + units <= end).then(|| Place { at, left: end - start })
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

    pub(crate) fn extension(&self, at: u64, head: Head) -> Extension {
        if !head.is_extended() {
            return Extension::default();
        }
        let words = self.mem.words::<3>(at + RECORD_LEN);
        Extension { soft_expiry: words.get(0), created: words.get(1), flags: words.get(2) }
    }

    /// The epochs of the whole cache.
    #[inline]
    pub(crate) fn epochs(&self) -> Epochs {
        Epochs(self.mem.state().get(STATE_EPOCHS))
    }

    /// Raises the epochs of a region, or of the whole cache: region 0. `false`: they are used up, or records may carry
    /// epochs from before a crash that the file has lost, or the word never stands still; then what is meant must be
    /// removed, stripe by stripe.
    pub(crate) fn raise_epoch(&self, region: u16, how: Invalidation) -> bool {
        let word = self.epochs_word(region);
        // Nothing else is handed over with the epochs: that whoever hears of the invalidation sees this word or a later one
        // is what a single word promises.
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

    /// Whether a record has been cleared or invalidated since it was written.
    #[inline(always)]
    pub(crate) fn is_cleared(&self, at: u64, head: Head) -> bool {
        head.epoch() < self.epochs().hard() || (head.is_extended() && self.is_region_cleared(at, head))
    }

    #[cold]
    fn is_region_cleared(&self, at: u64, head: Head) -> bool {
        self.is_hidden_by(self.extension(at, head), true)
    }

    /// Whether a reader must not see a record: it was cleared, or says that there is no value and the reader, as
    /// most, wants one.
    #[inline(always)]
    pub(crate) fn is_hidden(&self, at: u64, head: Head, sees_absence: bool) -> bool {
        head.epoch() < self.epochs().hard() || (head.is_extended() && self.is_extension_hidden(at, head, sees_absence))
    }

    #[cold]
    fn is_extension_hidden(&self, at: u64, head: Head, sees_absence: bool) -> bool {
        self.is_hidden_by(self.extension(at, head), sees_absence)
    }

    /// The same of an extension that was loaded.
    fn is_hidden_by(&self, extension: Extension, sees_absence: bool) -> bool {
        extension.region_epoch() < self.region_epochs(extension.region()).hard()
            || (!sees_absence && extension.is_absence())
    }

    /// Whether a record is older than the last soft invalidation of the cache or of its region.
    pub(crate) fn is_outdated(&self, head: Head, extension: Extension) -> bool {
        head.epoch() < self.epochs().soft() || extension.region_epoch() < self.region_epochs(extension.region()).soft()
    }

    /// A word of a stripe's head.
    #[inline]
    pub(crate) fn stripe_word(&self, stripe: u32, field: u64) -> Word<'_> {
        self.mem.word(self.geometry.stripe(stripe) + field)
    }

    /// Not 0 if the header says anything that a read must look into: that the file was replaced, or that a crash lies
    /// behind and a stripe is not trusted yet.
    #[inline(always)]
    pub(crate) fn unsettled(&self) -> u64 {
        let state = self.mem.state();
        state.get(STATE_REPLACED) | state.get(STATE_UNVERIFIED)
    }

    /// How far a stripe's bytes can be trusted.
    #[inline]
    pub(crate) fn distrust(&self, stripe: u32) -> Distrust {
        if self.mem.state().get(STATE_UNVERIFIED) == 0 {
            return Distrust::None;
        }
        match self.stripe_word(stripe, at!(Stripe.verify_me)).load(Ordering::Relaxed) {
            0 => Distrust::None,
            1 => Distrust::Verify,
            _ => Distrust::Discard,
        }
    }
}
