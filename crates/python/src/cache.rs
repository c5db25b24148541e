//! The base classes of `kennel.Cache` and `kennel.Namespace`.

use crate::bytes::Bytes;
use crate::create_how::waiting;
use crate::error::Outcome;
use crate::expiry::{Seconds, check_life};
use crate::options::{Given, Opening};
use crate::paths;
use crate::saved;
use crate::space::Space;
use crate::stats;
use kennel::{NamespaceOptions, ResizeOptions, RestoreOptions};
use kennel_stream::{Choice, FillOptions};
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

    /// Writes the file to its device, so that its contents survive a crash of the operating system. They survive only
    /// if no process begins a write before the crash. Returns False if a process wrote during the flush, so that the
    /// contents may not survive.
    fn flush(slf: PyRef<'_, Self>, py: Python<'_>) -> Outcome<bool> {
        let cache = slf.as_super().cache(py)?;
        Ok(py.detach(|| cache.flush())?)
    }

    /// Changes the capacity of the file while all processes continue to use it. A new file gets the items, namespaces,
    /// counters and invalidations of the old one, and takes its place; every process switches to it at its next call.
    /// The resize causes no misses, and writers wait for some milliseconds at its end. If not all items fit, the most
    /// used ones are kept. The values of creations in progress are not stored. After an error the file is unchanged.
    ///
    /// For a process that later opens the file with another ``capacity``, the file does not match: see ``on_mismatch``.
    ///
    /// :param capacity: how many bytes of records the file is to hold: a number, or text such as ``"256M"``.
    /// :param mean_item: the mean size of key and value together in bytes; by default it stays unchanged.
    /// :param wait: how many seconds to wait for keys that are locked before :class:`kennel.NotResized` is raised;
    ///     ``None`` waits without limit. Default 30.
    /// :returns: a :class:`kennel.Resized`.
    #[pyo3(signature = (capacity, *, mean_item=None, wait=Some(Seconds(std::time::Duration::from_secs(30)))))]
    fn resize<'py>(
        slf: PyRef<'py, Self>,
        py: Python<'py>,
        capacity: Bound<'py, PyAny>,
        mean_item: Option<Bound<'py, PyAny>>,
        wait: Option<Seconds>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let capacity = Given { name: "capacity", value: &capacity }.size()?;
        let mut how = ResizeOptions::new().wait(waiting(wait));
        if let Some(mean_item) = mean_item {
            how = how.mean_item(Given { name: "mean_item", value: &mean_item }.size()?);
        }
        let cache = slf.as_super().cache(py)?;
        let resized = py.detach(|| cache.resize(capacity, &how))?;
        Ok(stats::resized(py, &resized)?)
    }

    /// Removes a namespace with all its values, for every process, so that the file has room for another one. Returns
    /// whether the file had the namespace. :class:`kennel.Namespace` objects stay valid: their reads miss, and their
    /// next write adds the namespace again.
    ///
    /// :param name: the name of the namespace. The namespaces of a far tier's near file can be cleared, but not
    ///     removed: for them ``ValueError`` is raised.
    fn remove_namespace(slf: PyRef<'_, Self>, py: Python<'_>, name: &str) -> Outcome<bool> {
        let cache = slf.as_super().cache(py)?;
        Ok(py.detach(|| cache.remove_namespace(name))?)
    }

    /// Returns the names of the file's namespaces.
    fn namespaces(slf: PyRef<'_, Self>) -> PyResult<Vec<String>> {
        Ok(slf.as_super().cache(slf.py())?.namespaces())
    }

    /// Returns the statistics of the file, a :class:`kennel.Stats`: its contents, and the counters of all processes.
    fn stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cache = slf.as_super().cache(py)?;
        stats::stats(py, &py.detach(|| cache.stats()))
    }

    /// Returns the statistics as metrics, a list of :class:`kennel.Sample`. :mod:`kennel.prometheus` exports them.
    fn samples<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let cache = slf.as_super().cache(py)?;
        py.detach(|| cache.stats()).samples().map(|sample| stats::sample(py, &sample)).collect()
    }

    /// Returns how many bytes of the file this process has mapped with large pages; None if the system does not report
    /// this, as on systems other than Linux.
    fn large_mapped(slf: PyRef<'_, Self>, py: Python<'_>) -> PyResult<Option<u64>> {
        let cache = slf.as_super().cache(py)?;
        Ok(py.detach(|| cache.large_mapped()))
    }

    /// Returns the statistics of each stripe, a list of :class:`kennel.StripeStats`.
    fn stripe_stats<'py>(slf: PyRef<'py, Self>, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let cache = slf.as_super().cache(py)?;
        py.detach(|| cache.stripe_stats()).iter().map(|stripe| stats::stripe(py, stripe)).collect()
    }

    /// Saves the items of the cache to a stream, the most used ones first, and returns their number. :meth:`load` or
    /// the command ``kennel load`` stores them in another cache, of any size and on any host. The stream is not a
    /// snapshot: each item was current at some moment of the dump.
    ///
    /// :param file: a path, or a binary file object. A file at this path is replaced when the stream is complete. While
    ///     the items are written to a file object, the interpreter's lock is held.
    /// :param namespace: save only the items of this namespace. Raises ``ValueError`` if the cache does not have it.
    /// :param prefix: save only the items whose keys begin with this. With ``namespace``, these are the keys within the
    ///     namespace.
    #[pyo3(signature = (file, *, namespace = None, prefix = None))]
    fn dump(
        slf: PyRef<'_, Self>,
        file: &Bound<'_, PyAny>,
        namespace: Option<String>,
        prefix: Option<Bytes<'_>>,
    ) -> Outcome<u64> {
        let prefix = prefix.map(|prefix| prefix.as_ref().to_vec()).unwrap_or_default();
        let cache = slf.as_super().cache(file.py())?;
        saved::write_items(&cache, &Choice { namespace, prefix }, file)
    }

    /// Stores the items of a stream that :meth:`dump` or the command ``kennel dump`` wrote, and returns a
    /// :class:`kennel.Loaded`. Items keep their flags, expiries and times of creation. Namespaces that the file lacks
    /// are added. After an error, the items that were stored before it remain. Raises ``ValueError`` if the file is no
    /// such stream.
    ///
    /// :param file: a path, or a binary file object.
    /// :param replace: replace the value that the cache has for a key. By default the cache keeps it, because it is
    ///     newer.
    /// :param evict: if there is no room for an item, store it like a new one, so that others are evicted. By default
    ///     it is left out.
    /// :param tagged: store items that bear tags, too. By default they are left out, because their tags may have been
    ///     invalidated since they were saved.
    #[pyo3(signature = (file, *, replace = false, evict = false, tagged = false))]
    fn load<'py>(
        slf: PyRef<'py, Self>,
        file: &Bound<'py, PyAny>,
        replace: bool,
        evict: bool,
        tagged: bool,
    ) -> Outcome<Bound<'py, PyAny>> {
        let how = FillOptions { restore: RestoreOptions::new().replace(replace).evict(evict), tagged };
        let cache = slf.as_super().cache(file.py())?;
        saved::read_items(&cache, &how, file)
    }

    /// Checks every invariant of the file. Other processes may use the file meanwhile. Returns a
    /// :class:`kennel.Verification`.
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
    #[pyo3(signature = (cache, name, ttl = None, stale = None, absence_ttl = None, jitter = None, idle = None))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn new(
        py: Python<'_>,
        cache: PyRef<'_, Cache>,
        name: &str,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        absence_ttl: Option<Seconds>,
        jitter: Option<f64>,
        idle: Option<Seconds>,
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
        if let Some(Seconds(idle)) = idle {
            options = options.idle(idle);
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
