//! The conversion of the far tier's statistics to the dataclass in `kennel/far/_stats.py`.

use kennel_far::Stats;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

pub(crate) fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    for (name, count) in stats.iter() {
        fields.set_item(name, count)?;
    }
    PyModule::import(py, "kennel.far._stats")?.getattr("FarStats")?.call((), Some(&fields))
}
