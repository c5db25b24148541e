//! The mapping of a cache file. No other source file touches mapped memory.
//!
//! Other processes write this memory while this one reads it, so it is never borrowed as bytes or structs. It is
//! accessed as atomic words, and copied by relaxed word accesses or by an assembly block, which the language's rules on
//! data races do not cover. If another program truncates a mapped file, SIGBUS ends the processes that use it; the
//! documentation says so.
#![allow(unsafe_code, reason = "only unsafe code can access mapped memory; each block states why it is sound")]

use super::atomics::AtomicU64;
use super::layout::{HEADER_LEN, STATE_AT};
use super::memory::{Memory, Row, Word, Words, word_of};
use super::step::{Step, loading, reached, synced};
use crate::platform::{self, Mapped, Pages};
use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Copies of at least this length go through vector registers.
const VECTOR_FROM: usize = 64;

/// Copies out of the mapping of at least this length are one string instruction. In measurements it was as fast as the
/// widest vector registers of the processor, and it needs no detection of their width.
#[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
const STRING_FROM: usize = 1024;
/// How many bytes of a copy by a string instruction are prefetched before it starts. Without this the processor fetches
/// a few lines at a time, and starts again at each page.
#[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
const AHEAD: usize = 4096;

/// A whole cache file in the address space, readable, and writable unless it was mapped read-only.
pub(crate) struct Mapping {
    map: Mapped,
    len: u64,
    /// The last offset at which `HEADER_LEN` bytes still fit.
    last: u64,
}

impl Mapping {
    /// Maps the first `len` bytes of `file`, shared with all other mappings of them.
    pub(crate) fn new(file: &File, len: u64, writable: bool, pages: Pages) -> io::Result<Self> {
        if len < HEADER_LEN {
            return Err(io::Error::other("a mapping is at least a header long"));
        }
        let size = usize::try_from(len).map_err(io::Error::other)?;
        Ok(Self { map: Mapped::new(file, size, writable, pages)?, len, last: len - HEADER_LEN })
    }

    /// Makes every page present before its first use: writable where the system has a call for that; elsewhere by
    /// reading a word of each page.
    pub(crate) fn prefault(&self) -> io::Result<()> {
        if !self.map.prefault()? {
            (0..self.len).step_by(4096).for_each(|page| {
                self.word(page).get();
            });
        }
        Ok(())
    }

    /// Gives large pages, as far as that succeeds, to a new file that lies in memory and has its length but no pages
    /// yet. `collapse` allows this at the cost of a copy of each page. Where it fails, the pages stay small.
    pub(crate) fn take_large_pages(&self, file: &File, collapse: bool) {
        let _ = self.map.take_large_pages(file, collapse);
    }

    /// Gathers the small pages of a file that lies in memory into large ones, as far as that succeeds.
    pub(crate) fn collapse(&self) {
        let _ = self.map.collapse();
    }

    /// How many bytes of the file are in memory and mapped by large pages; `None` if the system does not say.
    pub(crate) fn large_bytes(&self) -> Option<u64> {
        self.map.large_bytes(|at| {
            self.word(at as u64).get();
        })
    }

    /// The address of `len` bytes at `offset`, proven to lie within the mapping. It is rounded down to a word: an
    /// unaligned offset is a bug in this crate, but must not become a misaligned access.
    #[inline(always)]
    fn at(&self, offset: u64, len: u64) -> *const u8 {
        debug_assert_eq!(offset % 8, 0);
        // Nearly all ranges are short and do not begin in the last page. One comparison is enough for these, if the
        // length is known at compile time.
        if len > HEADER_LEN || offset > self.last {
            must_be_within(offset, len, self.len);
        }
        // SAFETY: the range was just proven to lie within the mapping, which is `self.len` bytes long.
        unsafe { self.map.as_ptr().add((offset & !7) as usize) }
    }
}

impl<'a> Word<'a> {
    /// The lower 32 bits, which the kernel compares before a thread sleeps. This program reads and writes only whole
    /// words.
    pub(crate) fn low_half(self) -> &'a AtomicU32 {
        let whole: *const AtomicU64 = self.0;
        // SAFETY: four of the eight bytes that the word borrows, aligned to eight; all access to them is atomic. On a
        // little-endian machine, which the format requires, they are the lower ones.
        unsafe { &*whole.cast::<AtomicU32>() }
    }
}

