//! Listing the items of a cache, one a call.

use crate::border::{NONE, OK, Out, bytes, cache, guarded};
use crate::handles::{Held, Kind, Listing, Own};
use crate::memory::Malloc;
use crate::read::give;
use crate::structs::{Entry, ItemOut};
use engine::{Cache, Error};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::time::SystemTime;

/// Begins to list the items.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_list(k: *const Cache, prefix: *const c_void, n: usize, listing: *mut u64) -> c_int {
    // SAFETY: NULL, or a place for a number.
    let listing = unsafe { Out::cleared(listing, 0) };
    guarded(|| {
        listing.required("listing")?;
        // SAFETY: NULL, or a handle that is open.
        let entries = unsafe { cache(k) }?.entries();
        // SAFETY: the caller's prefix.
        let prefix = unsafe { bytes("prefix", prefix, n) }?.to_vec();
        listing.set(Own::reserve(Kind::List)?.fill(Held::List(Box::new(Listing { entries, prefix }))));
        Ok(OK)
    })
}

/// Hands out the next item of a listing.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_next(listing: u64, key: *mut *mut c_char, n: *mut usize, item: *mut Entry) -> c_int {
    // SAFETY: NULL, or a place for a pointer.
    let key = unsafe { Out::cleared(key, ptr::null_mut()) };
    // SAFETY: NULL, or a place for a length.
    let n = unsafe { Out::cleared(n, 0) };
    // SAFETY: NULL, or a struct that begins with its size.
    let out = unsafe { ItemOut::cleared(item) };
    guarded(|| {
        key.required("key")?;
        let (own, Held::List(mut rest)) = Own::take(listing, Kind::List)? else { return Ok(NONE) };
        let Some(entry) = rest.entries.by_ref().find(|entry| entry.key.starts_with(&rest.prefix)) else {
            return Ok(NONE);
        };
        own.fill(Held::List(rest));
        let needed = entry.key.len();
        give(Malloc::of(&entry.key).ok_or(Error::NoMemory { needed })?, &key, &n)?;
        if !item.is_null() {
            out.required()?;
            out.set_entry(&entry, SystemTime::now());
        }
        Ok(OK)
    })
}

/// Ends a listing before its last item.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_end_list(listing: u64) -> c_int {
    guarded(|| {
        Own::take(listing, Kind::List)?;
        Ok(OK)
    })
}
