//! Opening and closing, namespaces, invalidation, statistics.

use crate::border::{Answer, Failure, OK, Out, bad_option, c_text, cache, guarded, last};
use crate::memory::Malloc;
use crate::structs::{self, Options};
use crate::words::Words;
use engine::{Cache, Error, Invalidation, LockStrategy, NamespaceOptions, OnMismatch, default_path};
use serde_json::json;
use std::ffi::{CStr, c_char, c_int};
use std::path::PathBuf;
use std::ptr;
use std::time::Duration;

const EXISTING: u32 = 1;
const READ_ONLY: u32 = 2;
const VERIFY_READS: u32 = 4;
const TRUST: u32 = 8;
const ALLOW_NETWORK: u32 = 16;
const SAME_SIZES: u32 = 32;

/// The version of this library.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// The text of this thread's last failure.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_last_error() -> *const c_char {
    last(Words::whole)
}

/// What was expected and found in this thread's last failure, without what to do.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_last_facts() -> *const c_char {
    last(Words::facts)
}

/// The name of what to do about this thread's last failure.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_last_advice() -> *const c_char {
    last(Words::advice)
}

#[cfg(unix)]
fn path_of(text: &CStr) -> Result<PathBuf, Failure> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(text.to_bytes()).into())
}

#[cfg(not(unix))]
fn path_of(text: &CStr) -> Result<PathBuf, Failure> {
    let path = text.to_str().map_err(|_| bad_option("path", text.to_string_lossy(), "UTF-8"))?;
    Ok(path.into())
}

/// The path that a caller gave, or the default one of this user.
///
/// # Safety
/// NULL, or a text that ends with a zero byte.
unsafe fn path_or_default(path: *const c_char) -> Result<PathBuf, Failure> {
    // SAFETY: as above.
    match unsafe { c_text(path) } {
        Some(path) => path_of(path),
        None => Ok(default_path()),
    }
}

impl Options {
    /// # Safety
    /// `locks` is NULL, or a text that ends with a zero byte.
    unsafe fn for_engine(&self) -> Result<engine::Options, Failure> {
        structs::known_bits(self.bits, EXISTING | READ_ONLY | VERIFY_READS | TRUST | ALLOW_NETWORK | SAME_SIZES)?;
        let has = |bit| self.bits & bit != 0;
        let mismatch = if has(SAME_SIZES) { OnMismatch::Fail } else { OnMismatch::UseExisting };
        let mut options = engine::Options::new()
            .on_mismatch(mismatch)
            .verify_reads(has(VERIFY_READS))
            .trust(has(TRUST))
            .allow_network(has(ALLOW_NETWORK));
        // SAFETY: as above.
        if let Some(locks) = unsafe { c_text(self.locks) } {
            let strategy = locks.to_string_lossy().parse::<LockStrategy>().map_err(Error::from)?;
            options = options.locks(strategy);
        }
        if let Some(limit) = structs::time("lock_wait_ms", self.lock_wait_ms)? {
            options = options.lock_wait(limit);
        }
        let given = |number: u32| (number != 0).then_some(number);
        if self.capacity != 0 {
            options = options.capacity(self.capacity);
        }
        if self.mean_item != 0 {
            options = options.mean_item(self.mean_item);
        }
        options = given(self.stripes).map_or(options.clone(), |stripes| options.stripes(stripes));
        options = given(self.seats).map_or(options.clone(), |seats| options.seats(seats));
        options = given(self.namespaces).map_or(options.clone(), |namespaces| options.namespaces(namespaces));
        options = given(self.claims).map_or(options.clone(), |claims| options.claims(claims));
        Ok(given(self.mode).map_or(options.clone(), |mode| options.mode(mode)))
    }
}

