//! Storing and removing values.

use crate::border::{Answer, NONE, OK, Out, bytes, cache, guarded};
use crate::cache::done;
use crate::structs::{self, StoreOptions};
use engine::{Cache, Expiry, SetOptions, Stamp, Swap};
use std::ffi::{c_int, c_void};

/// Stores a value.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_set(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    value: *const c_void,
    len: usize,
    ttl_ms: i64,
) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        // SAFETY: the caller's value.
        let value = unsafe { bytes("value", value, len) }?;
        match structs::ttl("ttl_ms", ttl_ms)? {
            None => cache.set(key, value)?,
            Some(expiry) => drop(cache.set_with(key, value, &SetOptions::new().expiry(expiry))?),
        }
        Ok(OK)
    })
}

/// Stores a value with options, and tells its stamp.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_set_with(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    value: *const c_void,
    len: usize,
    how: *const StoreOptions,
    stamp: *mut u64,
) -> c_int {
    // SAFETY: NULL, or a place for a stamp.
    let stamp = unsafe { Out::cleared(stamp, 0) };
    let store = |cache: &Cache, key: &[u8], value: &[u8], how: &SetOptions| {
        stamp.set(cache.set_with(key, value, how)?.0);
        Ok(OK)
    };
    // SAFETY: as `kennel.h` says.
    unsafe { stored(k, (key, n), (value, len), how, store) }
}

/// Checks what the caller gave and stores it.
///
/// # Safety
/// As `kennel.h` says.
unsafe fn stored(
    k: *const Cache,
    (key, n): (*const c_void, usize),
    (value, len): (*const c_void, usize),
    how: *const StoreOptions,
    store: impl FnOnce(&Cache, &[u8], &[u8], &SetOptions) -> Answer,
) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        // SAFETY: the caller's value.
        let value = unsafe { bytes("value", value, len) }?;
        // SAFETY: NULL, or a struct that begins with its size.
        let how = unsafe { structs::read(how) }?;
        // SAFETY: the caller's tags.
        store(cache, key, value, &unsafe { how.for_engine() }?)
    })
}

/// Stores a value if the key has none.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_add(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    value: *const c_void,
    len: usize,
    how: *const StoreOptions,
) -> c_int {
    let store = |cache: &Cache, key: &[u8], value: &[u8], how: &SetOptions| done(cache.add(key, value, how)?);
    // SAFETY: as `kennel.h` says.
    unsafe { stored(k, (key, n), (value, len), how, store) }
}

/// Stores a value if the key has one.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_replace(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    value: *const c_void,
    len: usize,
    how: *const StoreOptions,
) -> c_int {
    let store = |cache: &Cache, key: &[u8], value: &[u8], how: &SetOptions| done(cache.replace(key, value, how)?);
    // SAFETY: as `kennel.h` says.
    unsafe { stored(k, (key, n), (value, len), how, store) }
}

/// Stores a value if the key's value has this stamp.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_compare_and_swap(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    stamp: u64,
    value: *const c_void,
    len: usize,
    how: *const StoreOptions,
    new_stamp: *mut u64,
) -> c_int {
    // SAFETY: NULL, or a place for a stamp.
    let new_stamp = unsafe { Out::cleared(new_stamp, 0) };
    let store = |cache: &Cache, key: &[u8], value: &[u8], how: &SetOptions| match cache.compare_and_swap(
        key,
        Stamp(stamp),
        value,
        how,
    )? {
        Swap::Stored(stamp) => {
            new_stamp.set(stamp.0);
            Ok(OK)
        }
        _ => Ok(NONE),
    };
    // SAFETY: as `kennel.h` says.
    unsafe { stored(k, (key, n), (value, len), how, store) }
}

/// Removes a key if its value has this stamp.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_compare_and_delete(k: *const Cache, key: *const c_void, n: usize, stamp: u64) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        done(cache.compare_and_delete(unsafe { bytes("key", key, n) }?, Stamp(stamp))?)
    })
}

/// Removes a key.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_delete(k: *const Cache, key: *const c_void, n: usize) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        done(cache.delete(unsafe { bytes("key", key, n) }?)?)
    })
}

/// Changes when a key expires.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_touch(k: *const Cache, key: *const c_void, n: usize, ttl_ms: i64) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        let expiry = structs::ttl("ttl_ms", ttl_ms)?.unwrap_or(Expiry::Never);
        done(cache.touch(key, expiry)?)
    })
}
