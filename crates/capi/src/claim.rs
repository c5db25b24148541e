//! Claims, requests of claims, and locks of keys. Each is an owner of its own: goroutines, fibers and tasks of event loops
//! are not threads.

use crate::border::{Answer, CREATE, Failure, NONE, OK, Out, WAIT, bytes, cache, guarded};
use crate::cache::done;
use crate::handles::{Held, Kind, Own};
use crate::memory::Malloc;
use crate::structs::{self, BeginOptions, Entry, ItemOut, StoreOptions};
use engine::{Cache, Error, Item, KeyLock, LockOptions, Lookup, Stored, Task};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::task::Poll;

/// What a look at a key hands out.
struct Found {
    value: Out<*mut c_char>,
    told: Told,
    claim: Out<u64>,
}

/// What is told of the value: its length, or all that is known.
enum Told {
    Len(Out<usize>),
    Item(ItemOut),
}

impl Told {
    /// # Safety
    /// NULL, or a place for a length.
    unsafe fn len(len: *mut usize) -> Self {
        // SAFETY: as above.
        Self::Len(unsafe { Out::cleared(len, 0) })
    }

    /// # Safety
    /// NULL, or a struct that begins with its size.
    unsafe fn item(item: *mut Entry) -> Self {
        // SAFETY: as above.
        Self::Item(unsafe { ItemOut::cleared(item) })
    }
}

impl Found {
    /// # Safety
    /// NULL, or places for a pointer and a number.
    unsafe fn cleared(value: *mut *mut c_char, told: Told, claim: *mut u64) -> Self {
        // SAFETY: as above.
        let value = unsafe { Out::cleared(value, ptr::null_mut()) };
        // SAFETY: as above.
        let claim = unsafe { Out::cleared(claim, 0) };
        Self { value, told, claim }
    }

    fn required(&self) -> Result<(), Failure> {
        if let Told::Item(item) = &self.told {
            item.required()?;
        }
        self.value.required("value")?;
        self.claim.required("claim")
    }

    fn give(&self, item: &Item) -> Answer {
        let needed = item.value.len();
        let value = Malloc::of(&item.value).ok_or(Error::NoMemory { needed })?;
        match &self.told {
            Told::Len(len) => len.set(needed),
            Told::Item(out) => out.set(item, needed),
        }
        self.value.set(value.into_raw());
        Ok(OK)
    }

    /// Hands out what was found. A claim takes the place that was reserved for it.
    fn answer(&self, lookup: Lookup, place: Own) -> Answer {
        match lookup {
            Lookup::Hit(item) | Lookup::Stale(item) => self.give(&item),
            Lookup::Create(claim) => {
                claim.stale().map_or(Ok(OK), |stale| self.give(stale))?;
                self.claim.set(place.fill(Held::Claim(claim)));
                Ok(CREATE)
            }
            _ => Ok(NONE),
        }
    }

    /// Looks a key up, and claims it if its value is to be created.
    ///
    /// # Safety
    /// As `kennel.h` says.
    unsafe fn begin(&self, k: *const Cache, (key, n): (*const c_void, usize), how: *const BeginOptions) -> c_int {
        guarded(|| {
            self.required()?;
            // SAFETY: NULL, or a handle that is open.
            let cache = unsafe { cache(k) }?;
            // SAFETY: the caller's key.
            let key = unsafe { bytes("key", key, n) }?;
            // SAFETY: NULL, or a struct that begins with its size.
            let how = unsafe { structs::read(how) }?;
            // SAFETY: the caller's tags.
            let how = unsafe { how.for_engine() }?;
            // Before the claim: others would wait in vain for one that has no number.
            let place = Own::reserve(Kind::Claim)?;
            self.answer(cache.claim(key, &how)?, place)
        })
    }

    /// Asks for the answer to a request.
    fn poll(&self, request: u64) -> c_int {
        guarded(|| {
            self.required()?;
            let place = Own::reserve(Kind::Claim)?;
            let (own, Held::Request(mut asked)) = Own::take(request, Kind::Request)? else { return Ok(NONE) };
            match asked.poll()? {
                Poll::Pending => {
                    own.fill(Held::Request(asked));
                    Ok(WAIT)
                }
                Poll::Ready(lookup) => self.answer(lookup, place),
            }
        })
    }
}

/// Looks a key up, and claims it if its value is to be created.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_begin(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    how: *const BeginOptions,
    value: *mut *mut c_char,
    len: *mut usize,
    claim: *mut u64,
) -> c_int {
    // SAFETY: NULL, or a place for what is told.
    let told = unsafe { Told::len(len) };
    // SAFETY: NULL, or places for what is handed out.
    let found = unsafe { Found::cleared(value, told, claim) };
    // SAFETY: as `kennel.h` says.
    unsafe { found.begin(k, (key, n), how) }
}

/// [`kennel_begin`] with what the cache knows of the value.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_begin_item(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    how: *const BeginOptions,
    value: *mut *mut c_char,
    item: *mut Entry,
    claim: *mut u64,
) -> c_int {
    // SAFETY: NULL, or a place for what is told.
    let told = unsafe { Told::item(item) };
    // SAFETY: NULL, or places for what is handed out.
    let found = unsafe { Found::cleared(value, told, claim) };
    // SAFETY: as `kennel.h` says.
    unsafe { found.begin(k, (key, n), how) }
}

