//! The conversion of the server's answers to Python.

use super::error::exception;
use kennel_far::Error;
use kennel_far::resp::Value;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList};

/// Converts an answer to Python objects: bytes, numbers, booleans, lists, None. An error within a list, as in the
/// answer of `EXEC`, becomes an exception object.
pub(crate) fn object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Int(number) => number.into_pyobject(py)?.into_any(),
        Value::Bool(yes) => PyBool::new(py, *yes).to_owned().into_any(),
        Value::Error(text) => exception(py, &Error::Server(text.clone())).into_value(py).into_bound(py).into_any(),
        Value::Array(values) | Value::Push(values) => {
            let list = PyList::empty(py);
            for value in values {
                list.append(object(py, value)?)?;
            }
            list.into_any()
        }
    })
}
