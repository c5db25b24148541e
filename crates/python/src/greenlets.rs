//! The greenlets of gevent. This module calls `kennel/_gevent.py` if the program has imported gevent.

use crate::task::Task;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};
use std::time::Duration;

/// A greenlet that calls the cache.
pub(crate) struct Greenlet<'py> {
    /// The owner of the greenlet's claims.
    pub(crate) task: kennel::Task,
    sleep: Bound<'py, PyAny>,
}

impl<'py> Greenlet<'py> {
    /// The running greenlet; `None` in a thread in which gevent runs no greenlets.
    pub(crate) fn current(py: Python<'py>) -> PyResult<Option<Self>> {
        let modules = PyModule::import(py, intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
        if !modules.cast::<PyDict>()?.contains(intern!(py, "gevent"))? {
            return Ok(None);
        }
        let current = PyModule::import(py, intern!(py, "kennel._gevent"))?.call_method0(intern!(py, "current"))?;
        let found: Option<(PyRef<'_, Task>, Bound<'py, PyAny>)> = current.extract()?;
        Ok(found.map(|(task, sleep)| Self { task: task.0, sleep }))
    }

    /// Calls a function in a thread of gevent's pool while other greenlets run.
    pub(crate) fn call_in_thread(&self, py: Python<'py>, function: Bound<'py, PyAny>) -> PyResult<()> {
        let module = PyModule::import(py, intern!(py, "kennel._gevent"))?;
        module.call_method1(intern!(py, "call_in_thread"), (function,)).map(|_| ())
    }

    /// Lets other greenlets run for this time.
    pub(crate) fn sleep(&self, time: Duration) -> PyResult<()> {
        self.sleep.call1((time.as_secs_f64(),)).map(|_| ())
    }
}
