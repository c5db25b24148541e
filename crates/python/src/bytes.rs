//! Keys and values on their way between Python and the engine.
#![allow(unsafe_code, reason = "a value is copied into a new `bytes` object while the interpreter's lock is given up")]

use crate::handles::Handles;
use crate::open::{UntilClosed, Use};
use pyo3::exceptions::PyTypeError;
use pyo3::types::{PyBytes, PyMapping, PyMemoryView, PyString};
use pyo3::{Borrowed, ffi, intern, prelude::*};
use std::ptr::NonNull;
use std::slice;

/// Values of at least so many bytes are copied without the interpreter's lock. Below, giving it up and getting it
/// back takes longer than the copy, and much longer when other threads wait for it.
pub(crate) const LARGE: usize = 64 << 10;

/// A key or a value: `bytes` as they are, `str` as UTF-8, whatever else has a buffer as a copy of it.
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

/// Text as UTF-8. Halves of surrogate pairs, such as Python makes of bytes in a file's name that are no text, have a form
/// of their own there, which no other text has.
fn encoded<'py>(text: Borrowed<'_, 'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    text.encode_utf8().or_else(|_| {
        let bytes = text.call_method1(intern!(text.py(), "encode"), ("utf-8", "surrogatepass"))?;
        Ok(bytes.cast_into()?)
    })
}

/// A copy in a new `bytes` object; an error where there is no memory for it.
pub(crate) fn copied<'py>(py: Python<'py>, value: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, value.len(), |room| {
        room.copy_from_slice(value);
        Ok(())
    })
}

/// The same of an argument while its call lasts: a `bytes` object is held by the caller.
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

/// The value of a key in a new `bytes` object, into which the engine copies it; `None` within is a miss, `None` without
/// says that `space` is closed. For a large value the interpreter's lock is given up from when there is room for it.
#[inline]
pub(crate) fn read<'py>(
    py: Python<'py>,
    space: &UntilClosed<Handles>,
    key: &[u8],
) -> Option<PyResult<Option<Bound<'py, PyBytes>>>> {
    // SAFETY: the engine does not know of the interpreter's lock, a new `bytes` object runs nobody's code, and whoever gives
    // the lock up for a large one enters before.
    let handles = unsafe { space.look(py) }?;
    let mut incoming = Incoming { released: None, used: None, bytes: None };
    let found = handles.cache.get_with(key, |len| incoming.room(py, space, len));
    drop((incoming.released, incoming.used));
    // Room that is too small is none: Python had no memory, and says so.
    let is_miss = matches!(found, Ok(None));
    if is_miss {
        // A process that only reads would not notice otherwise.
        handles.cache.notice_removal();
    }
    Some(incoming.bytes.filter(|_| !is_miss).transpose())
}

/// A new `bytes` object while the engine copies into it. The engine holds its [`Room`], which passes in registers.
struct Incoming<'py, 's> {
    // Dropped first: the object needs the interpreter's lock when it is dropped.
    released: Option<Released>,
    used: Option<Use<'s, Handles>>,
    bytes: Option<PyResult<Bound<'py, PyBytes>>>,
}

impl<'py, 's> Incoming<'py, 's> {
    /// Room for so many bytes in place of what there was; none if Python has not so much.
    #[inline]
    fn room(&mut self, py: Python<'py>, space: &'s UntilClosed<Handles>, len: usize) -> Room {
        self.released = None;
        let mut room = Room { start: NonNull::dangling(), len: 0 };
        self.bytes = Some(PyBytes::new_with(py, len, |memory| {
            room = Room { start: NonNull::from(&mut *memory).cast(), len };
            Ok(())
        }));
        if room.len >= LARGE {
            self.used = space.enter(py);
            self.released = Some(Released::now());
        }
        room
    }
}

/// The memory of a new `bytes` object, all of it initialised, which nobody else has yet; or no bytes at all.
struct Room {
    start: NonNull<u8>,
    len: usize,
}

impl AsMut<[u8]> for Room {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as the type says. The object stays until the engine has copied, which asks for no second room before.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
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
