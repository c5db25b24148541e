//! All that is done with keys, in a whole cache or in a namespace of one.

use crate::bytes::{Bytes, LARGE, Lent, collect, copied, pairs, read, slices};
use crate::claim::{CreateHow, DEFAULT_WAIT, Lock, LockHow, Lookup, waiting};
use crate::error::{Outcome, exception};
use crate::expiry::{Seconds, check_life, expiry, how, unix_time};
use crate::handles::{Handles, UsedCache};
use crate::open::UntilClosed;
use crate::task::Task;
use kennel::{Cache, Error, Invalidation, SetOptions, Stamp, Swap};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyMemoryView, PySlice};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the documentation of a method that stores says of its options.
macro_rules! life {
    () => {
        ":param ttl: seconds, or a ``timedelta``, after which the value expires; by default it does not, or as the \
            namespace says.\n\
        :param stale: seconds after which it is stale: whoever creates values makes it anew, all others use it. At most \
            ``ttl``.\n\
        :param expires_at: the moment at which it expires, in seconds since 1970, in place of ``ttl``.\n\
        :param flags: a number that is stored beside the value."
    };
}

/// All that is done with keys, in a whole cache or in a namespace of one.
#[pyclass(module = "kennel._kennel", subclass, weakref, frozen)]
pub(crate) struct Space(UntilClosed<Handles>);

fn closed() -> PyErr {
    PyValueError::new_err("the cache is closed")
}

impl Space {
    pub(crate) fn new(cache: Cache) -> Self {
        Self(UntilClosed::new(Handles::new(cache)))
    }

    pub(crate) fn cache(&self, py: Python<'_>) -> PyResult<UsedCache<'_>> {
        self.0.enter(py).map(UsedCache).ok_or_else(closed)
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
            && let Ok(stamp) = used.at_once.set_with(key, value, how)
        {
            return Ok(stamp.0);
        }
        Ok(py.detach(|| used.cache.set_with(key, value, how))?.0)
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
        Ok(Self::new(self.cache(py)?.with_lock_wait(Duration::ZERO)))
    }

    /// Seconds for which a write waits for its stripe's lock, before it raises Busy.
    #[getter]
    fn lock_wait(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.cache(py)?.lock_wait().as_secs_f64())
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
        Ok(self.cache(py)?.contains(&key))
    }

    /// The value of a key with what is stored beside it, or None on a miss.
    fn get_item(&self, py: Python<'_>, key: Bytes<'_>) -> Outcome<Option<Item>> {
        let cache = self.cache(py)?;
        let item = cache.try_get_item(&key)?;
        if item.is_none() {
            cache.notice_removal();
        }
        Ok(item.map(|item| Item::new(py, &item)).transpose()?)
    }

    /// Copies the value to the start of a writable buffer and returns its length; None on a miss.
    ///
    /// :param buffer: what takes the value, a ``bytearray`` for example. One that is too small is
    ///     :class:`kennel.BufferTooSmall`.
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
    fn get_multi<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyList>> {
        let (cache, keys) = (self.cache(py)?, collect(keys)?);
        let keys = slices(&keys);
        let values = py.detach(|| cache.try_get_multi(&keys))?;
        if values.contains(&None) {
            cache.notice_removal();
        }
        let list = PyList::empty(py);
        for value in values {
            list.append(value.map(|value| copied(py, &value)).transpose()?)?;
        }
        Ok(list)
    }

    #[doc = concat!("Stores a value; returns its stamp.\n\n", life!())]
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

