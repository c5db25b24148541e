//! Reading, storing and removing many values by one call.

use crate::border::{Answer, Failure, NONE, OK, Out, bad_option, bytes, cache, guarded};
use crate::memory::Malloc;
use crate::structs::{self, Bytes, Entry, ItemsOut, Pair, StoreOptions};
use engine::{Cache, Error, Values};
use std::ffi::{c_char, c_int};
use std::ptr;

/// An array of the caller that is filled, each element cleared first.
struct Outs<T> {
    at: *mut T,
    count: usize,
}

impl<T: Copy> Outs<T> {
    /// # Safety
    /// NULL, or `count` places for a `T`, for as long as the call runs.
    unsafe fn cleared(at: *mut T, count: usize, nothing: T) -> Self {
        let outs = Self { at, count };
        (0..count).for_each(|i| outs.set(i, nothing));
        outs
    }

    fn set(&self, i: usize, value: T) {
        if !self.at.is_null() && i < self.count {
            // SAFETY: one of the places, as `cleared` asks for.
            unsafe { self.at.wrapping_add(i).write(value) }
        }
    }
}

/// The values of many keys, in one piece of new memory.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_get_multi(
    k: *const Cache,
    keys: *const Bytes,
    count: usize,
    values: *mut *mut c_char,
    items: *mut Entry,
    memory: *mut *mut c_char,
) -> c_int {
    // SAFETY: NULL, or places for as many pointers.
    let values = unsafe { Outs::cleared(values, count, ptr::null_mut()) };
    // SAFETY: NULL, or as many structs that begin with their size.
    let items = unsafe { ItemsOut::cleared(items, count) };
    // SAFETY: NULL, or a place for a pointer.
    let memory = unsafe { Out::cleared(memory, ptr::null_mut()) };
    guarded(|| {
        memory.required("memory")?;
        if values.at.is_null() && count > 0 {
            return Err(bad_option("values", "NULL", "a pointer"));
        }
        items.checked()?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's keys.
        let keys = unsafe { structs::names("keys", keys, count) }?;
        let mut copied = Values::new();
        let found = cache.try_get_items_into(&keys, &mut copied)?;
        // Each value has a zero byte behind it.
        let needed: usize = found.iter().flatten().map(|item| item.value + 1).sum();
        if needed == 0 {
            return Ok(NONE);
        }
        let mut made = Malloc::room(needed);
        if made.is_none() {
            return Err(Error::NoMemory { needed }.into());
        }
        let mut rest = made.as_mut();
        for (i, (item, value)) in found.iter().zip(copied.iter()).enumerate() {
            let (Some(item), Some(value)) = (item, value) else { continue };
            let (place, others) = std::mem::take(&mut rest).split_at_mut(value.len() + 1);
            place[..value.len()].copy_from_slice(value);
            items.of(i).set(item, value.len());
            values.set(i, place.as_mut_ptr().cast());
            rest = others;
        }
        memory.set(made.into_raw());
        Ok(OK)
    })
}

/// Stores many values.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_set_multi(
    k: *const Cache,
    pairs: *const Pair,
    count: usize,
    how: *const StoreOptions,
    results: *mut c_int,
) -> c_int {
    // SAFETY: NULL, or places for as many results.
    let results = unsafe { Outs::cleared(results, count, NONE) };
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: NULL, or a struct that begins with its size.
        let how = unsafe { structs::read(how) }?;
        // SAFETY: the caller's tags.
        let options = unsafe { how.for_engine() }?;
        // SAFETY: the caller's pairs.
        let pairs = unsafe { structs::array("pairs", pairs, count) }?;
        pairs.iter().try_for_each(|pair| structs::known_bits(pair.reserved, 0))?;
        let parts = |pair: &Pair| {
            // SAFETY: the caller's key.
            let key = unsafe { bytes("key", pair.key, pair.n) }?;
            // SAFETY: the caller's value.
            Ok((key, unsafe { bytes("value", pair.value, pair.len) }?))
        };
        let given = pairs.iter().map(parts).collect::<Result<Vec<_>, Failure>>()?;
        let (mut stored, mut outcome) = (0, Ok(OK));
        // Pairs of the same flags in a row go to the cache together, so that of several values of a key the last one wins.
        for run in pairs.chunk_by(|a, b| a.flags == b.flags) {
            let flags = if run[0].flags == 0 { how.flags } else { run[0].flags };
            let of_run = &given[stored..stored + run.len()];
            for written in cache.set_multi(of_run, &options.flags(flags)) {
                note(&results, stored, written.map(|()| OK), &mut outcome);
                stored += 1;
            }
        }
        outcome
    })
}

/// Removes many keys.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_delete_multi(
    k: *const Cache,
    keys: *const Bytes,
    count: usize,
    results: *mut c_int,
) -> c_int {
    // SAFETY: NULL, or places for as many results.
    let results = unsafe { Outs::cleared(results, count, NONE) };
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's keys.
        let keys = unsafe { structs::names("keys", keys, count) }?;
        let mut outcome = Ok(NONE);
        for (i, deleted) in cache.delete_multi(&keys).into_iter().enumerate() {
            let result = deleted.map(|had| if had { OK } else { NONE });
            if let (Ok(OK), Ok(all)) = (&result, &mut outcome) {
                *all = OK;
            }
            note(&results, i, result, &mut outcome);
        }
        outcome
    })
}

/// Tells the result of one element. The first error is that of the whole call.
fn note(results: &Outs<c_int>, i: usize, result: engine::Result<c_int>, outcome: &mut Answer) {
    match result {
        Ok(result) => results.set(i, result),
        Err(error) => {
            results.set(i, -c_int::from(error.code().number()));
            if outcome.is_ok() {
                *outcome = Err(error.into());
            }
        }
    }
}
