//! Opening and closing, namespaces, invalidation, statistics.

use crate::border::{Answer, Failure, OK, Out, bad_option, c_text, cache, guarded, last};
use crate::memory::Malloc;
use crate::structs::{self, Bytes, Options};
use crate::words::Words;
use engine::{Cache, Error, Invalidation, LargePages, LockStrategy, NamespaceOptions, OnMismatch, default_path};
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
const LARGE_PAGES: u32 = 64;
const SMALL_PAGES: u32 = 128;
const NAMESPACE_READS: u32 = 256;
const NO_NAMESPACE_READS: u32 = 512;
const SAMPLES: u32 = 1024;
const NO_SAMPLES: u32 = 2048;
const NO_TAGS: u32 = 4096;
const BITS: u32 = (NO_TAGS << 1) - 1;

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
        structs::known_bits(self.bits, BITS)?;
        let has = |bit| self.bits & bit != 0;
        structs::known_bits(self.reserved, 0)?;
        let either = |yes: (u32, &str), no: (u32, &str)| match (has(yes.0), has(no.0)) {
            (true, true) => {
                let expected = format!("at most one of {} and {}", yes.1, no.1);
                Err(bad_option("bits", format!("{:#x}", self.bits), &expected))
            }
            (false, false) => Ok(None),
            (is_yes, _) => Ok(Some(is_yes)),
        };
        let mismatch = if has(SAME_SIZES) { OnMismatch::Fail } else { OnMismatch::UseExisting };
        let large = either((LARGE_PAGES, "KENNEL_LARGE_PAGES"), (SMALL_PAGES, "KENNEL_SMALL_PAGES"))?;
        let large = large.map_or(LargePages::Auto, |yes| if yes { LargePages::Always } else { LargePages::Never });
        let counts_reads =
            either((NAMESPACE_READS, "KENNEL_NAMESPACE_READS"), (NO_NAMESPACE_READS, "KENNEL_NO_NAMESPACE_READS"))?;
        let has_samples = either((SAMPLES, "KENNEL_SAMPLES"), (NO_SAMPLES, "KENNEL_NO_SAMPLES"))?;
        let mut options = engine::Options::new()
            .large_pages(large)
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
        options = counts_reads.map_or(options.clone(), |yes| options.namespace_reads(yes));
        options = has_samples.map_or(options.clone(), |yes| options.samples(yes));
        options = match (self.tags, has(NO_TAGS)) {
            (0, false) => options,
            (0, true) => options.tags(0),
            (tags, false) => options.tags(tags),
            (tags, true) => return Err(bad_option("tags", tags.to_string(), "0 with KENNEL_NO_TAGS")),
        };
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
    // SAFETY: NULL, or a text that ends with a zero byte.
    unsafe { kennel_destroy_with(path, ptr::null()) }
}

/// Removes a cache file, by options that say which files may be removed.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_destroy_with(path: *const c_char, options: *const Options) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a struct that begins with its size.
        let options = unsafe { structs::read(options) }?;
        // SAFETY: NULL, or a text that ends with a zero byte.
        let options = unsafe { options.for_engine() }?;
        // SAFETY: NULL, or a text that ends with a zero byte.
        let path = unsafe { path_or_default(path) }?;
        match options.destroy(path) {
            Err(Error::NotFound(_)) => Ok(crate::border::NONE),
            destroyed => Ok(destroyed.map(|()| OK)?),
        }
    })
}

/// The name of a namespace that a caller gave.
///
/// # Safety
/// NULL, or a text that ends with a zero byte, for as long as the call runs.
unsafe fn name_of<'a>(name: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: as above.
    let name = unsafe { c_text(name) }.and_then(|name| name.to_str().ok());
    name.ok_or_else(|| bad_option("name", "none", "a text in UTF-8"))
}

/// Removes a namespace.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_remove_namespace(k: *const Cache, name: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: NULL, or a text that ends with a zero byte.
        done(cache.remove_namespace(unsafe { name_of(name) }?)?)
    })
}

/// Invalidates the values that bear a tag.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_invalidate_tags(
    k: *const Cache,
    tags: *const Bytes,
    count: usize,
    soft: c_int,
) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's tags.
        cache.invalidate_tags(&unsafe { structs::names("tags", tags, count) }?, how(soft))?;
        Ok(OK)
    })
}

fn how(soft: c_int) -> Invalidation {
    if soft == 0 { Invalidation::Hard } else { Invalidation::Soft }
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
        let name = unsafe { name_of(name) }?;
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
        // SAFETY: NULL, or a handle that is open.
        unsafe { cache(k) }?.invalidate(how(soft))?;
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
