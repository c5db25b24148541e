//! Memory that other processes change while this one uses it: words, and copies that race with writers.
//!
//! All other code sees shared memory only through [`Memory`]. Loads and stores access atomic words; each store names
//! its [`Step`], so every store is a crash point. There are two memories: the mapping of a file, and words on the heap,
//! on which the model checkers and Miri run the same engine.

use super::atomics::{AtomicU64, Ordering};
use super::layout::STATE_AT;
#[cfg(all(test, not(loom)))]
use super::reorder::barrier;
use super::step::{Step, loading, reached};

/// Only tests of deaths observe the barriers between stores.
#[cfg(not(all(test, not(loom))))]
#[inline(always)]
fn barrier(_: Ordering) {}

/// A word of shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a>(pub(super) &'a AtomicU64);

impl Word<'_> {
    #[inline]
    pub(crate) fn load(self, order: Ordering) -> u64 {
        loading();
        self.0.load(order)
    }

    /// A relaxed load: its order comes from the stripe's lock, or from a fence and a version check.
    #[inline]
    pub(crate) fn get(self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn store(self, step: Step, value: u64, order: Ordering) {
        reached(step);
        barrier(order);
        self.0.store(value, order);
    }

    /// A relaxed store: its order comes from elsewhere, such as a lock or a fence.
    #[inline]
    pub(crate) fn set(self, step: Step, value: u64) {
        self.store(step, value, Ordering::Relaxed);
    }

    /// Adds to a word that only the caller writes, by a load and a store: no locked instruction.
    #[inline]
    pub(crate) fn bump(self, step: Step, by: u64) {
        self.set(step, self.get().wrapping_add(by));
    }

    #[inline]
    pub(crate) fn fetch_add(self, step: Step, by: u64) -> u64 {
        reached(step);
        self.0.fetch_add(by, Ordering::Relaxed)
    }

    /// Adds 1 with release ordering: a thread that acquires the new value sees all stores before it. Returns the old
    /// value. The addition wraps.
    pub(crate) fn announce(self, step: Step) -> u64 {
        reached(step);
        self.0.fetch_add(1, Ordering::Release)
    }

    /// Raises a word that never falls; returns what it held before.
    #[inline]
    pub(crate) fn raise(self, step: Step, value: u64, order: Ordering) -> u64 {
        reached(step);
        barrier(order);
        self.0.fetch_max(value, order)
    }

    #[inline]
    pub(crate) fn compare_exchange(self, step: Step, old: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        reached(step);
        barrier(order);
        let before = self.0.compare_exchange(old, new, order, Ordering::Relaxed);
        // No later access is executed before an acquiring exchange either.
        barrier(order);
        before
    }
}

/// `N` consecutive words of shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a, const N: usize>(pub(super) &'a [AtomicU64; N]);

impl<'a, const N: usize> Words<'a, N> {
    #[inline]
    pub(crate) fn at(self, i: usize) -> Word<'a> {
        Word(&self.0[i])
    }

    /// A relaxed load: see [`Word::get`].
    #[inline]
    pub(crate) fn get(self, i: usize) -> u64 {
        self.at(i).get()
    }
}

/// Consecutive words of shared memory, as many as the caller asked for.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a>(pub(super) &'a [AtomicU64]);

impl<'a> Row<'a> {
    /// A row of private words in place of shared ones.
    pub(crate) fn of(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// A relaxed load: see [`Word::get`].
    #[inline(always)]
    pub(crate) fn get(self, i: usize) -> u64 {
        Word(&self.0[i]).get()
    }

    /// The words from `first` on.
    #[inline(always)]
    pub(crate) fn starting_at(self, first: usize) -> Self {
        Self(&self.0[first..])
    }

    /// How many words there are.
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// The first words, of which there are at least `len`.
    pub(crate) fn first(self, len: usize) -> Self {
        Self(&self.0[..len])
    }

    /// Whether the words from `first` on hold `bytes`, the last word padded with zeros.
    #[inline(always)]
    pub(crate) fn holds(self, first: usize, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks::<8>();
        let own = &self.0[first..];
        own.len() >= words.len() + usize::from(!rest.is_empty())
            && words.iter().zip(own).all(|(&bytes, own)| Word(own).get() == u64::from_le_bytes(bytes))
            && (rest.is_empty() || Word(&own[words.len()]).get() == word_of(rest))
    }
}

/// Shared memory: a run of words, and byte copies in and out of it.
///
/// Offsets are in bytes, divisible by eight, and lie within the memory: the engine computes them from a
/// [`Geometry`](super::Geometry) that was proven to fit. An offset that does not is a bug in this crate, and panics
/// here.
pub(crate) trait Memory: Send + Sync {
    /// Consecutive words, with one check of the offset for all of them.
    fn row(&self, offset: u64, words: usize) -> Row<'_>;

