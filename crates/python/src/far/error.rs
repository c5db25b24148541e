//! The conversion of the far tier's errors to the exceptions in `kennel/far/_errors.py`.

use kennel_far::Error;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

/// The exception for an error, with the same message.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    if let Error::Near(error) = error {
        return crate::error::exception(py, error);
    }
    build(py, error).map_or_else(|problem| problem, PyErr::from_value)
}

fn build<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    match error {
        Error::Option { option, given, expected } => {
            fields.set_item("option", option)?;
            fields.set_item("given", given)?;
            fields.set_item("expected", expected)?;
        }
        Error::Io { source, .. } => fields.set_item("errno", source.raw_os_error())?,
        _ => {}
    }
    let classes = PyModule::import(py, "kennel.far._errors")?;
    classes.getattr(class(error))?.call((error.to_string(),), Some(&fields))
}

/// The name of an error's class.
fn class(error: &Error) -> &'static str {
    match error {
        Error::Option { .. } => "BadFarOption",
        Error::Mismatch(_) => "FarMismatch",
        Error::Server(_) => "ServerError",
        Error::Slots(..) => "SeveralSlots",
        Error::Connection(_) => "ServerUnreachable",
        Error::Answer { .. } => "UnexpectedAnswer",
        Error::Io { .. } => "FarIo",
        // A kind that this binding does not know yet.
        _ => "FarError",
    }
}
