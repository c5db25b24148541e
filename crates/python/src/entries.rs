//! The iterator over entries.

use crate::stats;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// An iterator over entries. Several threads may share one; each entry goes to one of them.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Entries {
    entries: Mutex<kennel::Entries>,
}

impl Entries {
    pub(crate) fn new(entries: kennel::Entries) -> Self {
        Self { entries: Mutex::new(entries) }
    }
}

#[pymethods]
impl Entries {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // As in `Keys`, this thread keeps the interpreter's lock, so this mutex is free.
        let entry = self.entries.lock().unwrap_or_else(PoisonError::into_inner).next();
        entry.map(|entry| stats::entry(py, &entry)).transpose()
    }
}
