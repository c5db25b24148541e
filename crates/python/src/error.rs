//! The conversion of the engine's errors to Python exceptions.
//!
//! The classes are in `kennel/_errors.py`, one for each kind of error and with the same name. They are written in
//! Python because they also derive from built-in exceptions: `FileNotFoundError`, `TimeoutError`, `ValueError`.

use crate::paths;
use kennel::Error;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

/// An error of the engine, or one of Python.
pub(crate) enum Failure {
    Engine(Error),
    Python(PyErr),
}

impl Failure {
    pub(crate) fn is_time_out(&self) -> bool {
        matches!(self, Self::Engine(Error::TimedOut { .. }))
    }

    pub(crate) fn is_own_claim(&self) -> bool {
        matches!(self, Self::Engine(Error::OwnClaim))
    }

    /// The exception for this failure. A method that Python calls without PyO3 must use this, not `PyErr::from`.
    pub(crate) fn exception(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Engine(error) => exception(py, &error),
            Self::Python(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// PyO3 uses this conversion for the results of methods. It knows then that the thread is attached to an interpreter,
/// and `attach` uses that one. Elsewhere `attach` would request the lock of the main interpreter. On Python 3.9 to 3.11
/// a thread of another interpreter would then wait for a lock that it holds itself.
impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| failure.exception(py))
    }
}

/// The result of a method.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// The exception for an error, with the same message. The fields of the error become attributes.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).map_or_else(|problem| problem, PyErr::from_value)
}

fn build<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    let name = describe(error, &fields)?;
    let classes = PyModule::import(py, "kennel._errors")?;
    classes.getattr(name)?.call((error.to_string(),), Some(&fields))
}

/// Returns the name of the class for an error, and adds its fields to `fields`.
fn describe(error: &Error, fields: &Bound<'_, PyDict>) -> PyResult<&'static str> {
    Ok(match error {
        Error::Io { path, source, .. } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("errno", source.raw_os_error())?;
            "Io"
        }
        Error::NotFound(path) => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            "NotFound"
        }
        Error::Exists(path) => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            "Exists"
        }
        Error::BadFile { path, field, expected, found } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("field", field)?;
            fields.set_item("expected", expected)?;
            fields.set_item("found", found)?;
            "BadFile"
        }
        Error::Mismatch { path, option, asked, found } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("option", option)?;
            fields.set_item("asked", asked)?;
            fields.set_item("found", found)?;
            "Mismatch"
        }
        Error::LocksLost { path, .. } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            "LocksLost"
        }
        Error::UnknownStrategy { path, found, asked, .. } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("found", found)?;
            fields.set_item("asked", asked)?;
            "UnknownStrategy"
        }
        Error::OpenElsewhere(path) => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            "OpenElsewhere"
        }
        Error::NotTrusted { path, .. } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            "NotTrusted"
        }
        Error::NetworkFilesystem { path, kind } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("kind", kind)?;
            "NetworkFilesystem"
        }
        Error::NoSpace { path, needed, .. } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("needed", needed)?;
            "NoSpace"
        }
        Error::SeatsFull { path, seats } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("seats", seats)?;
            "SeatsFull"
        }
        Error::BadOption { option, given, expected } => {
            fields.set_item("option", option)?;
            fields.set_item("given", given)?;
            fields.set_item("expected", expected)?;
            "BadOption"
        }
        Error::KeyTooLong { size, limit } => {
            fields.set_item("size", size)?;
            fields.set_item("limit", limit)?;
            "KeyTooLong"
        }
        Error::TooLarge { size, limit } => {
            fields.set_item("size", size)?;
            fields.set_item("limit", limit)?;
            "TooLarge"
        }
        Error::NotANumber { found } => {
            fields.set_item("found", found)?;
            "NotANumber"
        }
        Error::Overflow { value, .. } => {
            fields.set_item("value", value)?;
            "Overflow"
        }
        Error::Busy { stripe, waited } => {
            fields.set_item("stripe", stripe)?;
            fields.set_item("waited", waited.as_secs_f64())?;
            "Busy"
        }
        Error::TimedOut { waited } => {
            fields.set_item("waited", waited.as_secs_f64())?;
            "TimedOut"
        }
        Error::OwnClaim => "OwnClaim",
        Error::NamespacesFull { path, namespaces } => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            fields.set_item("namespaces", namespaces)?;
            "NamespacesFull"
        }
        Error::ReadOnly(path) => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            "ReadOnly"
        }
        Error::LeaseRefused(path) => {
            fields.set_item("path", paths::path(fields.py(), path)?)?;
            "LeaseRefused"
        }
        Error::NoMemory { needed } => {
            fields.set_item("needed", needed)?;
            "NoMemory"
        }
        Error::BufferTooSmall { needed, given } => {
            fields.set_item("needed", needed)?;
            fields.set_item("given", given)?;
            "BufferTooSmall"
        }
        // A kind of error that this binding does not know yet.
        _ => "Error",
    })
}
