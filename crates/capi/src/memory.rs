//! Memory that callers free with `kennel_free`: it is malloc's, with a zero byte behind the value.

use std::ffi::{c_char, c_void};
use std::ptr;

/// A value in memory of malloc. It is freed when it is dropped.
pub(crate) struct Malloc {
    at: *mut u8,
    len: usize,
}

impl Malloc {
    /// Memory for `len` bytes and a zero byte. Without memory it has no room for a value.
    pub(crate) fn room(len: usize) -> Self {
        // SAFETY: no other demands; the sum cannot overflow, since a value is shorter than a file.
        let at = unsafe { libc::calloc(len.saturating_add(1), 1) };
        Self { at: at.cast(), len: if at.is_null() { 0 } else { len } }
    }

    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut made = Self::room(bytes.len());
        (!made.is_none()).then(|| {
            made.as_mut().copy_from_slice(bytes);
            made
        })
    }

    /// Whether there was no memory.
    pub(crate) fn is_none(&self) -> bool {
        self.at.is_null()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Hands the memory to the caller.
    pub(crate) fn into_raw(mut self) -> *mut c_char {
        std::mem::replace(&mut self.at, ptr::null_mut()).cast()
    }
}

impl AsMut<[u8]> for Malloc {
    fn as_mut(&mut self) -> &mut [u8] {
        if self.at.is_null() {
            return &mut [];
        }
        // SAFETY: memory of that length, which `calloc` cleared and which nobody else has.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl Drop for Malloc {
    fn drop(&mut self) {
        // SAFETY: NULL, or memory of `calloc` that was not handed on.
        unsafe { libc::free(self.at.cast()) }
    }
}

/// Frees what a function of this library handed out.
///
/// # Safety
/// NULL, or memory that a function of this library handed out and that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kennel_free(memory: *mut c_void) {
    // SAFETY: NULL or memory of malloc, as above.
    unsafe { libc::free(memory) }
}

/// The function of a caller that returns memory for a value.
pub(crate) type Room = Option<unsafe extern "C" fn(ctx: *mut c_void, len: usize) -> *mut c_void>;

/// Memory of the caller for one value.
pub(crate) struct Lent {
    at: *mut u8,
    len: usize,
}

impl Lent {
    /// # Safety
    /// `room` returns NULL or memory for as many bytes as it is asked for, which stays until the call returns.
    pub(crate) unsafe fn of(
        room: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
        ctx: *mut c_void,
        len: usize,
    ) -> Self {
        // SAFETY: the caller's own function with its own context.
        let at: *mut u8 = unsafe { room(ctx, len) }.cast();
        Self { at, len: if at.is_null() { 0 } else { len } }
    }
}

impl AsMut<[u8]> for Lent {
    fn as_mut(&mut self) -> &mut [u8] {
        if self.at.is_null() {
            return &mut [];
        }
        // SAFETY: memory of that length, as `of` asks for. The engine only writes to it.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}
