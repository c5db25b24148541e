//! What a cache and a region of one have in common: all that is done with a key.

use crate::bytes::{Bytes, LARGE, Lent, collect, pairs, read, slices};
use crate::claim::{CreateHow, DEFAULT_WAIT, Lock, LockHow, Lookup, Task, waiting};
use crate::error::{Outcome, exception};
use crate::expiry::{Seconds, expiry, how, unix_time};
use crate::open::{UntilClosed, Use};
use kennel::{Error, Invalidation, SetOptions, Stamp, Swap};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyMemoryView, PySlice};
use std::ops::Deref;
use std::time::Duration;

/// Where keys lie: in a cache, or in a region of one.
#[derive(Clone)]
pub(crate) enum Of {
    Cache(kennel::Cache),
    Region(kennel::Region),
}

impl Of {
    pub(crate) fn cache(&self) -> &kennel::Cache {
        match self {
            Of::Cache(cache) => cache,
            Of::Region(region) => region.cache(),
        }
    }

    /// The same keys for an attempt that waits for no stripe's lock.
    pub(crate) fn at_once(&self) -> Self {
        match self {
            Of::Cache(cache) => Of::Cache(cache.with_lock_wait(Duration::ZERO)),
            Of::Region(region) => Of::Region(region.with_lock_wait(Duration::ZERO)),
        }
    }
}

/// Does something with a cache or a region, which have methods of the same names.
macro_rules! on {
    ($of:expr, $space:ident => $work:expr) => {
        match &*$of {
            $crate::space::Of::Cache($space) => $work,
            $crate::space::Of::Region($space) => $work,
        }
    };
}
pub(crate) use on;

/// What a cache and a region of one have in common.
#[pyclass(module = "kennel._kennel", subclass, weakref, frozen)]
pub(crate) struct Space(UntilClosed<Handles>);

/// Two handles of the same.
pub(crate) struct Handles {
    pub(crate) of: Of,
    /// For an attempt that waits for nothing, and so need not give up the interpreter's lock.
    at_once: Of,
}

/// Where keys lie while it is used.
pub(crate) struct UsedOf<'a>(Use<'a, Handles>);

impl Deref for UsedOf<'_> {
    type Target = Of;

    fn deref(&self) -> &Of {
        &self.0.of
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("the cache is closed")
}

impl Space {
    pub(crate) fn new(of: Of) -> Self {
        Self(UntilClosed::new(Handles { at_once: of.at_once(), of }))
    }

    pub(crate) fn of(&self, py: Python<'_>) -> PyResult<UsedOf<'_>> {
        self.0.enter(py).map(UsedOf).ok_or_else(closed)
    }

    #[inline]
    pub(crate) fn find<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        read(py, &self.0, key).unwrap_or_else(|| Err(closed()))
    }

    #[inline]
    pub(crate) fn store(&self, py: Python<'_>, key: &[u8], value: &[u8], how: &SetOptions) -> Outcome<u64> {
        let used = self.0.enter(py).ok_or_else(closed)?;
        // To give up the interpreter's lock and take it again costs as much as a small write does.
        if value.len() < LARGE
            && let Ok(stamp) = on!(&used.at_once, space => space.set_with(key, value, how))
        {
            return Ok(stamp.0);
        }
        Ok(py.detach(|| on!(&used.of, space => space.set_with(key, value, how)))?.0)
    }
}

