//! Calls that wait for the server.

use crate::greenlets::Greenlet;
use kennel_far::Far;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyModule, PyTuple};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Work for a thread of gevent's pool.
#[pyclass(module = "kennel._kennel", frozen)]
struct Job(Mutex<Option<Box<dyn FnOnce() + Send>>>);

#[pymethods]
impl Job {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.map_or(Ok(()), |work| undisturbed(py, work))
    }
}

/// Does work without the interpreter's lock, and with signals blocked in this thread. Threads that the work starts
/// inherit the blocked signals.
pub(crate) fn undisturbed<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let signals = PyModule::import(py, intern!(py, "kennel.far._signals"))?;
    let constant = |name| -> PyResult<i32> { signals.getattr(name)?.extract() };
    let (block, set) = (constant(intern!(py, "BLOCK"))?, constant(intern!(py, "SET"))?);
    let (mask, held) = (signals.getattr(intern!(py, "mask"))?, signals.getattr(intern!(py, "HELD"))?);
    let before = mask.call1((block, PyTuple::empty(py)))?;
    let restore = || mask.call1((set, &before)).map(|_| ());
    // The error of a handler whose signal came before this call. The mask is changed all the same.
    if let Err(error) = mask.call1((block, held)) {
        restore()?;
        return Err(error);
    }
    let value = py.detach(work);
    restore()?;
    Ok(value)
}

/// Does work that waits for the server, without the interpreter's lock. If a greenlet calls, another thread does the
/// work, so that other greenlets of the calling thread run meanwhile.
pub(crate) fn ask<T: Send + 'static>(
    py: Python<'_>,
    far: &Far,
    work: impl FnOnce(&Far) -> T + Send + 'static,
) -> PyResult<T> {
    let Some(greenlet) = Greenlet::current(py)? else { return undisturbed(py, || work(far)) };
    let done = Arc::new(Mutex::new(None));
    let (far, result) = (far.clone(), Arc::clone(&done));
    let work = move || {
        let value = work(&far);
        *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    };
    let job = Bound::new(py, Job(Mutex::new(Some(Box::new(work)))))?;
    greenlet.call_in_thread(py, job.into_any())?;
    let value = done.lock().unwrap_or_else(PoisonError::into_inner).take();
    value.ok_or_else(|| PyRuntimeError::new_err("a call to the far tier was lost in a thread"))
}

/// Drops a value in a thread of its own, because the drop may wait for the server or for the keeper's thread. Python
/// deletes objects with the interpreter's lock held, and also while the interpreter ends.
pub(crate) fn drop_elsewhere<T: Send + 'static>(value: Option<T>) {
    if let Some(value) = value {
        // If no thread can be started, the value is dropped here.
        drop(thread::Builder::new().name("kennel-far end".into()).spawn(move || drop(value)));
    }
}
