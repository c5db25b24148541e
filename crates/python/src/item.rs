//! What lookups, swaps and scans return.

use crate::bytes::copied;
use crate::error::Outcome;
use crate::expiry::unix_time;
use crate::id::{Id, id_of};
use kennel::Swap;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes};
use std::sync::{Mutex, PoisonError};

/// The answer of ``get_if_changed`` if the key still has the value that the caller holds.
#[pyclass(module = "kennel", frozen, get_all)]
pub(crate) struct Unchanged {
    /// Whether the value is stale: its ``stale`` time has passed, or it was invalidated with ``soft=True``.
    pub is_stale: bool,
}

/// A value with its metadata.
#[pyclass(module = "kennel", frozen, get_all)]
pub(crate) struct Item {
    /// The value.
    pub(crate) value: Py<PyBytes>,
    /// The number that the caller stored with the value.
    flags: u32,
    /// The stamp for ``compare_and_swap``. Each write of the key gives its value another stamp.
    stamp: u64,
    /// The id of the write that stored the value, for ``get_if_changed``. No write to any file has the same id.
    pub(crate) id: Id,
    /// When the item expires, in seconds since 1970; None if it does not.
    expires: Option<f64>,
    /// When the item becomes stale, in seconds since 1970; None if it does not.
    soft_expires: Option<f64>,
    /// When the item was created, in seconds since 1970. This is known for items that ``get_or_create`` or one of its
    /// variants created, and for items with flags, with a ``stale`` time, or in a namespace; None for others.
    created: Option<f64>,
    /// Whether the item is stale: its ``stale`` time has passed, or it was invalidated with ``soft=True``.
    is_stale: bool,
}

impl Item {
    pub(crate) fn new(py: Python<'_>, item: &kennel::Item) -> PyResult<Self> {
        Ok(Self::with(copied(py, &item.value)?.unbind(), item))
    }

    /// The item with a value that is already a Python object.
    pub(crate) fn with(value: Py<PyBytes>, item: &kennel::Item) -> Self {
        Self {
            value,
            flags: item.flags,
            stamp: item.stamp.0,
            id: id_of(item),
            expires: item.expires.map(unix_time),
            soft_expires: item.soft_expires.map(unix_time),
            created: item.created.map(unix_time),
            is_stale: item.is_stale,
        }
    }

    /// A copy of the item for another Python object. Both share the value.
    pub(crate) fn again(&self, py: Python<'_>) -> Self {
        let Self { ref value, flags, stamp, id, expires, soft_expires, created, is_stale } = *self;
        Self { value: value.clone_ref(py), flags, stamp, id, expires, soft_expires, created, is_stale }
    }
}

/// The outcome of a swap for Python: the new stamp; None if the key has no value; or False if it has another stamp.
pub(crate) fn swapped(py: Python<'_>, outcome: Swap) -> Outcome<Bound<'_, PyAny>> {
    Ok(match outcome {
        Swap::Stored(stamp) => stamp.0.into_pyobject(py).map_err(PyErr::from)?.into_any(),
        Swap::Absent => py.None().into_bound(py),
        _ => PyBool::new(py, false).to_owned().into_any(),
    })
}

/// An iterator over keys. Several threads may share one; each key goes to one of them.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Keys {
    pub keys: Mutex<kennel::Keys>,
}

#[pymethods]
impl Keys {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        // This thread keeps the interpreter's lock, so this mutex is free: no other thread holds it, and in a forked
        // child no thread of the parent held it. The engine waits at most a few milliseconds, for a bucket that is
        // being changed.
        let key = self.keys.lock().unwrap_or_else(PoisonError::into_inner).next();
        key.map(|key| PyBytes::new(py, &key))
    }
}
