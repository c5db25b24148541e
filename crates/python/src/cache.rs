//! The cache as Python sees it, less what `kennel/_cache.py` adds.

use crate::bytes::{Bytes, Room};
use crate::error::{Outcome, exception};
use crate::expiry::{Seconds, expiry, how, unix_time};
use crate::options::Opening;
use crate::stats;
use kennel::{Error, Stamp, Swap};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyMemoryView, PySlice};
use std::path::PathBuf;

/// An open cache file.
#[pyclass(module = "kennel._kennel", subclass, weakref)]
pub(crate) struct Cache {
    /// Nothing once it is closed.
    open: Option<kennel::Cache>,
}

impl Cache {
    #[inline]
    fn open(&self) -> PyResult<&kennel::Cache> {
        self.open.as_ref().ok_or_else(|| PyValueError::new_err("the cache is closed"))
    }
}

#[pymethods]
impl Cache {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: &Bound<'_, PyDict>) -> Outcome<Self> {
        let cache = Opening::from_dict(options)?.open(py, &path)?;
        Ok(Self { open: Some(cache) })
    }

    /// Path of the cache file, symbolic links resolved.
    #[getter]
    fn path(&self) -> PyResult<PathBuf> {
        Ok(self.open()?.path().to_owned())
    }

    /// Whether close() was called.
    #[getter]
    fn closed(&self) -> bool {
        self.open.is_none()
    }

    /// Gives the file back. Whatever uses the cache afterwards raises ValueError.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let in_use = |_| PyRuntimeError::new_err("another thread is using the cache: close it when that is done");
        let cache = slf.try_borrow_mut().map_err(in_use)?.open.take();
        slf.py().detach(|| drop(cache));
        Ok(())
    }

    /// The value of a key, or `default` on a miss.
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'py>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, &key)?.map(Bound::into_any).or(default))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        self.find(py, &key.extract()?)?.ok_or_else(|| PyKeyError::new_err(key.unbind()))
    }

    fn __contains__(&self, key: Bytes<'_>) -> PyResult<bool> {
        Ok(self.open()?.contains(&key))
    }

    /// The value of a key with its flags, stamp and expiry, or None on a miss.
    fn get_item(&self, py: Python<'_>, key: Bytes<'_>) -> PyResult<Option<Item>> {
        Ok(self.open()?.get_item(&key).map(|item| Item {
            value: PyBytes::new(py, &item.value).unbind(),
            flags: item.flags,
            stamp: item.stamp.0,
            expires: item.expires.map(unix_time),
        }))
    }

    /// Copies the value to the start of a writable buffer and returns its length; None on a miss.
    fn get_into(&self, py: Python<'_>, key: Bytes<'_>, buffer: &Bound<'_, PyAny>) -> Outcome<Option<usize>> {
        let Some(value) = self.find(py, &key)? else { return Ok(None) };
        let view = PyMemoryView::from(buffer)?.call_method1("cast", ("B",))?;
        let (needed, given) = (value.as_bytes().len(), view.len()?);
        if needed > given {
            return Err(Error::BufferTooSmall { needed, given }.into());
        }
        view.set_item(PySlice::new(py, 0, needed as isize, 1), value)?;
        Ok(Some(needed))
    }

    /// The values of many keys, in their order; None for a miss.
    fn get_multi<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let (cache, keys) = (self.open()?, collect(keys)?);
        let keys = slices(&keys);
        let values = py.detach(|| cache.get_multi(&keys));
        PyList::new(py, values.iter().map(|value| value.as_ref().map(|value| PyBytes::new(py, value))))
    }

    /// Stores a value; returns its stamp.
    #[pyo3(signature = (key, value, ttl = None, *, expires_at = None, flags = 0))]
    fn set(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<u64> {
        let (cache, how) = (self.open()?, how(ttl, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.set_with(key, value, &how))?.0)
    }

    fn __setitem__(&self, py: Python<'_>, key: Bytes<'_>, value: Bytes<'_>) -> Outcome<()> {
        let (cache, key, value) = (self.open()?, key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.set(key, value))?)
    }

    /// Stores a value if the key has none; False if it has.
    #[pyo3(signature = (key, value, ttl = None, *, expires_at = None, flags = 0))]
    fn add(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<bool> {
        let (cache, how) = (self.open()?, how(ttl, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.add(key, value, &how))?)
    }

    /// Stores a value if the key has one; False if it has none.
    #[pyo3(signature = (key, value, ttl = None, *, expires_at = None, flags = 0))]
    fn replace(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<bool> {
        let (cache, how) = (self.open()?, how(ttl, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.replace(key, value, &how))?)
    }

    /// Stores a value if the key's value still has this stamp. Returns the new stamp; False if the value was
    /// changed, None if there is none.
    #[pyo3(signature = (key, stamp, value, ttl = None, *, expires_at = None, flags = 0))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn compare_and_swap<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'_>,
        stamp: u64,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<Bound<'py, PyAny>> {
        let (cache, how) = (self.open()?, how(ttl, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(match py.detach(|| cache.compare_and_swap(key, Stamp(stamp), value, &how))? {
            Swap::Stored(stamp) => stamp.0.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Swap::Changed => false.into_pyobject(py).map_err(PyErr::from)?.to_owned().into_any(),
            Swap::Absent => py.None().into_bound(py),
        })
    }

    /// Adds to a number that is stored as decimal text; the new number, or None if the key has no value.
    #[pyo3(signature = (key, delta = 1))]
    fn incr(&self, py: Python<'_>, key: Bytes<'_>, delta: u64) -> Outcome<Option<u64>> {
        let (cache, key) = (self.open()?, key.as_ref());
        Ok(py.detach(|| cache.incr(key, delta))?)
    }

    /// Takes from a number that is stored as decimal text; the new number, or None if the key has no value.
    #[pyo3(signature = (key, delta = 1))]
    fn decr(&self, py: Python<'_>, key: Bytes<'_>, delta: u64) -> Outcome<Option<u64>> {
        let (cache, key) = (self.open()?, key.as_ref());
        Ok(py.detach(|| cache.decr(key, delta))?)
    }

    /// Changes when a key expires; False if it has no value. Without a time it does not expire.
    #[pyo3(signature = (key, ttl = None, *, expires_at = None))]
    fn touch(&self, py: Python<'_>, key: Bytes<'_>, ttl: Option<Seconds>, expires_at: Option<f64>) -> Outcome<bool> {
        let (cache, expiry) = (self.open()?, expiry(ttl, expires_at)?);
        let key = key.as_ref();
        Ok(py.detach(|| cache.touch(key, expiry))?)
    }

    /// Removes a key; False if it has no value.
    fn delete(&self, py: Python<'_>, key: Bytes<'_>) -> Outcome<bool> {
        let (cache, key) = (self.open()?, key.as_ref());
        Ok(py.detach(|| cache.delete(key))?)
    }

    fn __delitem__(&self, py: Python<'_>, key: Bound<'_, PyAny>) -> Outcome<()> {
        let was_there = self.delete(py, key.extract()?)?;
        if was_there { Ok(()) } else { Err(PyKeyError::new_err(key.unbind()).into()) }
    }

    /// Stores many items, given as a mapping or as pairs, each stripe locked once for up to 64 of them. Returns
    /// those that could not be stored, by key, with their errors.
    #[pyo3(signature = (items, ttl = None, *, expires_at = None, flags = 0))]
    fn set_multi<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (cache, how) = (self.open()?, how(ttl, expires_at, flags)?);
        let given = pairs(items)?;
        let items = given.iter().map(|(_, key, value)| (key.as_ref(), value.as_ref())).collect::<Vec<_>>();
        let results = py.detach(|| cache.set_multi(&items, &how));
        let failed = PyDict::new(py);
        for ((key, ..), result) in given.iter().zip(results) {
            if let Err(error) = result {
                failed.set_item(key, exception(py, &error).into_value(py))?;
            }
        }
        Ok(failed)
    }

    /// Removes many keys, each stripe locked once for up to 64 of them; whether each had a value, in their order.
    fn delete_multi(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> Outcome<Vec<bool>> {
        let (cache, keys) = (self.open()?, collect(keys)?);
        let keys = slices(&keys);
        Ok(py.detach(|| cache.delete_multi(&keys)).into_iter().collect::<Result<_, _>>()?)
    }

    /// Forgets everything, at once and in every process.
    fn clear(&self, py: Python<'_>) -> Outcome<()> {
        let cache = self.open()?;
        Ok(py.detach(|| cache.clear())?)
    }

    /// Goes through the keys, in no order. It is no snapshot.
    fn keys(&self) -> PyResult<Keys> {
        Ok(Keys { keys: self.open()?.keys() })
    }

    fn __iter__(&self) -> PyResult<Keys> {
        self.keys()
    }

    /// Makes a durable point: what the cache holds now is there after a crash of the operating system, unless
    /// somebody writes before it. Returns whether it held.
    fn flush(&self, py: Python<'_>) -> Outcome<bool> {
        let cache = self.open()?;
        Ok(py.detach(|| cache.flush())?)
    }

    /// What the cache holds and what happened to it, over all processes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cache = self.open()?;
        stats::stats(py, &py.detach(|| cache.stats()))
    }

    /// The same for each stripe.
    fn stripe_stats<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let cache = self.open()?;
        py.detach(|| cache.stripe_stats()).iter().map(|stripe| stats::stripe(py, stripe)).collect()
    }

    /// Checks every invariant of the file, on a live one too.
    fn verify<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cache = self.open()?;
        stats::verification(py, &py.detach(|| cache.verify()))
    }
}