    #[doc = concat!("Stores a value if the key has none; False if it has.\n\n", life!())]
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
        let (cache, how) = (self.cache(py)?, how(ttl, stale, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.add(key, value, &how))?)
    }

    #[doc = concat!("Stores a value if the key has one; False if it has none.\n\n", life!())]
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
        let (cache, how) = (self.cache(py)?, how(ttl, stale, expires_at, flags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.replace(key, value, &how))?)
    }

    #[doc = concat!(
        "Stores a value if the key's value still has this stamp. Returns the new stamp; False if the value was changed, \
            None if there is none.\n\n\
        :param stamp: what :attr:`kennel.Item.stamp`, or the call that stored the value, returned.\n",
        life!()
    )]
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
        let (cache, how) = (self.cache(py)?, how(ttl, stale, expires_at, flags)?);
        let (key, value, stamp) = (key.as_ref(), value.as_ref(), Stamp(stamp));
        Ok(match py.detach(|| cache.compare_and_swap(key, stamp, value, &how))? {
            Swap::Stored(stamp) => stamp.0.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Swap::Absent => py.None().into_bound(py),
            _ => PyBool::new(py, false).to_owned().into_any(),
        })
    }

    /// Adds to a number that is stored as decimal text; the new number, or None if the key has no value.
    ///
    /// :param delta: what is added, from 0 to 2**64 - 1. A sum above that is :class:`kennel.Overflow`.
    #[pyo3(signature = (key, delta = 1))]
    fn incr(&self, py: Python<'_>, key: Bytes<'_>, delta: u64) -> Outcome<Option<u64>> {
        let (cache, key) = (self.cache(py)?, key.as_ref());
        Ok(py.detach(|| cache.incr(key, delta))?)
    }

    /// Takes from a number that is stored as decimal text; the new number, or None if the key has no value.
    ///
    /// :param delta: what is taken away, from 0 to 2**64 - 1. A result below 0 is :class:`kennel.Overflow`.
    #[pyo3(signature = (key, delta = 1))]
    fn decr(&self, py: Python<'_>, key: Bytes<'_>, delta: u64) -> Outcome<Option<u64>> {
        let (cache, key) = (self.cache(py)?, key.as_ref());
        Ok(py.detach(|| cache.decr(key, delta))?)
    }

    /// Changes when a key expires; False if it has no value. Without a time it does not expire.
    ///
    /// :param ttl: seconds, or a ``timedelta``, from now on.
    /// :param expires_at: the moment, in seconds since 1970, in place of ``ttl``.
    #[pyo3(signature = (key, ttl = None, *, expires_at = None))]
    fn touch(&self, py: Python<'_>, key: Bytes<'_>, ttl: Option<Seconds>, expires_at: Option<f64>) -> Outcome<bool> {
        let (cache, expiry) = (self.cache(py)?, expiry(ttl, expires_at)?.unwrap_or_default());
        let key = key.as_ref();
        Ok(py.detach(|| cache.touch(key, expiry))?)
    }

    /// Removes a key; False if it has no value.
    fn delete(&self, py: Python<'_>, key: Bytes<'_>) -> Outcome<bool> {
        let (cache, key) = (self.cache(py)?, key.as_ref());
        Ok(py.detach(|| cache.delete(key))?)
    }

    fn __delitem__(&self, py: Python<'_>, key: Bound<'_, PyAny>) -> Outcome<()> {
        let was_there = self.delete(py, key.extract()?)?;
        if was_there { Ok(()) } else { Err(PyKeyError::new_err(key.unbind()).into()) }
    }

    #[doc = concat!(
        "Stores many items, each stripe locked once for up to 64 of them. Returns those that could not be stored, by key, \
            with their errors.\n\n\
        :param items: a mapping, or pairs of key and value.\n",
        life!()
    )]
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
        let (cache, how) = (self.cache(py)?, how(ttl, stale, expires_at, flags)?);
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
        let (cache, keys) = (self.cache(py)?, collect(keys)?);
        let keys = slices(&keys);
        Ok(py.detach(|| cache.delete_multi(&keys)).into_iter().collect::<Result<_, _>>()?)
    }

    /// Goes through the keys, in no order. It is no snapshot. A cache goes through all keys of the file, those of namespaces
    /// as they are stored: the namespace's name, a zero byte, the key. A namespace goes through its own.
    fn keys(&self, py: Python<'_>) -> PyResult<Keys> {
        Ok(Keys { keys: Mutex::new(self.cache(py)?.keys()) })
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Keys> {
        self.keys(py)
    }

    /// Forgets all values of the namespace, or of the whole cache, immediately and in every process.
    fn clear(&self, py: Python<'_>) -> Outcome<()> {
        let cache = self.cache(py)?;
        Ok(py.detach(|| cache.clear())?)
    }

    /// Invalidates all values of the namespace, or of the whole cache, immediately and in every process.
    ///
    /// :param soft: makes them stale instead: each is used until a new one has been created.
    #[pyo3(signature = (*, soft = false))]
    fn invalidate(&self, py: Python<'_>, soft: bool) -> Outcome<()> {
        let cache = self.cache(py)?;
        let how = if soft { Invalidation::Soft } else { Invalidation::Hard };
        Ok(py.detach(|| cache.invalidate(how))?)
    }

    /// Whether somebody creates or locks a key at this moment.
    fn is_claimed(&self, py: Python<'_>, key: Bytes<'_>) -> PyResult<bool> {
        Ok(self.cache(py)?.is_claimed(&key))
    }

    /// Looks a key up, and gives the right to create it to one caller: what get_or_create() is made of.
    ///
    /// :param ttl: seconds, or a ``timedelta``, after which the created value expires.
    /// :param stale: seconds after which it is stale; at most ``ttl``.
    /// :param absence_ttl: for so long it is remembered that there is no value; without it, it is not.
    /// :param wait: seconds to wait for another's creation; ``None`` for ever, 0 not at all. Then
    ///     :class:`kennel.TimedOut`.
    /// :param unprotected: give the right all the same when the time for waiting is over. It is counted.
    /// :param claim_max_age: seconds after which others may create the value, too, although the first lives; default 300.
    /// :param early_refresh: create the value anew before it is stale, or expires, with a probability that rises towards that
    ///     moment; 1.0 is a good value, a larger one is earlier.
    /// :param flags: a number that is stored beside the value.
    /// :param task: in whose name the key is claimed; by default in that of the thread, or of the greenlet.
    /// :param at_once: raise :class:`kennel.Busy` rather than wait for the stripe's lock.
    /// :param or_uncached: when the cache fails, give the right to create the value without it; see
    ///     :attr:`kennel.Claim.uncached`.
    #[pyo3(
        signature = (
            key, *, ttl = None, stale = None, absence_ttl = None, wait = DEFAULT_WAIT, unprotected = false,
            claim_max_age = None, early_refresh = None, flags = 0, task = None, at_once = false, or_uncached = false
        ),
        text_signature = "($self, key, *, ttl=None, stale=None, absence_ttl=None, wait=30.0, unprotected=False, \
                          claim_max_age=None, early_refresh=None, flags=0, task=None, at_once=False, or_uncached=False)"
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
        claim_max_age: Option<Seconds>,
        early_refresh: Option<f64>,
        flags: u32,
        task: Option<PyRef<'_, Task>>,
        at_once: bool,
        or_uncached: bool,
    ) -> Outcome<Lookup> {
        check_life(ttl, stale)?;
        let task = task.map(|task| task.0);
        let how =
            CreateHow { ttl, stale, absence_ttl, unprotected, claim_max_age, early_refresh, flags, task, or_uncached };
        let used = self.0.enter(py).ok_or_else(closed)?;
        let cache = if at_once { &used.at_once } else { &used.cache };
        Lookup::find(py, cache, &key, &how, waiting(wait), used.cache.lock_wait())
    }

    /// The lock of a key, for all threads and processes that lock it, too: for a ``with`` block, or to be acquired.
    ///
    /// :param wait: seconds to wait for it; ``None`` for ever, 0 not at all. Then :class:`kennel.TimedOut`.
    /// :param max_age: seconds after which others may take it over, although its owner lives; by default they may not.
    /// :param unprotected: when all claims of the key's stripe are held, take the lock without protection instead of
    ///     waiting. It is counted.
    /// :param handover: another thread will release it, so that this one waits for it as others do.
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
            self.cache(py)?.clone(),
            key.as_ref(),
            LockHow { wait: waiting(wait), max_age, unprotected, handover },
        ))
    }
}

/// A value with what is stored beside it.
#[pyclass(module = "kennel", frozen, get_all)]
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
    fn new(py: Python<'_>, item: &kennel::Item) -> PyResult<Self> {
        Ok(Self {
            value: copied(py, &item.value)?.unbind(),
            flags: item.flags,
            stamp: item.stamp.0,
            expires: item.expires.map(unix_time),
            soft_expires: item.soft_expires.map(unix_time),
            is_stale: item.is_stale,
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
