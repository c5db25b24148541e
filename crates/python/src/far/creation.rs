//! The right to create a key of the far tier.

use super::ask::{ask, drop_elsewhere};
use super::error::exception;
use crate::bytes::Bytes;
use crate::expiry::{Seconds, expiry};
use kennel_far::{Creation, Far};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The right of one caller among all hosts to create the value of a key. If a ``with`` block ends before ``store``, the
/// next waiting caller creates the value.
#[pyclass(module = "kennel._kennel", frozen)]
pub(crate) struct FarCreation {
    far: Far,
    /// `None` once the creation has ended. It is taken out before the interpreter's lock is released.
    creation: Mutex<Option<Creation>>,
}

impl FarCreation {
    pub(crate) fn new(far: &Far, creation: Creation) -> Self {
        Self { far: far.clone(), creation: Mutex::new(Some(creation)) }
    }

    fn look(&self) -> MutexGuard<'_, Option<Creation>> {
        self.creation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Creation> {
        self.look().take()
    }
}

#[pymethods]
impl FarCreation {
    /// Stores the value. Returns False if the value was not stored because the lease had already ended.
    #[pyo3(signature = (value, ttl = None, *, expires_at = None))]
    fn store(&self, py: Python<'_>, value: Bytes<'_>, ttl: Option<Seconds>, expires_at: Option<f64>) -> PyResult<bool> {
        let (value, expiry) = (value.as_ref().to_vec(), expiry(ttl, expires_at)?.unwrap_or_default());
        let creation = self.take().ok_or_else(|| PyValueError::new_err("the creation has ended"))?;
        let stored = ask(py, &self.far, move |_| creation.store(&value, expiry))?;
        stored.map_err(|error| exception(py, &error))
    }

    /// Ends the right without storing a value.
    fn fail(&self, py: Python<'_>) -> PyResult<()> {
        match self.take() {
            Some(creation) => ask(py, &self.far, move |_| drop(creation)),
            None => Ok(()),
        }
    }

    /// Whether the right to create the value has ended.
    #[getter]
    fn has_ended(&self) -> bool {
        self.look().is_none()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.fail(py)
    }
}

impl Drop for FarCreation {
    /// An object that is deleted must not wait for the server with the interpreter's lock held.
    fn drop(&mut self) {
        let creation = self.creation.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop_elsewhere(creation);
    }
}