/// Panics unless a range lies within a mapping.
#[cold]
#[inline(never)]
fn must_be_within(offset: u64, len: u64, mapped: u64) {
    assert!(
        offset.checked_add(len).is_some_and(|end| end <= mapped),
        "{len} bytes at offset {offset} of a mapping of {mapped} bytes: offsets come from a proven geometry"
    );
}

impl Memory for Mapping {
    #[inline(always)]
    fn row(&self, offset: u64, words: usize) -> Row<'_> {
        let at = self.at(offset, words as u64 * 8).cast();
        // SAFETY: `at` is the address of `words` words within a mapping that lives as long as `self`. It is aligned,
        // since a mapping starts at a page and the address is rounded to a word. Every process accesses these words
        // atomically.
        Row(unsafe { std::slice::from_raw_parts(at, words) })
    }

    #[inline(always)]
    fn state(&self) -> Words<'_, 8> {
        // SAFETY: a mapping is at least a header long, and the line lies in the header.
        let at = unsafe { self.map.as_ptr().add(STATE_AT as usize) };
        // SAFETY: as in `row`.
        Words(unsafe { &*at.cast() })
    }

    #[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
    #[inline(always)]
    fn matching(words: Words<'_, 8>, pattern: u64) -> u32 {
        let mask: u32;
        // SAFETY: the block reads the 64 bytes that `words` borrows, and nothing else. Another process may be writing
        // them: each word's upper half comes from one load of 16 bytes, aligned to at least eight, and the version
        // check detects a word that is torn all the same.
        unsafe {
            std::arch::asm!(
                "movups {a}, [{at}]",
                "movups {b}, [{at} + 16]",
                "movups {c}, [{at} + 32]",
                "movups {d}, [{at} + 48]",
                // The upper halves of four words each, then their bits from 51 up.
                "shufps {a}, {b}, 0xdd",
                "shufps {c}, {d}, 0xdd",
                "psrld {a}, 19",
                "psrld {c}, 19",
                "movd {b}, {pattern:e}",
                "pshufd {b}, {b}, 0",
                "pcmpeqd {a}, {b}",
                "pcmpeqd {c}, {b}",
                "packssdw {a}, {c}",
                "packsswb {a}, {a}",
                "pmovmskb {mask:e}, {a}",
                at = in(reg) words.0.as_ptr(),
                pattern = in(reg) pattern,
                mask = lateout(reg) mask,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(readonly, nostack, preserves_flags),
            );
        }
        mask & 0xff
    }

    fn sync(&self, offset: u64, len: u64) -> io::Result<()> {
        self.map.flush_range(offset as usize, len as usize)?;
        synced(offset, len);
        Ok(())
    }

    fn wake(&self, offset: u64) {
        platform::wake_all(self.word(offset).low_half());
    }

    #[inline]
    fn prefetch(&self, offset: u64) {
        prefetch(self.map.as_ptr().wrapping_add(offset as usize));
    }

    #[inline(always)]
    fn copy_out(&self, offset: u64, into: &mut [u8]) {
        loading();
        let from = self.at(offset, into.len() as u64);
        // SAFETY: both ranges are `into.len()` bytes; `from` is mapped, aligned, and padded to a whole word.
        unsafe { copy_out(from, into.as_mut_ptr(), into.len()) };
    }

    #[inline]
    fn append_out(&self, offset: u64, len: usize, into: &mut Vec<u8>) {
        loading();
        let from = self.at(offset, len as u64);
        into.reserve(len);
        let to = into.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: `reserve` made room for `len` bytes at `to`; the source is as in `copy_out`.
        unsafe { copy_out(from, to, len) };
        // SAFETY: the `len` bytes behind the old length have just been written.
        unsafe { into.set_len(into.len() + len) };
    }

    #[inline]
    fn copy_in(&self, step: Step, offset: u64, from: &[u8]) {
        let to = self.at(offset, from.len().next_multiple_of(8) as u64).cast_mut();
        let vector = if from.len() < VECTOR_FROM { 0 } else { from.len() & !63 };
        reached(step);
        if vector > 0 {
            // SAFETY: `vector` bytes fit both ranges; the mapping is writable, since no call stores through a read-only
            // handle.
            unsafe { copy_blocks(from.as_ptr(), to, vector) };
            // A second crash point: only the first part of the record is written.
            reached(step);
        }
        for (i, chunk) in from[vector..].chunks(8).enumerate() {
            self.words::<1>(offset + (vector + i * 8) as u64).0[0].store(word_of(chunk), Relaxed);
        }
    }
}

