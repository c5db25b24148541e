//! A whole cache, and its namespaces.

use crate::error::Outcome;
use crate::expiry::{Seconds, check_life};
use crate::options::Opening;
use crate::paths;
use crate::space::Space;
use crate::stats;
use kennel::NamespaceOptions;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;

/// An open cache file.
#[pyclass(module = "kennel._kennel", extends = Space, subclass, frozen)]
pub(crate) struct Cache;

#[pymethods]
impl Cache {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: &Bound<'_, PyDict>) -> Outcome<PyClassInitializer<Self>> {
        let cache = Opening::from_dict(options)?.open(py, &path)?;
        Ok(PyClassInitializer::from(Space::new(cache)).add_subclass(Self))
    }

    /// Path of the cache file, symbolic links resolved.
    #[getter]
    fn path<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        paths::path(py, slf.as_super().cache(py)?.path())
    }

    /// Makes a durable point: what the cache holds now is there after a crash of the operating system, unless
    /// a write comes in between. Returns whether it held.
    fn flush(slf: PyRef<'_, Self>, py: Python<'_>) -> Outcome<bool> {
        let cache = slf.as_super().cache(py)?;
        Ok(py.detach(|| cache.flush())?)
    }

    /// The names of the file's namespaces.
    fn namespaces(slf: PyRef<'_, Self>) -> PyResult<Vec<String>> {
        Ok(slf.as_super().cache(slf.py())?.namespaces())
    }

    /// What the cache holds and what happened to it, over all processes.
    fn stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cache = slf.as_super().cache(py)?;
        stats::stats(py, &py.detach(|| cache.stats()))
    }

    /// The same for each stripe.
    fn stripe_stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let cache = slf.as_super().cache(py)?;
        py.detach(|| cache.stripe_stats()).iter().map(|stripe| stats::stripe(py, stripe)).collect()
    }

    /// Checks every invariant of the file, on a live one too.
    fn verify<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cache = slf.as_super().cache(py)?;
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
        let cache = cache.as_super().cache(py)?;
        let namespace = py.detach(|| cache.namespace(name, &options))?;
        Ok(PyClassInitializer::from(Space::new(namespace)).add_subclass(Self))
    }

    /// The namespace's name.
    #[getter]
    fn name(slf: PyRef<'_, Self>) -> PyResult<String> {
        Ok(slf.as_super().cache(slf.py())?.namespace_name().unwrap_or_default().to_owned())
    }
}
