//! The engine's errors as Python's exceptions.
//!
//! The classes are in `kennel/_errors.py`, one for each kind, named as here, so that they can also be what Python
//! has for such things: `FileNotFoundError`, `TimeoutError`, `ValueError`.

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

    /// The exception of this failure. A method that Python calls without PyO3's help must use this, not `PyErr::from`.
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

/// PyO3 converts what a method returns in this way. It has noted that the thread is attached to an interpreter, so
/// `attach` uses that one. Where PyO3 does not know it, `attach` would ask Python for the main interpreter's lock: a
/// thread of another interpreter would then wait, on Python 3.9 to 3.11, for a lock that it holds itself.
impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| failure.exception(py))
    }
}

/// What a method returns.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// The exception that says what an error says; its fields become attributes.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).map_or_else(|problem| problem, PyErr::from_value)
}

fn build<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    let name = describe(error, &fields)?;
    let classes = PyModule::import(py, "kennel._errors")?;
    classes.getattr(name)?.call((error.to_string(),), Some(&fields))
}

/// Names the class of an error and notes its fields.
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
        // A kind that this binding does not know yet.
        _ => "Error",
    })
}