impl Cache {
    #[inline]
    fn find<'py>(&self, py: Python<'py>, key: &Bytes<'_>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.open()?.get_with(key, |len| Room::new(py, len)).map(Room::finished).transpose()
    }
}

/// A value with what is stored beside it.
#[pyclass(module = "kennel._kennel", frozen, get_all)]
pub(crate) struct Item {
    /// The value.
    value: Py<PyBytes>,
    /// The number that the caller stored beside it.
    flags: u32,
    /// What `compare_and_swap` compares: it differs after every write of the key.
    stamp: u64,
    /// When the item expires, in seconds since 1970; None if it does not.
    expires: Option<f64>,
}

/// An iterator over keys.
#[pyclass(module = "kennel._kennel")]
pub(crate) struct Keys {
    keys: kennel::Keys,
}

#[pymethods]
impl Keys {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        // Most of the time the next key is at hand; a scan that must look further is bounded by one bucket after
        // another, and a bucket by its limit of waiting.
        let keys = &mut self.keys;
        py.detach(|| keys.next()).map(|key| PyBytes::new(py, &key))
    }
}

fn collect<'py>(keys: &Bound<'py, PyAny>) -> PyResult<Vec<Bytes<'py>>> {
    keys.try_iter()?.map(|key| key?.extract()).collect()
}

fn slices<'a>(keys: &'a [Bytes<'_>]) -> Vec<&'a [u8]> {
    keys.iter().map(AsRef::as_ref).collect()
}

/// The items of a mapping, or of an iterable of pairs: the key as it was given, and both as bytes.
fn pairs<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<(Bound<'py, PyAny>, Bytes<'py>, Bytes<'py>)>> {
    let pairs = match items.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.into_any(),
        Err(_) => items.clone(),
    };
    pairs
        .try_iter()?
        .map(|pair| {
            let (key, value) = pair?.extract::<(Bound<'py, PyAny>, Bytes<'py>)>()?;
            let bytes = key.extract()?;
            Ok((key, bytes, value))
        })
        .collect()
}