/// Opens a cache file, or creates it.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_open(path: *const c_char, options: *const Options, out: *mut *mut Cache) -> c_int {
    // SAFETY: NULL, or a place for a pointer.
    let out = unsafe { Out::cleared(out, ptr::null_mut()) };
    guarded(|| {
        out.required("out")?;
        // SAFETY: NULL, or a struct that begins with its size.
        let given = unsafe { structs::read(options) }?;
        // SAFETY: NULL, or a text that ends with a zero byte.
        let options = unsafe { given.for_engine() }?;
        // SAFETY: NULL, or a text that ends with a zero byte.
        let path = unsafe { path_or_default(path) }?;
        let opened = match given.bits {
            bits if bits & READ_ONLY != 0 => options.open_read_only(path),
            bits if bits & EXISTING != 0 => options.open(path),
            _ => options.open_or_create(path),
        }?;
        out.set(Box::into_raw(Box::new(opened)));
        Ok(OK)
    })
}

/// Closes a handle.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_close(k: *mut Cache) {
    guarded(|| {
        if !k.is_null() {
            // SAFETY: a handle that was not closed, which `kennel_open` or `kennel_namespace` made from a box.
            drop(unsafe { Box::from_raw(k) });
        }
        Ok(OK)
    });
}

/// Removes a cache file.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_destroy(path: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a text that ends with a zero byte.
        let path = unsafe { path_or_default(path) }?;
        match engine::Options::new().destroy(path) {
            Err(Error::NotFound(_)) => Ok(crate::border::NONE),
            destroyed => Ok(destroyed.map(|()| OK)?),
        }
    })
}

/// A handle of a namespace.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_namespace(
    k: *const Cache,
    name: *const c_char,
    ttl_ms: i64,
    out: *mut *mut Cache,
) -> c_int {
    // SAFETY: NULL, or a place for a pointer.
    let out = unsafe { Out::cleared(out, ptr::null_mut()) };
    guarded(|| {
        out.required("out")?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: NULL, or a text that ends with a zero byte.
        let name = unsafe { c_text(name) }.and_then(|name| name.to_str().ok());
        let name = name.ok_or_else(|| bad_option("name", "none", "a text in UTF-8"))?;
        let options = structs::time("ttl_ms", ttl_ms)?
            .map_or_else(NamespaceOptions::new, |ttl: Duration| NamespaceOptions::new().ttl(ttl));
        out.set(Box::into_raw(Box::new(cache.namespace(name, &options)?)));
        Ok(OK)
    })
}

/// Invalidates a namespace, or the whole file.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_invalidate(k: *const Cache, soft: c_int) -> c_int {
    guarded(|| {
        let how = if soft == 0 { Invalidation::Hard } else { Invalidation::Soft };
        // SAFETY: NULL, or a handle that is open.
        unsafe { cache(k) }?.invalidate(how)?;
        Ok(OK)
    })
}

/// The statistics as JSON.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_stats_json(k: *const Cache, out: *mut *mut c_char) -> c_int {
    // SAFETY: NULL, or a place for a pointer.
    let out = unsafe { Out::cleared(out, ptr::null_mut()) };
    guarded(|| {
        out.required("out")?;
        // SAFETY: NULL, or a handle that is open.
        let text = stats_json(unsafe { cache(k) }?)?;
        let made = Malloc::of(text.as_bytes()).ok_or(Error::NoMemory { needed: text.len() })?;
        out.set(made.into_raw());
        Ok(OK)
    })
}

/// What `kennel stat --json` prints: see `docs/json.md`.
fn stats_json(cache: &Cache) -> Result<String, Failure> {
    let stats = cache.stats();
    let refused = |error: serde_json::Error| bad_option("path", error.to_string(), "UTF-8");
    let mut document = serde_json::to_value(&stats).map_err(refused)?;
    let (hits, reads) = (stats.counters.hits, stats.counters.hits + stats.counters.misses);
    document["namespaces"] = json!(cache.namespaces());
    document["awaits_writer"] = json!(cache.awaits_writer());
    document["hit_ratio"] = json!((reads > 0).then(|| hits as f64 / reads as f64));
    Ok(document.to_string())
}

/// A word for "done or nothing".
pub(crate) fn done(yes: bool) -> Answer {
    Ok(if yes { OK } else { crate::border::NONE })
}
