//! The conversion of the engine's errors to Python exceptions.
//!
//! The classes are in `kennel/_errors.py`, one for each kind of error and with the same name. They are written in
//! Python because they also derive from built-in exceptions: `FileNotFoundError`, `TimeoutError`, `ValueError`.

use crate::paths;
use kennel::Error;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};
use std::path::Path;

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

/// PyO3 uses this conversion for the results of methods. There PyO3 knows that the thread is attached to an
/// interpreter, and `attach` uses this interpreter. Elsewhere `attach` would request the lock of the main interpreter.
/// On Python 3.9 to 3.11 a thread of another interpreter would then wait for a lock that it holds itself.
impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| failure.exception(py))
    }
}

/// The result of a method.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// The exception for an error, with the same message. The fields of the error become its attributes.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    build(py, error).map_or_else(|problem| problem, PyErr::from_value)
}

fn build<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    if let Some(path) = path_of(error) {
        fields.set_item("path", paths::path(py, path)?)?;
    }
    note_fields(error, &fields)?;
    let classes = PyModule::import(py, "kennel._errors")?;
    classes.getattr(class(error))?.call((error.to_string(),), Some(&fields))
}

/// The name of an error's class.
fn class(error: &Error) -> &'static str {
    match error {
        Error::Io { .. } => "Io",
        Error::NotFound(_) => "NotFound",
        Error::Exists(_) => "Exists",
        Error::BadFile { .. } => "BadFile",
        Error::Mismatch { .. } => "Mismatch",
        Error::LocksLost { .. } => "LocksLost",
        Error::UnknownStrategy { .. } => "UnknownStrategy",
        Error::OpenElsewhere(_) => "OpenElsewhere",
        Error::NotTrusted { .. } => "NotTrusted",
        Error::NetworkFilesystem { .. } => "NetworkFilesystem",
        Error::NoSpace { .. } => "NoSpace",
        Error::SeatsFull { .. } => "SeatsFull",
        Error::BadOption { .. } => "BadOption",
        Error::KeyTooLong { .. } => "KeyTooLong",
        Error::TooLarge { .. } => "TooLarge",
        Error::NotANumber { .. } => "NotANumber",
        Error::Overflow { .. } => "Overflow",
        Error::Busy { .. } => "Busy",
        Error::TimedOut { .. } => "TimedOut",
        Error::OwnClaim => "OwnClaim",
        Error::NamespacesFull { .. } => "NamespacesFull",
        Error::ReadOnly(_) => "ReadOnly",
        Error::LeaseRefused(_) => "LeaseRefused",
        Error::NoMemory { .. } => "NoMemory",
        Error::BufferTooSmall { .. } => "BufferTooSmall",
        Error::NotResized { .. } => "NotResized",
        Error::TooManyTags { .. } => "TooManyTags",
        Error::Resting { .. } => "Resting",
        Error::FailedElsewhere => "FailedElsewhere",
        // A kind that this binding does not know yet.
        _ => "Error",
    }
}

/// The path that an error names.
fn path_of(error: &Error) -> Option<&Path> {
    match error {
        Error::NotFound(path)
        | Error::Exists(path)
        | Error::OpenElsewhere(path)
        | Error::ReadOnly(path)
        | Error::LeaseRefused(path)
        | Error::Io { path, .. }
        | Error::BadFile { path, .. }
        | Error::Mismatch { path, .. }
        | Error::LocksLost { path, .. }
        | Error::UnknownStrategy { path, .. }
        | Error::NotTrusted { path, .. }
        | Error::NetworkFilesystem { path, .. }
        | Error::NoSpace { path, .. }
        | Error::SeatsFull { path, .. }
        | Error::NamespacesFull { path, .. }
        | Error::NotResized { path, .. } => Some(path),
        _ => None,
    }
}

/// Notes the fields of an error other than its path.
fn note_fields(error: &Error, fields: &Bound<'_, PyDict>) -> PyResult<()> {
    match error {
        Error::Io { source, .. } => fields.set_item("errno", source.raw_os_error()),
        Error::BadFile { field, expected, found, .. } => {
            fields.set_item("field", field)?;
            fields.set_item("expected", expected)?;
            fields.set_item("found", found)
        }
        Error::Mismatch { option, asked, found, .. } => {
            fields.set_item("option", option)?;
            fields.set_item("asked", asked)?;
            fields.set_item("found", found)
        }
        Error::UnknownStrategy { found, asked, .. } => {
            fields.set_item("found", found)?;
            fields.set_item("asked", asked)
        }
        Error::NetworkFilesystem { kind, .. } => fields.set_item("kind", kind),
        Error::NoSpace { needed, .. } => fields.set_item("needed", needed),
        Error::SeatsFull { seats, .. } => fields.set_item("seats", seats),
        Error::BadOption { option, given, expected } => {
            fields.set_item("option", option)?;
            fields.set_item("given", given)?;
            fields.set_item("expected", expected)
        }
        Error::KeyTooLong { size, limit } => {
            fields.set_item("size", size)?;
            fields.set_item("limit", limit)
        }
        Error::TooLarge { size, limit } => {
            fields.set_item("size", size)?;
            fields.set_item("limit", limit)
        }
        Error::TooManyTags { found, limit } => {
            fields.set_item("found", found)?;
            fields.set_item("limit", limit)
        }
        Error::NotANumber { found } => fields.set_item("found", found),
        Error::Overflow { value, .. } => fields.set_item("value", value),
        Error::Busy { stripe, waited } => {
            fields.set_item("stripe", stripe)?;
            fields.set_item("waited", waited.as_secs_f64())
        }
        Error::Resting { left } => fields.set_item("left", left.as_secs_f64()),
        Error::TimedOut { waited } => fields.set_item("waited", waited.as_secs_f64()),
        Error::NamespacesFull { namespaces, .. } => fields.set_item("namespaces", namespaces),
        Error::NoMemory { needed } => fields.set_item("needed", needed),
        Error::BufferTooSmall { needed, given } => {
            fields.set_item("needed", needed)?;
            fields.set_item("given", given)
        }
        _ => Ok(()),
    }
}
