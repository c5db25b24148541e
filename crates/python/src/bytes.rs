//! The conversion of keys and values between Python and the engine.
#![allow(unsafe_code, reason = "a value is copied into a new `bytes` object while the interpreter's lock is released")]

use crate::handles::Handles;
use crate::open::{UntilClosed, Use};
use pyo3::exceptions::PyTypeError;
use pyo3::types::{PyBytes, PyMapping, PyMemoryView, PyString};
use pyo3::{Borrowed, ffi, intern, prelude::*};
use std::ptr::NonNull;
use std::slice;

/// Values of at least this many bytes are copied without the interpreter's lock. For smaller values, releasing the lock
/// and taking it again costs more than the copy, and much more if other threads wait for the lock.
pub(crate) const LARGE: usize = 64 << 10;

/// A key or a value: `bytes` unchanged, a `str` as UTF-8, or a copy of the buffer of any other object.
pub(crate) struct Bytes<'py>(Bound<'py, PyBytes>);

impl<'py> FromPyObject<'_, 'py> for Bytes<'py> {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned()));
        }
        if let Ok(text) = given.cast::<PyString>() {
            return encoded(text).map(Self);
        }
        let Ok(view) = PyMemoryView::from(&given) else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!("expected str or a bytes-like object, found {kind}")));
        };
        let copy = view.call_method0(intern!(given.py(), "tobytes"))?;
        Ok(Self(copy.cast_into()?))
    }
}

impl<'py> Bytes<'py> {
    pub(crate) fn object(&self) -> Bound<'py, PyBytes> {
        self.0.clone()
    }
}

/// Encodes text as UTF-8. Python turns undecodable bytes in file names into lone surrogates. They are encoded like
/// other code points, so different texts remain different.
fn encoded<'py>(text: Borrowed<'_, 'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    text.encode_utf8().or_else(|_| {
        let bytes = text.call_method1(intern!(text.py(), "encode"), ("utf-8", "surrogatepass"))?;
        Ok(bytes.cast_into()?)
    })
}

/// Copies a value to a new `bytes` object. Returns an error if there is not enough memory.
pub(crate) fn copied<'py>(py: Python<'py>, value: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, value.len(), |room| {
        room.copy_from_slice(value);
        Ok(())
    })
}

/// A key or a value that lives only as long as the call: a `bytes` object is borrowed from the caller.
pub(crate) enum Lent<'a, 'py> {
    Bytes(Borrowed<'a, 'py, PyBytes>),
    Made(Bytes<'py>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Lent<'a, 'py> {
    type Error = PyErr;

    #[inline]
    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match given.cast::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes)),
            Err(_) => given.extract().map(Self::Made),
        }
    }
}

impl AsRef<[u8]> for Lent<'_, '_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Made(bytes) => bytes.as_ref(),
        }
    }
}

impl AsRef<[u8]> for Bytes<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Reads the value of a key. The engine copies it directly into a new `bytes` object. The inner `None` is a miss; the
/// outer one means that `space` is closed. For a large value the interpreter's lock is released during the copy.
#[inline]
pub(crate) fn read<'py>(
    py: Python<'py>,
    space: &UntilClosed<Handles>,
    key: &[u8],
) -> Option<PyResult<Option<Bound<'py, PyBytes>>>> {
    read_with(py, space, |handles, incoming| {
        let found = handles.cache.get_with(key, |len| incoming.room(len));
        // If the room is empty although the value is not, Python had no memory, and `incoming` holds the error.
        let is_miss = matches!(found, Ok(None));
        if is_miss {
            incoming.end();
            // Otherwise a process that only reads would not notice that the file was removed.
            handles.cache.notice_removal();
        }
        !is_miss
    })
}

/// Reads a value with the function `find`, which asks for room, copies the value into it, and returns whether there was
/// a value.
#[inline]
pub(crate) fn read_with<'py, 's, T>(
    py: Python<'py>,
    space: &'s UntilClosed<T>,
    find: impl FnOnce(&T, &mut Incoming<'py, 's, T>) -> bool,
) -> Option<PyResult<Option<Bound<'py, PyBytes>>>> {
    // SAFETY: the engine does not touch the interpreter's lock, creating a `bytes` object runs no other Python code,
    // and `room` enters before it releases the lock for a large value.
    let value = unsafe { space.look(py) }?;
    let mut incoming = Incoming { released: None, used: None, bytes: None, py, space };
    let is_found = find(value, &mut incoming);
    incoming.end();
    Some(incoming.bytes.filter(|_| is_found).transpose())
}

/// A new `bytes` object into which the engine copies. The engine gets only its [`Room`], which fits in registers.
pub(crate) struct Incoming<'py, 's, T> {
    // Dropped first, which takes the interpreter's lock again: dropping the `bytes` object needs that lock.
    released: Option<Released>,
    used: Option<Use<'s, T>>,
    bytes: Option<PyResult<Bound<'py, PyBytes>>>,
    py: Python<'py>,
    space: &'s UntilClosed<T>,
}

impl<T> Incoming<'_, '_, T> {
    /// Allocates room for `len` bytes and drops any earlier room. The room is empty if Python has not enough memory.
    #[inline]
    pub(crate) fn room(&mut self, len: usize) -> Room {
        self.released = None;
        let mut room = Room { start: NonNull::dangling(), len: 0 };
        self.bytes = Some(PyBytes::new_with(self.py, len, |memory| {
            room = Room { start: NonNull::from(&mut *memory).cast(), len };
            Ok(())
        }));
        if room.len >= LARGE {
            self.used = self.space.enter(self.py);
            self.released = Some(Released::now());
        }
        room
    }

    /// Takes the interpreter's lock again, if it was released.
    #[inline]
    fn end(&mut self) {
        self.released = None;
        self.used = None;
    }
}

/// The initialized memory of a new `bytes` object to which nothing else refers yet, or no bytes at all.
pub(crate) struct Room {
    start: NonNull<u8>,
    len: usize,
}

impl AsMut<[u8]> for Room {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is initialized and unshared, as the type says. `Incoming` keeps the object until the
        // engine has copied or asks for another room.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// A release of the interpreter's lock. Dropping it takes the lock again.
struct Released(*mut ffi::PyThreadState);

impl Released {
    fn now() -> Self {
        // SAFETY: this thread holds the interpreter's lock, as the caller's `Python` token proves. Until the `Released`
        // is dropped, the engine only copies.
        Self(unsafe { ffi::PyEval_SaveThread() })
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        // SAFETY: `PyEval_SaveThread` returned this thread's state, which is restored once.
        unsafe { ffi::PyEval_RestoreThread(self.0) }
    }
}

/// Collects the keys of an iterable.
pub(crate) fn collect<'py>(keys: &Bound<'py, PyAny>) -> PyResult<Vec<Bytes<'py>>> {
    keys.try_iter()?.map(|key| key?.extract()).collect()
}

pub(crate) fn slices<'a>(keys: &'a [Bytes<'_>]) -> Vec<&'a [u8]> {
    keys.iter().map(AsRef::as_ref).collect()
}

/// Collects the items of a mapping, or of an iterable of pairs: the key as it was given, and key and value as bytes.
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
