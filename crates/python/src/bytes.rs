//! Keys and values on their way between Python and the engine.
#![allow(unsafe_code, reason = "a value is copied into a new `bytes` object while the interpreter's lock is given up")]

use pyo3::exceptions::PyTypeError;
use pyo3::types::{PyBytes, PyMapping, PyMemoryView, PyString};
use pyo3::{Borrowed, ffi, intern, prelude::*};
use std::ptr::NonNull;
use std::slice;

/// Values of at least so many bytes are copied without the interpreter's lock. Below, giving it up and getting it
/// back takes longer than the copy, and much longer when other threads wait for it.
const LARGE: usize = 64 << 10;

/// A key or a value: `bytes` as they are, `str` as UTF-8, whatever else has a buffer as a copy of it.
pub(crate) struct Bytes<'py>(Bound<'py, PyBytes>);

impl<'py> FromPyObject<'_, 'py> for Bytes<'py> {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned()));
        }
        if let Ok(text) = given.cast::<PyString>() {
            return text.encode_utf8().map(Self);
        }
        let Ok(view) = PyMemoryView::from(&given) else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!("expected str or a bytes-like object, found {kind}")));
        };
        let copy = view.call_method0(intern!(given.py(), "tobytes"))?;
        Ok(Self(copy.cast_into()?))
    }
}

impl AsRef<[u8]> for Bytes<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A new `bytes` object that the engine copies a value into. For a large one the interpreter's lock is given up
/// from here until it is [finished](Room::finished) or dropped.
pub(crate) struct Room<'py> {
    // Dropped first: the object needs the interpreter's lock when it is dropped.
    released: Option<Released>,
    bytes: PyResult<Bound<'py, PyBytes>>,
    start: *mut u8,
    len: usize,
}

impl<'py> Room<'py> {
    /// Memory for so many bytes; none if Python has not so much.
    pub(crate) fn new(py: Python<'py>, len: usize) -> Self {
        let mut start = NonNull::dangling().as_ptr();
        let bytes = PyBytes::new_with(py, len, |memory| {
            start = memory.as_mut_ptr();
            Ok(())
        });
        let len = if bytes.is_ok() { len } else { 0 };
        let released = (len >= LARGE).then(Released::now);
        Self { released, bytes, start, len }
    }

    /// The object, with the interpreter's lock held again.
    pub(crate) fn finished(self) -> PyResult<Bound<'py, PyBytes>> {
        drop(self.released);
        self.bytes
    }
}

impl AsMut<[u8]> for Room<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: the new object's own memory, all of it initialised, which nobody else has yet; or no bytes at all.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }
}

/// The interpreter's lock, given up. Dropping this takes it back.
struct Released(*mut ffi::PyThreadState);

impl Released {
    fn now() -> Self {
        // SAFETY: this thread holds the interpreter's lock, as its `Python` token says, and until this is dropped
        // the engine only copies.
        Self(unsafe { ffi::PyEval_SaveThread() })
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        // SAFETY: the state is this thread's, from `PyEval_SaveThread`, and is given back once.
        unsafe { ffi::PyEval_RestoreThread(self.0) }
    }
}

/// The keys of an iterable.
pub(crate) fn collect<'py>(keys: &Bound<'py, PyAny>) -> PyResult<Vec<Bytes<'py>>> {
    keys.try_iter()?.map(|key| key?.extract()).collect()
}

pub(crate) fn slices<'a>(keys: &'a [Bytes<'_>]) -> Vec<&'a [u8]> {
    keys.iter().map(AsRef::as_ref).collect()
}

/// The items of a mapping, or of an iterable of pairs: the key as it was given, and both as bytes.
pub(crate) fn pairs<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<(Bound<'py, PyAny>, Bytes<'py>, Bytes<'py>)>> {
    let pairs = match items.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.into_any(),
        Err(_) => items.clone(),
    };
    let pair = |pair: PyResult<Bound<'py, PyAny>>| {
        let (key, value) = pair?.extract::<(Bound<'py, PyAny>, Bytes<'py>)>()?;
        let bytes = key.extract()?;
        Ok((key, bytes, value))
    };
    pairs.try_iter()?.map(pair).collect()
}
