//! The base classes of `kennel.Cache` and `kennel.Namespace`.

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

    /// The path of the cache file, with symbolic links resolved.
    #[getter]
    fn path<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        paths::path(py, slf.as_super().cache(py)?.path())
    }

    /// Writes the file to its device, so that its contents survive a crash of the operating system. This holds until
    /// the next write by any process begins. Returns False if a write came in between, so that it does not hold.
    fn flush(slf: PyRef<'_, Self>, py: Python<'_>) -> Outcome<bool> {
        let cache = slf.as_super().cache(py)?;
        Ok(py.detach(|| cache.flush())?)
    }

    /// Returns the names of the file's namespaces.
    fn namespaces(slf: PyRef<'_, Self>) -> PyResult<Vec<String>> {
        Ok(slf.as_super().cache(slf.py())?.namespaces())
    }

    /// Returns the statistics of the file, a :class:`kennel.Stats`: its contents and its counters, over all processes.
    fn stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cache = slf.as_super().cache(py)?;
        stats::stats(py, &py.detach(|| cache.stats()))
    }

    /// Returns the statistics as metrics, a list of :class:`kennel.Sample`. :mod:`kennel.prometheus` exports them.
    fn samples<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let cache = slf.as_super().cache(py)?;
        py.detach(|| cache.stats()).samples().map(|sample| stats::sample(py, &sample)).collect()
    }

    /// Returns the statistics of each stripe, a list of :class:`kennel.StripeStats`.
    fn stripe_stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let cache = slf.as_super().cache(py)?;
        py.detach(|| cache.stripe_stats()).iter().map(|stripe| stats::stripe(py, stripe)).collect()
    }

    /// Checks every invariant of the file, also while other processes use it. Returns a :class:`kennel.Verification`.
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
    #[pyo3(signature = (cache, name, ttl = None, stale = None, absence_ttl = None, jitter = None))]
    fn new(
        py: Python<'_>,
        cache: PyRef<'_, Cache>,
        name: &str,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        absence_ttl: Option<Seconds>,
        jitter: Option<f64>,
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
        if let Some(part) = jitter {
            options = options.jitter(part);
        }
        let cache = cache.as_super().cache(py)?;
        let namespace = py.detach(|| cache.namespace(name, &options))?;
        Ok(PyClassInitializer::from(Space::new(namespace)).add_subclass(Self))
    }

    /// The name of the namespace.
    #[getter]
    fn name(slf: PyRef<'_, Self>) -> PyResult<String> {
        Ok(slf.as_super().cache(slf.py())?.namespace_name().unwrap_or_default().to_owned())
    }
}
