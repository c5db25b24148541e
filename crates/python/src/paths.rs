//! The conversion of paths to Python.

use pyo3::prelude::*;
use pyo3::types::PyModule;
use std::path::Path;

/// A `pathlib.Path` of the calling interpreter. PyO3's own conversion always uses the class of the first interpreter
/// that imported this module. Other interpreters have a class of their own, and the first one's class ends with its
/// interpreter.
pub(crate) fn path<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyAny>> {
    PyModule::import(py, "pathlib")?.getattr("Path")?.call1((path.as_os_str(),))
}
