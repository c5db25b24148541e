//! A whole cache, and its namespaces.

use crate::error::Outcome;
use crate::expiry::{Seconds, check_life};
use crate::options::Opening;
use crate::paths;
use crate::space::{Of, Space};
use crate::stats;
use kennel::NamespaceOptions;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// An open cache file.
#[pyclass(module = "kennel._kennel", extends = Space, subclass, frozen)]
pub(crate) struct Cache;

#[pymethods]
impl Cache {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: &Bound<'_, PyDict>) -> Outcome<PyClassInitializer<Self>> {
        let cache = Opening::from_dict(options)?.open(py, &path)?;
        Ok(PyClassInitializer::from(Space::new(Of::Cache(cache))).add_subclass(Self))
    }

    /// Path of the cache file, symbolic links resolved.
    #[getter]
    fn path<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        paths::path(py, slf.as_super().of(py)?.cache().path())
    }

    /// Forgets everything, at once and in every process.
    fn clear(slf: PyRef<'_, Self>, py: Python<'_>) -> Outcome<()> {
        let of = slf.as_super().of(py)?;
        let cache = of.cache();
        Ok(py.detach(|| cache.clear())?)
    }

    /// Goes through the keys, in no order. It is no snapshot. Keys of namespaces are there as they are stored: the
    /// namespace's name, a zero byte, the key.
    fn keys(slf: PyRef<'_, Self>) -> PyResult<Keys> {
        Ok(Keys { keys: Mutex::new(slf.as_super().of(slf.py())?.cache().keys()) })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyResult<Keys> {
        Self::keys(slf)
    }

    /// Makes a durable point: what the cache holds now is there after a crash of the operating system, unless
    /// somebody writes before it. Returns whether it held.
    fn flush(slf: PyRef<'_, Self>, py: Python<'_>) -> Outcome<bool> {
        let of = slf.as_super().of(py)?;
        let cache = of.cache();
        Ok(py.detach(|| cache.flush())?)
    }

    /// The names of the file's namespaces.
    fn namespaces(slf: PyRef<'_, Self>) -> PyResult<Vec<String>> {
        Ok(slf.as_super().of(slf.py())?.cache().namespaces())
    }

    /// What the cache holds and what happened to it, over all processes.
    fn stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let of = slf.as_super().of(py)?;
        let cache = of.cache();
        stats::stats(py, &py.detach(|| cache.stats()))
    }

    /// The same for each stripe.
    fn stripe_stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let of = slf.as_super().of(py)?;
        let cache = of.cache();
        py.detach(|| cache.stripe_stats()).iter().map(|stripe| stats::stripe(py, stripe)).collect()
    }

    /// Checks every invariant of the file, on a live one too.
    fn verify<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let of = slf.as_super().of(py)?;
        let cache = of.cache();
        stats::verification(py, &py.detach(|| cache.verify()))
    }
}

/// A named part of a cache.
#[pyclass(module = "kennel._kennel", extends = Space, subclass, frozen)]
pub(crate) struct Namespace;

#[pymethods]
impl Namespace {
    #[new]
    #[pyo3(signature = (cache, name, ttl = None, stale = None, absence_ttl = None))]
    fn new(
        py: Python<'_>,
        cache: PyRef<'_, Cache>,
        name: &str,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        absence_ttl: Option<Seconds>,
    ) -> Outcome<PyClassInitializer<Self>> {
        check_life(ttl, stale)?;
        let mut options = NamespaceOptions::new();
        if let Some(Seconds(ttl)) = ttl {
            options = options.ttl(ttl);
        }
        if let Some(Seconds(stale)) = stale {
            options = options.soft_ttl(stale);
        }
        if let Some(Seconds(absence)) = absence_ttl {
            options = options.absence_ttl(absence);
        }
        let of = cache.as_super().of(py)?;
        let cache = of.cache();
        let namespace = py.detach(|| cache.namespace(name, &options))?;
        Ok(PyClassInitializer::from(Space::new(Of::Namespace(namespace))).add_subclass(Self))
    }

    /// The namespace's name.
    #[getter]
    fn name(slf: PyRef<'_, Self>) -> PyResult<String> {
        Ok(match &*slf.as_super().of(slf.py())? {
            Of::Namespace(namespace) => namespace.name().to_owned(),
            Of::Cache(_) => String::new(),
        })
    }
}

/// An iterator over keys. Threads that share one take turns.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Keys {
    keys: Mutex<kennel::Keys>,
}

#[pymethods]
impl Keys {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        // The interpreter's lock is kept, so that nobody else holds this one: neither another thread, nor, in a forked
        // child, a thread that is not there. The engine waits some milliseconds at most, for a bucket in mid-change.
        let key = self.keys.lock().unwrap_or_else(PoisonError::into_inner).next();
        key.map(|key| PyBytes::new(py, &key))
    }
}
