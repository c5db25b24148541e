//! The mapping of a cache file. No other source file touches mapped memory.
//!
//! Other processes write this memory while this one reads it, so it is never borrowed as bytes or structs. It is
//! accessed as atomic words, and copied by relaxed word accesses or by an assembly block, to whose races the rules of
//! the language do not apply. If another program truncates a mapped file, SIGBUS ends the processes that use it; the
//! documents say so.
#![allow(unsafe_code, reason = "only unsafe code can access mapped memory; each block states why it is sound")]

use super::atomics::AtomicU64;
use super::layout::{HEADER_LEN, STATE_AT};
use super::memory::{Memory, Row, Word, Words, word_of};
use super::step::{Step, loading, reached, synced};
use crate::platform;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Length of a header in words.
const HEADER_WORDS: usize = HEADER_LEN as usize / 8;

/// A whole cache file in the address space, readable, and writable unless it was mapped read-only.
pub(crate) struct Mapping {
    map: MmapRaw,
    /// Its length in words: at least that of a header.
    words: usize,
}

impl Mapping {
    /// Maps the first `len` bytes of `file`, shared with all other mappings of them.
    pub(crate) fn new(file: &File, len: u64, writable: bool) -> io::Result<Self> {
        let size = usize::try_from(len).map_err(io::Error::other)?;
        let mut options = MmapOptions::new();
        options.len(size);
        let map = if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? };
        if len < HEADER_LEN {
            return Err(io::Error::other("a mapping is at least a header long"));
        }
        Ok(Self { map, words: size / 8 })
    }

    /// Makes every page present before its first use: writable where the system has a call for that; elsewhere by
    /// reading a word of each page.
    pub(crate) fn prefault(&self) -> io::Result<()> {
        if !platform::prefault(&self.map)? {
            (0..self.words as u64 * 8).step_by(4096).for_each(|page| {
                self.word(page).get();
            });
        }
        Ok(())
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

#[cold]
#[inline(never)]
fn outside(offset: u64, words: usize, mapped: usize) -> ! {
    unreachable!("{words} words at offset {offset} of a mapping of {mapped}: offsets come from a proven geometry")
}

impl Memory for Mapping {
    /// The offset is rounded down to a word: an unaligned offset is a bug in this crate, but must not become a
    /// misaligned access.
    #[inline(always)]
    fn row(&self, offset: u64, words: usize) -> Row<'_> {
        debug_assert_eq!(offset % 8, 0);
        // Every mapping is at least a header long, so for a number known at compile time this is one comparison.
        if (words > HEADER_WORDS && words > self.words) || offset / 8 > (self.words - words) as u64 {
            outside(offset, words, self.words);
        }
        // SAFETY: the range was just proven to lie within the mapping, which is `self.words` words long.
        let at = unsafe { self.map.as_ptr().cast::<AtomicU64>().add((offset / 8) as usize) };
        // SAFETY: `at` is the address of `words` words within a mapping that lives as long as `self`. It is aligned,
        // since a mapping starts at a page. Every process accesses these words atomically.
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

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn prefetch(&self, offset: u64) {
        prefetch(self.map.as_ptr().wrapping_add(offset as usize));
    }

    #[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
    #[inline(always)]
    fn copy_out(&self, offset: u64, into: &mut [u8]) {
        let from = self.row(offset, into.len().div_ceil(8));
        if into.len() < vectors::COPY_OUT_FROM {
            return from.copy_out(into);
        }
        loading();
        // SAFETY: both ranges are valid for `into.len()` bytes.
        unsafe { vectors::copy_out(from.0.as_ptr().cast(), into.as_mut_ptr(), into.len()) };
    }

    #[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
    #[inline]
    fn append_out(&self, offset: u64, len: usize, into: &mut Vec<u8>) {
        let from = self.row(offset, len.div_ceil(8));
        if len < vectors::COPY_OUT_FROM {
            let mut bytes = [0; vectors::COPY_OUT_FROM];
            from.copy_out(&mut bytes[..len]);
            return into.extend_from_slice(&bytes[..len]);
        }
        loading();
        into.reserve(len);
        let to = into.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: `reserve` made room for `len` bytes at `to`, and the source is as long.
        unsafe { vectors::copy_out(from.0.as_ptr().cast(), to, len) };
        // SAFETY: the `len` bytes behind the old length have just been written.
        unsafe { into.set_len(into.len() + len) };
    }

    #[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
    #[inline]
    fn copy_in(&self, step: Step, offset: u64, from: &[u8]) {
        let to = self.row(offset, from.len().div_ceil(8));
        let vector = if from.len() < vectors::COPY_IN_FROM { 0 } else { from.len() & !63 };
        reached(step);
        if vector > 0 {
            // SAFETY: `vector` bytes fit both ranges; the mapping is writable, since the caller holds a lock.
            unsafe { vectors::copy_blocks(from.as_ptr(), to.0.as_ptr().cast_mut().cast(), vector) };
            // A second crash point: only the first part of the record is written.
            reached(step);
        }
        for (word, bytes) in to.0[vector / 8..].iter().zip(from[vector..].chunks(8)) {
            word.store(word_of(bytes), Relaxed);
        }
    }
}

/// Prefetches the cache line at an address.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch never faults, whatever its address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

/// Copies through vector registers. On other processors, and where a tool must see each access, [`Memory`] copies word
/// by word.
#[cfg(all(target_arch = "x86_64", not(any(miri, kennel_tsan))))]
mod vectors {
    use super::prefetch;
    use std::arch::asm;

    /// Copies into the mapping of at least this length go through vector registers.
    pub(super) const COPY_IN_FROM: usize = 64;

    /// Copies out of the mapping of at least this length go through vector registers.
    pub(super) const COPY_OUT_FROM: usize = 16;

    /// Copies out of at least this length are one string instruction. It measured as fast as the processor's widest
    /// vector registers, and needs no detection of what these are.
    const STRING_FROM: usize = 1024;

    /// How many bytes of a copy by a string instruction are prefetched before it starts. Without this the processor
    /// fetches a few lines at a time, and starts again at each page.
    const AHEAD: usize = 4096;

    /// Copies 16 bytes or more out of memory that others may be writing. The last registers hold the last bytes and may
    /// overlap the ones before, so no length needs a tail.
    ///
    /// The blocks are opaque to the compiler and not marked `nomem`, so they stay between the fences around them. A
    /// load may be torn anywhere; the version check detects that like any other mixture of old and new bytes.
    ///
    /// # Safety
    /// `from` must be readable and `to` writable for `len` bytes, which must be 16 or more.
    #[inline(always)]
    pub(super) unsafe fn copy_out(from: *const u8, to: *mut u8, len: usize) {
        if len <= 32 {
            // SAFETY: as the caller promises, with at most 32 bytes.
            unsafe { copy_out_two(from, to, len) };
            return;
        }
        if len >= STRING_FROM {
            (0..len.min(AHEAD)).step_by(64).for_each(|line| prefetch(from.wrapping_add(line)));
            // SAFETY: both ranges are valid for `len` bytes; the direction flag is clear between functions.
            unsafe {
                asm!(
                    "rep movsb",
                    inout("rsi") from => _,
                    inout("rdi") to => _,
                    inout("rcx") len => _,
                    options(nostack, preserves_flags),
                );
            }
            return;
        }
        let (mut from, mut to, mut len) = (from, to, len);
        if len > 64 {
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
            asm!(
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

    /// [`copy_out`] for at most 32 bytes.
    ///
    /// # Safety
    /// `from` must be readable and `to` writable for `len` bytes, which must be 16 to 32.
    #[inline(always)]
    unsafe fn copy_out_two(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: 16 bytes from the start and 16 up to the end, both within `len`.
        unsafe {
            asm!(
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

    /// Copies a multiple of 64 bytes through vector registers. One side is shared, the other private.
    ///
    /// The block is opaque to the compiler and not marked `nomem`, so it stays between the fences around it. Each
    /// 8-byte word is read or written whole, since wide vector moves do not split a word on any x86-64 that we know;
    /// the version check would detect a torn word like any other mixture of old and new bytes.
    ///
    /// # Safety
    /// Both ranges must be valid for `len` bytes.
    #[inline(always)]
    pub(super) unsafe fn copy_blocks(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: the loop touches `len / 64` blocks of 64 bytes from both addresses on, and nothing else.
        unsafe {
            asm!(
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_every_length_come_back() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let map = Mapping::new(&file, 8192, true).unwrap();
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
        let map = Mapping::new(&file, 8192, true).unwrap();
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
        let map = Mapping::new(&file, 4096, true).unwrap();
        (0..100).for_each(|i| map.word(i * 8).set(Step::Header, u64::MAX));
        map.copy_in(Step::RecordBody, 0, &[0; 301]);
        assert_eq!(map.word(37 * 8).get(), 0);
        assert_eq!(map.word(38 * 8).get(), u64::MAX);
    }
}
