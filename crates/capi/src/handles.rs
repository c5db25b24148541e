//! The claims, locks, requests and listings of this process, as numbers.
//!
//! A number names a place in a table and how often the place was used, so it is never given twice: a claim that is ended
//! twice is an error, not a crash. There is no lock here. A child that was forked while another thread of its parent was
//! in the middle of a function loses that one place, and goes on.

use crate::border::Failure;
use engine::{Claim, ClaimRequest, Entries, KeyLock};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

const PLACE_BITS: u32 = 12;
const PLACES: usize = 1 << PLACE_BITS;
const KIND_BITS: u32 = 2;
/// The states of a place, in the lowest bits of its word.
const STATE_BITS: u32 = 2;
const FREE: u64 = 0;
/// A thread fills or empties the place, or uses what is there.
const BUSY: u64 = 1;
const FULL: u64 = 2;

/// What a number stands for.
pub(crate) enum Held {
    Claim(Claim),
    Lock(KeyLock),
    Request(Box<ClaimRequest>),
    List(Box<Listing>),
}

/// The items that are still to be listed, and what their keys begin with.
pub(crate) struct Listing {
    pub(crate) entries: Entries,
    pub(crate) prefix: Vec<u8>,
}

/// The kind of a number. A number of another kind is a wrong one.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    List = 0,
    Claim = 1,
    Lock = 2,
    Request = 3,
}

struct Place {
    /// How often the place was used, the kind, and the state.
    word: AtomicU64,
    held: AtomicPtr<Held>,
}

static TABLE: [Place; PLACES] =
    [const { Place { word: AtomicU64::new(FREE), held: AtomicPtr::new(ptr::null_mut()) } }; PLACES];

/// A place that this thread alone uses. Dropping it frees the place.
pub(crate) struct Own {
    place: usize,
    /// Uses and kind.
    name: u64,
}

impl Own {
    /// Takes a free place.
    pub(crate) fn reserve(kind: Kind) -> Result<Self, Failure> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let first = NEXT.fetch_add(1, Ordering::Relaxed);
        for place in (0..PLACES).map(|i| (first.wrapping_add(i)) % PLACES) {
            let word = TABLE[place].word.load(Ordering::Relaxed);
            if word & ((1 << STATE_BITS) - 1) != FREE {
                continue;
            }
            let uses = (word >> (STATE_BITS + KIND_BITS)) + 1;
            let name = uses << KIND_BITS | kind as u64;
            // With Acquire: what the last user did to the place is done.
            let taken = TABLE[place].word.compare_exchange(
                word,
                name << STATE_BITS | BUSY,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                return Ok(Self { place, name });
            }
        }
        Err(Failure::NoHandle)
    }

    /// Takes the place of a number.
    pub(crate) fn take(number: u64, kind: Kind) -> Result<(Self, Held), Failure> {
        const WRONG: Failure =
            Failure::BadHandle("there is no such claim, lock, request or listing: it has ended, or never was");
        let (place, name) = (number as usize % PLACES, number >> PLACE_BITS);
        if name & ((1 << KIND_BITS) - 1) != kind as u64 || name >> (64 - STATE_BITS) != 0 {
            return Err(WRONG);
        }
        let (full, busy) = (name << STATE_BITS | FULL, name << STATE_BITS | BUSY);
        // With Acquire: what the place holds was stored before its word.
        let taken = TABLE[place].word.compare_exchange(full, busy, Ordering::Acquire, Ordering::Relaxed);
        let own = taken.map(|_| Self { place, name }).map_err(|_| WRONG)?;
        let held = TABLE[place].held.swap(ptr::null_mut(), Ordering::Relaxed);
        if held.is_null() {
            return Err(WRONG);
        }
        // SAFETY: a box that `fill` stored, and that the exchange of the word gave to this thread alone.
        let held = unsafe { Box::from_raw(held) };
        Ok((own, *held))
    }

    /// Fills the place, and returns its number.
    pub(crate) fn fill(self, held: Held) -> u64 {
        let (place, name) = (self.place, self.name);
        std::mem::forget(self);
        TABLE[place].held.store(Box::into_raw(Box::new(held)), Ordering::Relaxed);
        TABLE[place].word.store(name << STATE_BITS | FULL, Ordering::Release);
        name << PLACE_BITS | place as u64
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        TABLE[self.place].word.store(self.name << STATE_BITS | FREE, Ordering::Release);
    }
}