    /// [`row`](Self::row) of a length that the type gives.
    #[inline(always)]
    fn words<const N: usize>(&self, offset: u64) -> Words<'_, N> {
        match self.row(offset, N).0.first_chunk() {
            Some(words) => Words(words),
            None => unreachable!("a row has as many words as were asked for"),
        }
    }

    #[inline]
    fn word(&self, offset: u64) -> Word<'_> {
        Word(&self.words::<1>(offset).0[0])
    }

    /// The header's state line, which every operation reads.
    #[inline(always)]
    fn state(&self) -> Words<'_, 8> {
        self.words(STATE_AT)
    }

    /// A mask of the words that have `pattern` in their bits from 51 up, one bit per word. There is no branch per word:
    /// the processor cannot predict which word matches, and after a misprediction it would wait for the cache line from
    /// memory.
    #[inline(always)]
    fn matching(words: Words<'_, 8>, pattern: u64) -> u32 {
        (0..8).fold(0, |bits, i| bits | u32::from(words.get(i) >> 51 == pattern) << i)
    }

    /// Syncs a changed range to the device, if there is one.
    fn sync(&self, _offset: u64, _len: u64) -> std::io::Result<()> {
        Ok(())
    }

    /// Wakes all threads, of any process, that sleep on the word at `offset`.
    fn wake(&self, _offset: u64) {}

    /// Prefetches the cache line at `offset`.
    fn prefetch(&self, _offset: u64) {}

    /// Copies bytes out while others may write them. Afterwards the caller must check that no writer came in between.
    #[inline]
    fn copy_out(&self, offset: u64, into: &mut [u8]) {
        let mut at = offset;
        let mut chunks = into.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.word(at).get().to_le_bytes());
            at += 8;
        }
        let rest = chunks.into_remainder();
        if !rest.is_empty() {
            let word = self.word(at).get().to_le_bytes();
            rest.copy_from_slice(&word[..rest.len()]);
        }
    }

    /// [`copy_out`](Memory::copy_out) of `len` bytes to the end of a vector.
    #[inline]
    fn append_out(&self, offset: u64, len: usize, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + len, 0);
        self.copy_out(offset, &mut into[start..]);
    }

    /// Copies bytes in; the last word is padded with zeros.
    #[inline]
    fn copy_in(&self, step: Step, offset: u64, from: &[u8]) {
        let mut at = offset;
        let chunks = from.chunks_exact(8);
        let rest = chunks.remainder();
        for chunk in chunks {
            self.word(at).set(step, word_of(chunk));
            at += 8;
        }
        if !rest.is_empty() {
            self.word(at).set(step, word_of(rest));
        }
    }
}

/// Up to eight bytes as a little-endian word, padded with zeros.
#[inline]
pub(crate) fn word_of(bytes: &[u8]) -> u64 {
    if let Ok(bytes) = bytes.try_into() {
        return u64::from_le_bytes(bytes);
    }
    // Byte by byte, since a copy of unknown length would be a function call.
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Shared memory on the heap, for models and tests: runs of words at the offsets they would have in a file.
#[cfg(any(test, loom))]
pub(crate) struct Heap(Vec<(u64, Vec<AtomicU64>)>);

#[cfg(any(test, loom))]
impl Heap {
    /// A memory with these parts of a file, each an offset and a length in bytes, filled with zeros.
    pub(crate) fn of_parts(parts: &[(u64, u64)]) -> Self {
        let words = |len: u64| (0..len.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
        Self(parts.iter().map(|&(start, len)| (start, words(len))).collect())
    }
}

#[cfg(all(test, not(loom)))]
impl Heap {
    /// The values of all words.
    pub(crate) fn contents(&self) -> Vec<u64> {
        self.0.iter().flat_map(|(_, words)| words).map(|word| word.load(Ordering::Relaxed)).collect()
    }

    /// Restores words that changed since `contents` were taken: each one for which `is_lost` returns `true`.
    pub(crate) fn take_back(&self, contents: &[u64], mut is_lost: impl FnMut() -> bool) {
        for (word, &old) in self.0.iter().flat_map(|(_, words)| words).zip(contents) {
            if word.load(Ordering::Relaxed) != old && is_lost() {
                word.store(old, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
impl Memory for std::sync::Arc<Heap> {
    fn row(&self, offset: u64, words: usize) -> Row<'_> {
        (**self).row(offset, words)
    }
}

#[cfg(any(test, loom))]
impl Memory for Heap {
    fn row(&self, offset: u64, words: usize) -> Row<'_> {
        assert_eq!(offset % 8, 0);
        let part = self.0.iter().rev().find(|(start, _)| *start <= offset);
        let (start, part) = part.expect("no part begins before this offset");
        let first = ((offset - start) / 8) as usize;
        Row(&part[first..first + words])
    }
}