/// Begins a request.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_ask(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    how: *const BeginOptions,
    request: *mut u64,
) -> c_int {
    // SAFETY: NULL, or a place for a number.
    let request = unsafe { Out::cleared(request, 0) };
    guarded(|| {
        request.required("request")?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        // SAFETY: NULL, or a struct that begins with its size.
        let how = unsafe { structs::read(how) }?;
        // SAFETY: the caller's tags.
        let how = unsafe { how.for_engine() }?;
        let asked = cache.request_claim(key, &how)?;
        request.set(Own::reserve(Kind::Request)?.fill(Held::Request(Box::new(asked))));
        Ok(OK)
    })
}

/// Asks for the answer to a request.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_poll(request: u64, value: *mut *mut c_char, len: *mut usize, claim: *mut u64) -> c_int {
    // SAFETY: NULL, or a place for what is told.
    let told = unsafe { Told::len(len) };
    // SAFETY: NULL, or places for what is handed out.
    unsafe { Found::cleared(value, told, claim) }.poll(request)
}

/// [`kennel_poll`] with what the cache knows of the value.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_poll_item(
    request: u64,
    value: *mut *mut c_char,
    item: *mut Entry,
    claim: *mut u64,
) -> c_int {
    // SAFETY: NULL, or a place for what is told.
    let told = unsafe { Told::item(item) };
    // SAFETY: NULL, or places for what is handed out.
    unsafe { Found::cleared(value, told, claim) }.poll(request)
}

/// Ends a request.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_withdraw(request: u64) -> c_int {
    guarded(|| {
        Own::take(request, Kind::Request)?;
        Ok(OK)
    })
}

/// The claim of a number.
fn taken(claim: u64) -> Result<(Own, engine::Claim), Failure> {
    match Own::take(claim, Kind::Claim)? {
        (own, Held::Claim(claim)) => Ok((own, claim)),
        _ => Err(Failure::BadHandle("this is no claim")),
    }
}

fn is_stored(stored: Stored) -> Answer {
    done(matches!(stored, Stored::Yes(_)))
}

/// Stores a created value.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_complete(claim: u64, value: *const c_void, len: usize) -> c_int {
    guarded(|| {
        // SAFETY: the caller's value.
        let value = unsafe { bytes("value", value, len) }?;
        is_stored(taken(claim)?.1.store(value)?)
    })
}

/// Stores a created value with options.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_complete_with(
    claim: u64,
    value: *const c_void,
    len: usize,
    how: *const StoreOptions,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's value.
        let value = unsafe { bytes("value", value, len) }?;
        // SAFETY: NULL, or a struct that begins with its size.
        let how = unsafe { structs::read(how) }?;
        // SAFETY: the caller's tags.
        let made = unsafe { how.created(value) }?;
        is_stored(taken(claim)?.1.store_with(&made)?)
    })
}

/// Stores a created value if no lock must be awaited for that.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_try_complete(
    claim: u64,
    value: *const c_void,
    len: usize,
    how: *const StoreOptions,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's value.
        let value = unsafe { bytes("value", value, len) }?;
        // SAFETY: NULL, or a struct that begins with its size.
        let how = unsafe { structs::read(how) }?;
        // SAFETY: the caller's tags.
        let made = unsafe { how.created(value) }?;
        let (own, held) = taken(claim)?;
        match held.try_store(Some(&made)) {
            Ok(stored) => is_stored(stored?),
            Err(held) => {
                own.fill(Held::Claim(held));
                Ok(WAIT)
            }
        }
    })
}

/// Stores that the key has no value.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_complete_absent(claim: u64) -> c_int {
    guarded(|| is_stored(taken(claim)?.1.store_absence()?))
}

/// Ends a claim without a value to be stored.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_refuse(claim: u64) -> c_int {
    guarded(|| {
        taken(claim)?.1.refuse();
        Ok(OK)
    })
}

/// Ends a claim whose creation failed.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_fail(claim: u64) -> c_int {
    guarded(|| {
        taken(claim)?.1.fail();
        Ok(OK)
    })
}

/// Locks a key.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_lock(
    k: *const Cache,
    key: *const c_void,
    n: usize,
    wait_ms: i64,
    max_age_ms: i64,
    lock: *mut u64,
) -> c_int {
    // SAFETY: NULL, or a place for a number.
    let lock = unsafe { Out::cleared(lock, 0) };
    guarded(|| {
        lock.required("lock")?;
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        let key = unsafe { bytes("key", key, n) }?;
        let mut how = LockOptions::new().wait(structs::wait(wait_ms)?).task(Task::unique());
        if let Some(age) = structs::time("max_age_ms", max_age_ms)? {
            how = how.max_age(age);
        }
        let place = Own::reserve(Kind::Lock)?;
        match cache.lock_with(key, &how) {
            Ok(held) => {
                lock.set(place.fill(Held::Lock(held)));
                Ok(OK)
            }
            Err(Error::TimedOut { .. }) => Ok(NONE),
            Err(error) => Err(error.into()),
        }
    })
}

/// Releases a lock.
#[unsafe(no_mangle)]
pub extern "C" fn kennel_unlock(lock: u64) -> c_int {
    guarded(|| match Own::take(lock, Kind::Lock)? {
        (_, Held::Lock(held)) => done(KeyLock::release(held)),
        _ => Err(Failure::BadHandle("this is no lock")),
    })
}

/// Whether somebody creates or locks a key.
///
/// # Safety
/// As `kennel.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_is_claimed(k: *const Cache, key: *const c_void, n: usize) -> c_int {
    guarded(|| {
        // SAFETY: NULL, or a handle that is open.
        let cache = unsafe { cache(k) }?;
        // SAFETY: the caller's key.
        done(cache.is_claimed(unsafe { bytes("key", key, n) }?))
    })
}