#[pymethods]
impl Space {
    /// Whether close() was called.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.0.is_closed(py)
    }

    /// Gives the file back. Whatever uses this afterwards raises ValueError.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let in_use = |_| PyRuntimeError::new_err("another thread is using the cache: close it when that is done");
        let handles = self.0.close(py).map_err(in_use)?;
        py.detach(|| drop(handles));
        Ok(())
    }

    /// The same keys for an event loop's thread: a write that would have to wait for its stripe's lock raises Busy
    /// immediately.
    fn _nonblocking(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(Self::new(self.of(py)?.at_once()))
    }

    /// Seconds for which a write waits for its stripe's lock, before it raises Busy.
    #[getter]
    fn lock_wait(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.of(py)?.cache().lock_wait().as_secs_f64())
    }

    /// The value of a key, or `default` on a miss.
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'py>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, key.as_ref())?.map(Bound::into_any).or(default))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        self.find(py, key.extract::<Lent<'_, '_>>()?.as_ref())?.ok_or_else(|| PyKeyError::new_err(key.unbind()))
    }

    fn __contains__(&self, py: Python<'_>, key: Bytes<'_>) -> PyResult<bool> {
        Ok(on!(self.of(py)?, space => space.contains(&key)))
    }

    /// The value of a key with what is stored beside it, or None on a miss.
    fn get_item(&self, py: Python<'_>, key: Bytes<'_>) -> PyResult<Option<Item>> {
        Ok(on!(self.of(py)?, space => space.get_item(&key)).map(|item| Item::new(py, &item)))
    }

    /// Copies the value to the start of a writable buffer and returns its length; None on a miss.
    fn get_into(&self, py: Python<'_>, key: Bytes<'_>, buffer: &Bound<'_, PyAny>) -> Outcome<Option<usize>> {
        let Some(value) = self.find(py, key.as_ref())? else { return Ok(None) };
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
        let (of, keys) = (self.of(py)?, collect(keys)?);
        let keys = slices(&keys);
        let values = py.detach(|| on!(of, space => space.get_multi(&keys)));
        PyList::new(py, values.iter().map(|value| value.as_ref().map(|value| PyBytes::new(py, value))))
    }

    /// Stores a value; returns its stamp.
    #[pyo3(signature = (key, value, ttl = None, *, stale = None, expires_at = None, flags = 0))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn set(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<u64> {
        self.store(py, key.as_ref(), value.as_ref(), &how(ttl, stale, expires_at, flags)?)
    }

    fn __setitem__(&self, py: Python<'_>, key: Bytes<'_>, value: Bytes<'_>) -> Outcome<()> {
        self.store(py, key.as_ref(), value.as_ref(), &SetOptions::new()).map(|_| ())
    }

    /// Stores a value if the key has none; False if it has.
    #[pyo3(signature = (key, value, ttl = None, *, stale = None, expires_at = None, flags = 0))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn add(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<bool> {
        let (of, how) = (self.of(py)?, how(ttl, stale, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| on!(of, space => space.add(key, value, &how)))?)
    }

    /// Stores a value if the key has one; False if it has none.
    #[pyo3(signature = (key, value, ttl = None, *, stale = None, expires_at = None, flags = 0))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn replace(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<bool> {
        let (of, how) = (self.of(py)?, how(ttl, stale, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| on!(of, space => space.replace(key, value, &how)))?)
    }

    /// Stores a value if the key's value still has this stamp. Returns the new stamp; False if the value was
    /// changed, None if there is none.
    #[pyo3(signature = (key, stamp, value, ttl = None, *, stale = None, expires_at = None, flags = 0))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn compare_and_swap<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'_>,
        stamp: u64,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> Outcome<Bound<'py, PyAny>> {
        let (of, how) = (self.of(py)?, how(ttl, stale, expires_at, flags)?);
        let (key, value, stamp) = (key.as_ref(), value.as_ref(), Stamp(stamp));
        Ok(match py.detach(|| on!(of, space => space.compare_and_swap(key, stamp, value, &how)))? {
            Swap::Stored(stamp) => stamp.0.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Swap::Changed => PyBool::new(py, false).to_owned().into_any(),
            Swap::Absent => py.None().into_bound(py),
        })
    }

    /// Adds to a number that is stored as decimal text; the new number, or None if the key has no value.
    #[pyo3(signature = (key, delta = 1))]
    fn incr(&self, py: Python<'_>, key: Bytes<'_>, delta: u64) -> Outcome<Option<u64>> {
        let (of, key) = (self.of(py)?, key.as_ref());
        Ok(py.detach(|| on!(of, space => space.incr(key, delta)))?)
    }

    /// Takes from a number that is stored as decimal text; the new number, or None if the key has no value.
    #[pyo3(signature = (key, delta = 1))]
    fn decr(&self, py: Python<'_>, key: Bytes<'_>, delta: u64) -> Outcome<Option<u64>> {
        let (of, key) = (self.of(py)?, key.as_ref());
        Ok(py.detach(|| on!(of, space => space.decr(key, delta)))?)
    }

    /// Changes when a key expires; False if it has no value. Without a time it does not expire.
    #[pyo3(signature = (key, ttl = None, *, expires_at = None))]
    fn touch(&self, py: Python<'_>, key: Bytes<'_>, ttl: Option<Seconds>, expires_at: Option<f64>) -> Outcome<bool> {
        let (of, expiry) = (self.of(py)?, expiry(ttl, expires_at)?.unwrap_or_default());
        let key = key.as_ref();
        Ok(py.detach(|| on!(of, space => space.touch(key, expiry)))?)
    }

    /// Removes a key; False if it has no value.
    fn delete(&self, py: Python<'_>, key: Bytes<'_>) -> Outcome<bool> {
        let (of, key) = (self.of(py)?, key.as_ref());
        Ok(py.detach(|| on!(of, space => space.delete(key)))?)
    }

    fn __delitem__(&self, py: Python<'_>, key: Bound<'_, PyAny>) -> Outcome<()> {
        let was_there = self.delete(py, key.extract()?)?;
        if was_there { Ok(()) } else { Err(PyKeyError::new_err(key.unbind()).into()) }
    }

    /// Stores many items, given as a mapping or as pairs, each stripe locked once for up to 64 of them. Returns
    /// those that could not be stored, by key, with their errors.
    #[pyo3(signature = (items, ttl = None, *, stale = None, expires_at = None, flags = 0))]
    fn set_multi<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (of, how) = (self.of(py)?, how(ttl, stale, expires_at, flags)?);
        let given = pairs(items)?;
        let items = given.iter().map(|(_, key, value)| (key.as_ref(), value.as_ref())).collect::<Vec<_>>();
        let results = py.detach(|| on!(of, space => space.set_multi(&items, &how)));
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
        let (of, keys) = (self.of(py)?, collect(keys)?);
        let keys = slices(&keys);
        Ok(py.detach(|| on!(of, space => space.delete_multi(&keys))).into_iter().collect::<Result<_, _>>()?)
    }

    /// Makes all values gone, or with soft=True stale, at once and in every process.
    #[pyo3(signature = (*, soft = false))]
    fn invalidate(&self, py: Python<'_>, soft: bool) -> Outcome<()> {
        let of = self.of(py)?;
        let how = if soft { Invalidation::Soft } else { Invalidation::Hard };
        Ok(py.detach(|| on!(of, space => space.invalidate(how)))?)
    }

    /// Whether somebody creates or locks a key at this moment.
    fn is_claimed(&self, py: Python<'_>, key: Bytes<'_>) -> PyResult<bool> {
        Ok(on!(self.of(py)?, space => space.is_claimed(&key)))
    }

    /// Looks a key up, and gives the right to create it to one caller: what get_or_create() is made of. With at_once it
    /// raises Busy rather than wait for the stripe's lock.
    #[pyo3(
        signature = (
            key, *, ttl = None, stale = None, absence_ttl = None, wait = DEFAULT_WAIT, unprotected = false,
            max_age = None, early = None, flags = 0, task = None, at_once = false
        ),
        text_signature = "($self, key, *, ttl=None, stale=None, absence_ttl=None, wait=30.0, unprotected=False, \
                          max_age=None, early=None, flags=0, task=None, at_once=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn claim(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        absence_ttl: Option<Seconds>,
        wait: Option<Seconds>,
        unprotected: bool,
        max_age: Option<Seconds>,
        early: Option<f64>,
        flags: u32,
        task: Option<PyRef<'_, Task>>,
        at_once: bool,
    ) -> Outcome<Lookup> {
        let how =
            CreateHow { ttl, stale, absence_ttl, unprotected, max_age, early, flags, task: task.map(|task| task.0) };
        let used = self.0.enter(py).ok_or_else(closed)?;
        let of = if at_once { &used.at_once } else { &used.of };
        Lookup::find(py, of, &key, &how, waiting(wait))
    }

    /// The lock of a key, for all threads and processes that lock it, too.
    #[pyo3(
        signature = (key, *, wait = DEFAULT_WAIT, max_age = None, unprotected = false, handover = false),
        text_signature = "($self, key, *, wait=30.0, max_age=None, unprotected=False, handover=False)"
    )]
    fn lock(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        wait: Option<Seconds>,
        max_age: Option<Seconds>,
        unprotected: bool,
        handover: bool,
    ) -> PyResult<Lock> {
        Ok(Lock::new(
            self.of(py)?.clone(),
            key.as_ref(),
            LockHow { wait: waiting(wait), max_age, unprotected, handover },
        ))
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
    /// When it becomes stale, in seconds since 1970; None if it does not.
    soft_expires: Option<f64>,
    /// Whether it is stale: its soft expiry has passed, or a soft invalidation came.
    is_stale: bool,
}

impl Item {
    fn new(py: Python<'_>, item: &kennel::Item) -> Self {
        Self {
            value: PyBytes::new(py, &item.value).unbind(),
            flags: item.flags,
            stamp: item.stamp.0,
            expires: item.expires.map(unix_time),
            soft_expires: item.soft_expires.map(unix_time),
            is_stale: item.is_stale,
        }
    }
}