/// Prefetches the cache line at an address, if the target has an instruction for that.
#[inline(always)]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults, whatever its address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Copies `len` bytes out of memory that others may be writing.
///
/// # Safety
/// `from` must be aligned to eight bytes and readable for `len` rounded up to eight, `to` writable for `len`.
#[inline(always)]
unsafe fn copy_out(from: *const u8, to: *mut u8, len: usize) {
    if len >= 16 {
        // SAFETY: both ranges are valid for `len` bytes.
        unsafe { copy_vectors(from, to, len) };
        return;
    }
    let mut done = 0;
    if len >= 8 {
        // SAFETY: the first word lies within the source.
        let word = unsafe { word_at(from) };
        // SAFETY: an unaligned store of a private word.
        unsafe { to.cast::<u64>().write_unaligned(word) };
        done = 8;
    }
    if len > done {
        // SAFETY: a word that starts below `len` lies within the source.
        let source = unsafe { from.add(done) };
        // SAFETY: as above.
        let word = unsafe { word_at(source) };
        for (i, byte) in word.to_le_bytes().into_iter().enumerate().take(len - done) {
            // SAFETY: within the target, since `done + i` is below `len`.
            let target = unsafe { to.add(done + i) };
            // SAFETY: as above.
            unsafe { target.write(byte) };
        }
    }
}

/// A word of memory that others may be writing.
///
/// # Safety
/// `at` must be aligned to eight bytes and readable for as many.
#[inline(always)]
unsafe fn word_at(at: *const u8) -> u64 {
    // SAFETY: aligned and readable; every access to it is atomic.
    unsafe { AtomicU64::from_ptr(at.cast_mut().cast()) }.load(Relaxed)
}

