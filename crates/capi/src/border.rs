//! The border of each function: no panic leaves it, a failure becomes a number and a text, and pointers are checked.

use crate::words::{Words, text, words};
use engine::{Error, ErrorCode};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Results that are not errors.
pub(crate) const NONE: c_int = 0;
pub(crate) const OK: c_int = 1;
pub(crate) const CREATE: c_int = 2;
pub(crate) const WAIT: c_int = 3;
/// Errors of this library. Those of the engine are the numbers of [`ErrorCode`], negative.
pub(crate) const BAD_HANDLE: c_int = -90;
pub(crate) const NO_HANDLE: c_int = -91;
pub(crate) const PANIC: c_int = -99;

/// Why a function failed.
pub(crate) enum Failure {
    Engine(Error),
    /// The buffer is too small, and the caller knows by how much.
    TooSmall,
    /// A claim, lock or request that there is not.
    BadHandle(&'static str),
    /// All numbers for claims, locks, requests and listings are in use.
    NoHandle,
}

/// What a function returns.
pub(crate) type Answer = Result<c_int, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::BufferTooSmall { .. } => Self::TooSmall,
            error => Self::Engine(error),
        }
    }
}

/// A mistake of the caller in one parameter.
pub(crate) fn bad_option(option: &'static str, given: impl Into<String>, expected: &str) -> Failure {
    Failure::Engine(Error::BadOption { option, given: given.into(), expected: expected.into() })
}

thread_local! {
    /// What is said of this thread's last failure.
    static LAST: RefCell<Words> = const { RefCell::new(Words::fixed(c"")) };
}

/// A part of what is said of this thread's last failure, valid until the next one.
pub(crate) fn last(part: impl Fn(&Words) -> &CStr) -> *const c_char {
    let text = |last: &RefCell<Words>| last.try_borrow().map_or(c"".as_ptr(), |words| part(&words).as_ptr());
    // A thread that ends has no text any more.
    LAST.try_with(text).unwrap_or(c"".as_ptr())
}

fn note(words: Words) {
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = words;
        }
    });
}

/// Runs the body of a function.
#[inline(always)]
pub(crate) fn guarded(work: impl FnOnce() -> Answer) -> c_int {
    let planted = || {
        #[cfg(feature = "planted-panic")]
        planted::panic_if_asked();
        work()
    };
    match catch_unwind(AssertUnwindSafe(planted)) {
        Ok(Ok(result)) => result,
        Ok(Err(failure)) => failed(failure),
        Err(panic) => panicked(&*panic),
    }
}

#[cold]
fn failed(failure: Failure) -> c_int {
    let (number, last) = match failure {
        Failure::TooSmall => {
            (-c_int::from(ErrorCode::BufferTooSmall.number()), Words::fixed(c"the buffer is too small for the value"))
        }
        Failure::BadHandle(what) => (BAD_HANDLE, Words::of(text(what))),
        Failure::NoHandle => {
            (NO_HANDLE, Words::fixed(c"this process holds 4096 claims, locks, requests and listings; end some of them"))
        }
        Failure::Engine(error) => (-c_int::from(error.code().number()), words(&error)),
    };
    note(last);
    number
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> c_int {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    note(Words::of(text(&format!("a defect in Kennel: {}", said.unwrap_or("a panic")))));
    PANIC
}

/// Something that a function hands out. It is cleared first, so that it is written on every return.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// NULL, or a place for a `T`, for as long as the call runs.
    pub(crate) unsafe fn cleared(at: *mut T, nothing: T) -> Self {
        let out = Self(at);
        out.set(nothing);
        out
    }

    /// # Errors
    /// The caller gave no place.
    pub(crate) fn required(&self, what: &'static str) -> Result<(), Failure> {
        if self.0.is_null() { Err(bad_option(what, "NULL", "a pointer")) } else { Ok(()) }
    }

    /// Writes the place, if the caller gave one.
    pub(crate) fn set(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: a place for a `T`, as `cleared` asks for.
            unsafe { self.0.write(value) }
        }
    }
}

/// Bytes of the caller.
///
/// # Safety
/// `len` bytes at `at` can be read for as long as the call runs, unless `at` is NULL.
#[inline(always)]
pub(crate) unsafe fn bytes<'a>(what: &'static str, at: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if at.is_null() || isize::try_from(len).is_err() {
        return Err(no_bytes(what, at.is_null(), len));
    }
    // SAFETY: the caller's bytes, as above.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), len) })
}

#[cold]
fn no_bytes(what: &'static str, is_null: bool, len: usize) -> Failure {
    let given = if is_null { format!("NULL for {len} bytes") } else { format!("a length of {len} bytes") };
    bad_option(what, given, "a pointer to that many bytes")
}

/// A text of the caller.
///
/// # Safety
/// NULL, or a text that ends with a zero byte, for as long as the call runs.
pub(crate) unsafe fn c_text<'a>(at: *const c_char) -> Option<&'a CStr> {
    if at.is_null() {
        return None;
    }
    // SAFETY: a text that ends with a zero byte, as above.
    Some(unsafe { CStr::from_ptr(at) })
}

/// The cache that a caller gave.
///
/// # Safety
/// NULL, or a handle that is not closed for as long as the call runs.
#[inline(always)]
pub(crate) unsafe fn cache<'a>(k: *const engine::Cache) -> Result<&'a engine::Cache, Failure> {
    // SAFETY: a handle, as above.
    unsafe { k.as_ref() }.ok_or(Failure::BadHandle("the cache is NULL"))
}

#[cfg(feature = "planted-panic")]
mod planted {
    use std::cell::Cell;
    use std::ffi::c_int;

    thread_local! {
        static ASKED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn panic_if_asked() {
        assert!(!ASKED.get(), "planted");
    }

    /// Makes each function of this thread panic, for the tests.
    #[unsafe(no_mangle)]
    pub extern "C" fn kennel_test_panic(yes: c_int) {
        ASKED.set(yes != 0);
    }
}
