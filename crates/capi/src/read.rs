//! Reading values.

use crate::border::{Failure, NONE, OK, Out, bad_option, bytes, cache, guarded};
use crate::cache::done;
use crate::memory::{Lent, Malloc, Room};
use crate::structs::{Entry, ItemOut};
use engine::{Cache, Error};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// The value of a key, in the caller's memory.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_get_into(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    buf: *mut c_void,
    room: usize,
    len: *mut usize,
) -> c_int {
    // SAFETY: NULL, or a place for a length.
    let len = unsafe { Out::cleared(len, 0) };
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        // SAFETY: the caller's buffer.
        match cache.get_into(key, unsafe { buffer(buf, room) }?) {
            Ok(None) => Ok(NONE),
            Ok(Some(found)) => {
                len.set(found);
                Ok(OK)
            }
            Err(error) => Err(too_small(error, |needed| len.set(needed))),
        }
    })
}

/// The caller's buffer.
///
/// # Safety
/// NULL, or memory for `room` bytes that nobody else uses for as long as the call runs.
#[inline(always)]
unsafe fn buffer<'a>(buf: *mut c_void, room: usize) -> Result<&'a mut [u8], Failure> {
    if room == 0 {
        return Ok(&mut []);
    }
    if buf.is_null() || isize::try_from(room).is_err() {
        return Err(bad_option("buf", format!("{buf:?} for {room} bytes"), "memory for that many bytes"));
    }
    // SAFETY: as above. The engine only writes to it.
    Ok(unsafe { std::slice::from_raw_parts_mut(buf.cast(), room) })
}

/// Tells the caller the length of a value that did not fit.
#[cold]
fn too_small(error: Error, tell: impl FnOnce(usize)) -> Failure {
    if let Error::BufferTooSmall { needed, .. } = error {
        tell(needed);
    }
    error.into()
}

/// A value that did not fit into memory that was allocated for it: there was no memory.
fn no_memory(error: Error) -> Failure {
    match error {
        Error::BufferTooSmall { needed, .. } => Error::NoMemory { needed }.into(),
        error => error.into(),
    }
}

/// The value of a key, in new memory.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_get(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    value: *mut *mut c_char,
    len: *mut usize,
) -> c_int {
    // SAFETY: NULL, or a place for a pointer.
    let value = unsafe { Out::cleared(value, ptr::null_mut()) };
    // SAFETY: NULL, or a place for a length.
    let len = unsafe { Out::cleared(len, 0) };
    guarded(|| {
        value.required("value")?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        let Some(found) = cache.get_with(key, Malloc::room).map_err(no_memory)? else { return Ok(NONE) };
        give(found, &value, &len)
    })
}

/// Hands out a value. One for which there was no memory, not even for its zero byte, is an error.
pub(crate) fn give(found: Malloc, value: &Out<*mut c_char>, len: &Out<usize>) -> Result<c_int, Failure> {
    if found.is_none() {
        return Err(Error::NoMemory { needed: 1 }.into());
    }
    len.set(found.len());
    value.set(found.into_raw());
    Ok(OK)
}

/// The value of a key, in memory that a function of the caller returns.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_get_with(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    room: Room,
    ctx: *mut c_void,
) -> c_int {
    guarded(|| {
        let room = room.ok_or_else(|| bad_option("room", "NULL", "a function"))?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        // SAFETY: the caller's function returns NULL or memory of that length.
        let found = cache.get_with(key, |len| unsafe { Lent::of(room, ctx, len) }).map_err(no_memory)?;
        done(found.is_some())
    })
}

/// The item of a key, in new memory.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_get_item(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    value: *mut *mut c_char,
    item: *mut Entry,
) -> c_int {
    // SAFETY: NULL, or a place for a pointer.
    let value = unsafe { Out::cleared(value, ptr::null_mut()) };
    // SAFETY: NULL, or a struct that begins with its size.
    let out = unsafe { ItemOut::cleared(item) };
    guarded(|| {
        value.required("value")?;
        out.required()?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        let Some(found) = cache.get_item_with(key, Malloc::room).map_err(no_memory)? else { return Ok(NONE) };
        if !found.value.is_none() {
            out.set(&found, found.value.len());
        }
        // SAFETY: nowhere.
        give(found.value, &value, &unsafe { Out::cleared(ptr::null_mut(), 0) })
    })
}

/// The item of a key, in the caller's memory.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_get_item_into(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    buf: *mut c_void,
    room: usize,
    item: *mut Entry,
) -> c_int {
    // SAFETY: NULL, or a struct that begins with its size.
    let out = unsafe { ItemOut::cleared(item) };
    guarded(|| {
        out.required()?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        // SAFETY: the caller's buffer.
        match cache.get_item_into(key, unsafe { buffer(buf, room) }?) {
            Ok(None) => Ok(NONE),
            Ok(Some(found)) => {
                out.set(&found, found.value);
                Ok(OK)
            }
            Err(error) => Err(too_small(error, |needed| out.set_len(needed))),
        }
    })
}

/// The item of a key, in memory that a function of the caller returns.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_get_item_with(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    room: Room,
    ctx: *mut c_void,
    item: *mut Entry,
) -> c_int {
    // SAFETY: NULL, or a struct that begins with its size.
    let out = unsafe { ItemOut::cleared(item) };
    guarded(|| {
        out.required()?;
        let room = room.ok_or_else(|| bad_option("room", "NULL", "a function"))?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        // SAFETY: the caller's function returns NULL or memory of that length.
        let found = cache.get_item_with(key, |len| unsafe { Lent::of(room, ctx, len) }).map_err(no_memory)?;
        let Some(mut found) = found else { return Ok(NONE) };
        let len = AsMut::<[u8]>::as_mut(&mut found.value).len();
        out.set(&found, len);
        Ok(OK)
    })
}

/// Whether a key has a value.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_contains(k: *const Cache, key: *const c_void, n: usize) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        done(cache.contains(unsafe { bytes("key", key, n) }?))
    })
}