/// [`copy_vectors`] for at most 32 bytes.
///
/// # Safety
/// `from` must be readable and `to` writable for `len` bytes, which must be 16 to 32.
#[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
#[inline(always)]
unsafe fn copy_two_vectors(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: 16 bytes from the start and 16 up to the end, both within `len`.
    unsafe {
        std::arch::asm!(
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + {len} - 16]",
            "movdqu [{to}], {a}",
            "movdqu [{to} + {len} - 16], {b}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// [`copy_vectors`] by one string instruction.
///
/// # Safety
/// `from` must be readable and `to` writable for `len` bytes.
#[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
#[inline(always)]
unsafe fn copy_string(from: *const u8, to: *mut u8, len: usize) {
    (0..len.min(AHEAD)).step_by(64).for_each(|line| prefetch(from.wrapping_add(line)));
    // SAFETY: both ranges are valid for `len` bytes; the direction flag is clear between functions.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rsi") from => _,
            inout("rdi") to => _,
            inout("rcx") len => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies 16 bytes or more out of memory that others may be writing, through vector registers. The last registers hold
/// the last bytes and may overlap the ones before, so no length needs a tail.
///
/// The blocks are opaque to the compiler and not marked `nomem`, so they stay between the fences around them. A load
/// may be torn anywhere; the version check detects that like any other mixture of old and new bytes.
///
/// # Safety
/// `from` must be readable and `to` writable for `len` bytes, which must be 16 or more.
#[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
#[inline(always)]
unsafe fn copy_vectors(from: *const u8, to: *mut u8, len: usize) {
    if len <= 32 {
        // SAFETY: as the caller promises, with at most 32 bytes.
        unsafe { copy_two_vectors(from, to, len) };
        return;
    }
    let (mut from, mut to, mut len) = (from, to, len);
    if len > 64 {
        if len >= STRING_FROM {
            // SAFETY: as the caller promises.
            unsafe { copy_string(from, to, len) };
            return;
        }
        // SAFETY: a multiple of 64 other than 0, and less than `len`.
        unsafe { copy_blocks(from, to, (len - 1) & !63) };
        // SAFETY: `len` is more than 64.
        from = unsafe { from.add(len - 64) };
        // SAFETY: as above.
        to = unsafe { to.add(len - 64) };
        len = 64;
    }
    // SAFETY: 32 bytes from the start and 32 up to the end, all within `len`, which is more than 32.
    unsafe {
        std::arch::asm!(
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + 16]",
            "movdqu {c}, [{from} + {len} - 32]",
            "movdqu {d}, [{from} + {len} - 16]",
            "movdqu [{to}], {a}",
            "movdqu [{to} + 16], {b}",
            "movdqu [{to} + {len} - 32], {c}",
            "movdqu [{to} + {len} - 16], {d}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// The portable form of the vector copy: word by word.
///
/// # Safety
/// `from` must be aligned to eight bytes and readable for `len` rounded up to eight, `to` writable for `len` bytes,
/// which must be 16 or more.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, kennel_tsan)))))]
unsafe fn copy_vectors(from: *const u8, to: *mut u8, len: usize) {
    for at in (0..len).step_by(8) {
        // SAFETY: a word that starts below `len` lies within the source.
        let source = unsafe { from.add(at) };
        // SAFETY: as above, and aligned.
        let word = unsafe { word_at(source) }.to_le_bytes();
        // SAFETY: within the target, since `at` is below `len`.
        let target = unsafe { to.add(at) };
        // SAFETY: as many bytes as are left of `len`, at most eight, which `word` has.
        unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), target, (len - at).min(8)) };
    }
}

/// Copies a multiple of 64 bytes through vector registers. One side is shared, the other private.
///
/// The block is opaque to the compiler and not marked `nomem`, so it stays between the fences around it. Each 8-byte
/// word is read or written whole, since wide vector moves do not split a word on any x86-64 that we know; the version
/// check would detect a torn word like any other mixture of old and new bytes.
///
/// # Safety
/// Both ranges must be valid for `len` bytes.
#[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
#[inline(always)]
unsafe fn copy_blocks(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the loop touches `len / 64` blocks of 64 bytes from both addresses on, and nothing else.
    unsafe {
        std::arch::asm!(
            "2:",
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + 16]",
            "movdqu {c}, [{from} + 32]",
            "movdqu {d}, [{from} + 48]",
            "movdqu [{to}], {a}",
            "movdqu [{to} + 16], {b}",
            "movdqu [{to} + 32], {c}",
            "movdqu [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "sub {left}, 64",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) len => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// The portable form of the block copy: word by word.
///
/// # Safety
/// Both ranges must be valid for `len` bytes, and both addresses of a shared range aligned to eight.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, kennel_tsan)))))]
unsafe fn copy_blocks(from: *const u8, to: *mut u8, len: usize) {
    for at in (0..len).step_by(8) {
        // SAFETY: within the range.
        let source = unsafe { from.add(at) }.cast::<u64>();
        // SAFETY: within the range.
        let target = unsafe { to.add(at) }.cast::<u64>();
        let word = if source.is_aligned() {
            // SAFETY: aligned and within the range; the shared side is always aligned.
            unsafe { AtomicU64::from_ptr(source.cast_mut()) }.load(Relaxed)
        } else {
            // SAFETY: within the range; only a private side is not aligned.
            unsafe { source.read_unaligned() }
        };
        if target.is_aligned() {
            // SAFETY: as above.
            unsafe { AtomicU64::from_ptr(target) }.store(word, Relaxed);
        } else {
            // SAFETY: as above.
            unsafe { target.write_unaligned(word) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_every_length_come_back() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let map = Mapping::new(&file, 8192, true, Pages::Any).unwrap();
        for len in (0..600).chain([1000, 1023, 1024, 1025, 4095, 4096]) {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
            map.copy_in(Step::RecordBody, 64, &bytes);
            let mut back = vec![0; len];
            map.copy_out(64, &mut back);
            assert_eq!(back, bytes, "copy_out of {len}");
            let mut appended = b"before".to_vec();
            map.append_out(64, len, &mut appended);
            assert_eq!(&appended[6..], bytes, "append_out of {len}");
        }
    }

    #[test]
    fn words_are_matched_by_their_upper_bits() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let map = Mapping::new(&file, 8192, true, Pages::Any).unwrap();
        for pattern in [0, 1, 0x1fff, 0x1235] {
            for hits in 0..256u64 {
                for i in 0..8 {
                    let upper = if hits >> i & 1 == 1 { pattern } else { pattern ^ (1 << (i % 13)) };
                    map.word(128 + i * 8).set(Step::Slot, (upper << 51) | (hits << 20));
                }
                assert_eq!(u64::from(Mapping::matching(map.words(128), pattern)), hits);
            }
        }
    }

    #[test]
    fn a_copy_in_fills_its_last_word_with_zeros_and_leaves_the_next_alone() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let map = Mapping::new(&file, 4096, true, Pages::Any).unwrap();
        (0..100).for_each(|i| map.word(i * 8).set(Step::Header, u64::MAX));
        map.copy_in(Step::RecordBody, 0, &[0; 301]);
        assert_eq!(map.word(37 * 8).get(), 0);
        assert_eq!(map.word(38 * 8).get(), u64::MAX);
    }
}
