//! Numbers.

use crate::border::{Failure, NONE, OK, Out, bytes, cache, guarded};
use crate::structs::{self, StoreOptions};
use engine::{Cache, Error};
use std::ffi::{c_int, c_void};

/// Adds to a number, or subtracts from it.
///
/// # Safety
/// As `kennel.h` says.
unsafe fn changed(
    k: *const Cache,
    (key, n): (*const c_void, usize),
    number: *mut u64,
    change: impl FnOnce(&Cache, &[u8]) -> Result<Option<u64>, Failure>,
) -> c_int {
    // SAFETY: NULL, or a place for a number.
    let number = unsafe { Out::cleared(number, 0) };
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let Some(changed) = change(cache, unsafe { bytes("key", key, n) }?)? else { return Ok(NONE) };
        number.set(changed);
        Ok(OK)
    })
}

/// Adds to a number.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_incr(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    delta: u64,
    number: *mut u64,
) -> c_int {
    // SAFETY: as `kennel.h` says.
    unsafe { changed(k, (key, n), number, |cache, key| Ok(cache.incr(key, delta)?)) }
}

/// Subtracts from a number.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_decr(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    delta: u64,
    number: *mut u64,
) -> c_int {
    // SAFETY: as `kennel.h` says.
    unsafe { changed(k, (key, n), number, |cache, key| Ok(cache.decr(key, delta)?)) }
}

/// A change of a number that may begin.
type Begin = fn(&Cache, &[u8], u64, u64, &engine::SetOptions) -> Result<u64, Error>;

/// Changes a number, or begins it.
///
/// # Safety
/// As `kennel.h` says.
unsafe fn begun(
    k: *const Cache,
    key: (*const c_void, usize),
    (delta, initial): (u64, u64),
    how: *const StoreOptions,
    number: *mut u64,
    begin: Begin,
) -> c_int {
    let change = |cache: &Cache, key: &[u8]| {
        // SAFETY: NULL, or a struct that begins with its size.
        let how = unsafe { structs::read(how) }?;
        // SAFETY: the caller's tags.
        let how = unsafe { how.for_engine() }?;
        Ok(Some(begin(cache, key, delta, initial, &how)?))
    };
    // SAFETY: as `kennel.h` says.
    unsafe { changed(k, key, number, change) }
}

/// Adds to a number, or begins it.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_incr_or(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    delta: u64,
    initial: u64,
    how: *const StoreOptions,
    number: *mut u64,
) -> c_int {
    // SAFETY: as `kennel.h` says.
    unsafe { begun(k, (key, n), (delta, initial), how, number, |cache, key, d, i, how| cache.incr_or(key, d, i, how)) }
}

/// Subtracts from a number, or begins it.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_decr_or(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    delta: u64,
    initial: u64,
    how: *const StoreOptions,
    number: *mut u64,
) -> c_int {
    // SAFETY: as `kennel.h` says.
    unsafe { begun(k, (key, n), (delta, initial), how, number, |cache, key, d, i, how| cache.decr_or(key, d, i, how)) }
}
