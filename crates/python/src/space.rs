//! The operations on keys, which a cache and a namespace have in common.

use crate::bytes::{Bytes, LARGE, Lent, collect, copied, pairs, read, slices};
use crate::claim::{ClaimRequest, Lock, LockHow, Lookup};
use crate::create_how::{CreateHow, DEFAULT_WAIT, waiting};
use crate::entries::Entries;
use crate::error::{Outcome, exception};
use crate::expiry::{Seconds, expiry};
use crate::handles::{Handles, UsedCache};
use crate::id::{Id, item_id};
use crate::item::{Item, Keys, Unchanged, swapped};
use crate::open::UntilClosed;
use crate::set_how::{Moment, how, life, with};
use crate::stats;
use crate::tags::{Tags, invalidation};
use kennel::{Cache, Changed, Error, SetOptions, Stamp};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMemoryView, PySlice};
use std::sync::Mutex;
use std::time::Duration;

/// The operations on keys, which a cache and a namespace have in common.
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
        // Releasing the interpreter's lock and taking it again costs as much as a small write.
        if value.len() < LARGE
            && let Ok(stamp) = used.nonblocking.set_with(key, value, how)
        {
            return Ok(stamp.0);
        }
        Ok(py.detach(|| used.cache.set_with(key, value, how))?.0)
    }
}

#[pymethods]
impl Space {
    /// Whether ``close`` was called.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.0.is_closed(py)
    }

    /// Closes the cache or the namespace. Every later use of it raises ValueError. Raises RuntimeError if another
    /// thread is using it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let in_use = |_| PyRuntimeError::new_err("another thread is using the cache: close it later");
        let handles = self.0.close(py).map_err(in_use)?;
        py.detach(|| drop(handles));
        Ok(())
    }

    /// Returns a handle with the same keys for the thread of an event loop. If the stripe is locked, a write through
    /// this handle raises Busy instead of waiting.
    fn _nonblocking(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(Self::new(self.cache(py)?.with_lock_wait(Duration::ZERO)))
    }

    /// How many seconds a write waits for the lock of its stripe before it raises Busy.
    #[getter]
    fn lock_wait(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.cache(py)?.lock_wait().as_secs_f64())
    }

    /// Returns the value of a key, or ``default`` if the key has no value.
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

    /// Returns the value of a key with its metadata, a :class:`kennel.Item`, or None if the key has no value.
    fn get_item(&self, py: Python<'_>, key: Bytes<'_>) -> Outcome<Option<Item>> {
        let cache = self.cache(py)?;
        let item = cache.try_get_item(&key)?;
        if item.is_none() {
            cache.notice_removal();
        }
        Ok(item.map(|item| Item::new(py, &item)).transpose()?)
    }

    /// Returns the value of a key unless the caller already holds it. Returns a :class:`kennel.Unchanged` if the key
    /// still has the value that the caller holds, a :class:`kennel.Item` if it has another value, and None if it has
    /// none. The answer is as current as that of ``get``, but an unchanged value is not copied.
    ///
    /// :param id: the :attr:`kennel.Item.id` of the value that the caller holds.
    fn get_if_changed<'py>(&self, py: Python<'py>, key: Lent<'_, 'py>, id: Id) -> Outcome<Option<Bound<'py, PyAny>>> {
        let cache = self.cache(py)?;
        Ok(match cache.get_if_changed(key, item_id(id))? {
            Some(Changed::Same { is_stale }) => Some(Unchanged { is_stale }.into_pyobject(py)?.into_any()),
            Some(Changed::New(item)) => Some(Item::new(py, &item)?.into_pyobject(py)?.into_any()),
            None => {
                cache.notice_removal();
                None
            }
        })
    }

    /// Returns whether the key still has the value that the caller holds, and the value is not stale. If so, this
    /// counts as a hit. Otherwise it counts as nothing, because the caller usually calls ``get_or_create`` next, which
    /// counts.
    ///
    /// :param id: the :attr:`kennel.Item.id` of the value that the caller holds.
    fn is_fresh(&self, py: Python<'_>, key: Lent<'_, '_>, id: Id) -> PyResult<bool> {
        Ok(self.cache(py)?.is_fresh(key, item_id(id)))
    }

    /// Copies the value of a key to the start of a writable buffer. Returns the length of the value in bytes, or None
    /// if the key has no value.
    ///
    /// :param buffer: a writable buffer, such as a ``bytearray``. If it is too small,
    ///     :class:`kennel.BufferTooSmall` is raised.
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

    /// Returns the values of many keys, in the order of the keys, with None for each key that has no value.
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

    /// Returns the items of many keys, each a :class:`kennel.Item`, in the order of the keys, with None for each key
    /// that has no value.
    fn get_items<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyList>> {
        let (cache, keys) = (self.cache(py)?, collect(keys)?);
        let keys = slices(&keys);
        let list = PyList::empty(py);
        for item in py.detach(|| cache.try_get_items(&keys))? {
            list.append(item.map(|item| Item::new(py, &item)).transpose()?)?;
        }
        Ok(list)
    }

    /// Removes a key and returns its value, a :class:`kennel.Item`, or None if the key had no value. If several callers
    /// take the same value, exactly one of them gets it.
    fn take(&self, py: Python<'_>, key: Bytes<'_>) -> Outcome<Option<Item>> {
        let (cache, key) = (self.cache(py)?, key.as_ref());
        let taken = py.detach(|| cache.take(key))?;
        Ok(taken.map(|item| Item::new(py, &item)).transpose()?)
    }

    /// Changes when the value of a key expires, as ``touch`` does, and returns the value, a :class:`kennel.Item`, or
    /// None if the key has none.
    ///
    /// :param ttl: seconds, or a ``timedelta``, from now until the value expires.
    /// :param expires_at: the time at which the value expires, in seconds since 1970, instead of ``ttl``.
    #[pyo3(signature = (key, ttl = None, *, expires_at = None))]
    fn get_and_touch(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
    ) -> Outcome<Option<Item>> {
        let (cache, expiry) = (self.cache(py)?, expiry(ttl, expires_at)?.unwrap_or_default());
        let key = key.as_ref();
        let found = py.detach(|| cache.get_and_touch(key, expiry))?;
        Ok(found.map(|item| Item::new(py, &item)).transpose()?)
    }

    #[doc = concat!("Stores a value. Returns its stamp, a number that ``compare_and_swap`` compares.\n\n", life!())]
    #[pyo3(signature = (key, value, ttl = None, *, stale = None, expires_at = None, flags = 0, as_of = None, tags = None))]
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
        as_of: Option<PyRef<'_, Moment>>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<u64> {
        self.store(py, key.as_ref(), value.as_ref(), &with(how(ttl, stale, expires_at, flags), as_of, tags)?)
    }

    /// Returns the present moment, a :class:`kennel.Moment`. Take it before you compute a value, and give it as
    /// ``as_of`` when you store the value: the value is then not stored if it was invalidated in between.
    /// ``get_or_create`` does this by itself.
    fn moment(&self, py: Python<'_>) -> Outcome<Moment> {
        let cache = self.cache(py)?;
        Ok(Moment(py.detach(|| cache.moment())?))
    }

    fn __setitem__(&self, py: Python<'_>, key: Bytes<'_>, value: Bytes<'_>) -> Outcome<()> {
        self.store(py, key.as_ref(), value.as_ref(), &SetOptions::new()).map(|_| ())
    }

    #[doc = concat!("Stores a value only if the key has none. Returns whether it was stored.\n\n", life!())]
    #[pyo3(signature = (key, value, ttl = None, *, stale = None, expires_at = None, flags = 0, as_of = None, tags = None))]
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
        as_of: Option<PyRef<'_, Moment>>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<bool> {
        let (cache, how) = (self.cache(py)?, with(how(ttl, stale, expires_at, flags), as_of, tags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.add(key, value, &how))?)
    }

    #[doc = concat!("Stores a value only if the key already has one. Returns whether it was stored.\n\n", life!())]
    #[pyo3(signature = (key, value, ttl = None, *, stale = None, expires_at = None, flags = 0, as_of = None, tags = None))]
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
        as_of: Option<PyRef<'_, Moment>>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<bool> {
        let (cache, how) = (self.cache(py)?, with(how(ttl, stale, expires_at, flags), as_of, tags)?);
        let (key, value) = (key.as_ref(), value.as_ref());
        Ok(py.detach(|| cache.replace(key, value, &how))?)
    }

    #[doc = concat!(
        "Stores a value only if the key's current value has this stamp. Returns the stamp of the new value, False if \
            the current value has another stamp, or None if the key has no value.\n\n\
        :param stamp: the stamp from :attr:`kennel.Item.stamp`, or from the call that stored the value.\n",
        life!()
    )]
    #[pyo3(signature = (key, stamp, value, ttl = None, *, stale = None, expires_at = None, flags = 0, as_of = None, tags = None))]
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
        as_of: Option<PyRef<'_, Moment>>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let (cache, how) = (self.cache(py)?, with(how(ttl, stale, expires_at, flags), as_of, tags)?);
        let (key, value, stamp) = (key.as_ref(), value.as_ref(), Stamp(stamp));
        swapped(py, py.detach(|| cache.compare_and_swap(key, stamp, value, &how))?)
    }

    /// Replaces the value of a key only if the current value has this stamp. The item keeps its expiry, its flags and
    /// its tags, and invalidations of these tags count from the same time as before. Returns what ``compare_and_swap``
    /// returns.
    ///
    /// :param stamp: the stamp from :attr:`kennel.Item.stamp`, or from the call that stored the value.
    fn swap_value<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'_>,
        stamp: u64,
        value: Bytes<'_>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let (cache, key, value) = (self.cache(py)?, key.as_ref(), value.as_ref());
        swapped(py, py.detach(|| cache.swap_value(key, Stamp(stamp), value))?)
    }

    /// Moves an item to another key, with its expiry, its flags and its tags. Returns whether there was an item. An
    /// item that the other key had is replaced. For a moment both keys have the value.
    ///
    /// :param to: the other key.
    fn rename(&self, py: Python<'_>, key: Bytes<'_>, to: Bytes<'_>) -> Outcome<bool> {
        let (cache, key, to) = (self.cache(py)?, key.as_ref(), to.as_ref());
        Ok(py.detach(|| cache.rename(key, to))?)
    }

    /// Adds to a number that is stored as decimal text. Returns the new number, or None if the key has no value and
    /// ``initial`` is not given.
    ///
    /// :param delta: the number to add, from 0 to 2**64 - 1; default 1. A sum above 2**64 - 1 raises
    ///     :class:`kennel.Overflow`.
    /// :param initial: the number to store and return if the key has no value. ``delta`` is not added to it.
    /// :param ttl: seconds, or a ``timedelta``, until an initial number expires. An existing number keeps its expiry.
    /// :param tags: the tags of an initial number. An existing number keeps its tags.
    #[pyo3(signature = (key, delta = 1, *, initial = None, ttl = None, tags = None))]
    fn incr(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        delta: u64,
        initial: Option<u64>,
        ttl: Option<Seconds>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<Option<u64>> {
        let (cache, how, key) = (self.cache(py)?, with(how(ttl, None, None, 0), None, tags)?, key.as_ref());
        Ok(py.detach(|| match initial {
            None => cache.incr(key, delta),
            Some(initial) => cache.incr_or(key, delta, initial, &how).map(Some),
        })?)
    }

    /// Subtracts from a number that is stored as decimal text. Returns the new number, or None if the key has no value
    /// and ``initial`` is not given.
    ///
    /// :param delta: the number to subtract, from 0 to 2**64 - 1; default 1. A result below 0 raises
    ///     :class:`kennel.Overflow`.
    /// :param initial: as for :meth:`incr`.
    /// :param ttl: as for :meth:`incr`.
    /// :param tags: as for :meth:`incr`.
    #[pyo3(signature = (key, delta = 1, *, initial = None, ttl = None, tags = None))]
    fn decr(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        delta: u64,
        initial: Option<u64>,
        ttl: Option<Seconds>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<Option<u64>> {
        let (cache, how, key) = (self.cache(py)?, with(how(ttl, None, None, 0), None, tags)?, key.as_ref());
        Ok(py.detach(|| match initial {
            None => cache.decr(key, delta),
            Some(initial) => cache.decr_or(key, delta, initial, &how).map(Some),
        })?)
    }

    /// Changes when the value of a key expires. Without arguments it no longer expires. Returns whether the key has a
    /// value.
    ///
    /// :param ttl: seconds, or a ``timedelta``, from now until the value expires.
    /// :param expires_at: the time at which the value expires, in seconds since 1970, instead of ``ttl``.
    #[pyo3(signature = (key, ttl = None, *, expires_at = None))]
    fn touch(&self, py: Python<'_>, key: Bytes<'_>, ttl: Option<Seconds>, expires_at: Option<f64>) -> Outcome<bool> {
        let (cache, expiry) = (self.cache(py)?, expiry(ttl, expires_at)?.unwrap_or_default());
        let key = key.as_ref();
        Ok(py.detach(|| cache.touch(key, expiry))?)
    }

    /// Removes the value of a key. Returns whether the key had one.
    fn delete(&self, py: Python<'_>, key: Bytes<'_>) -> Outcome<bool> {
        let (cache, key) = (self.cache(py)?, key.as_ref());
        Ok(py.detach(|| cache.delete(key))?)
    }

    fn __delitem__(&self, py: Python<'_>, key: Bound<'_, PyAny>) -> Outcome<()> {
        let was_there = self.delete(py, key.extract()?)?;
        if was_there { Ok(()) } else { Err(PyKeyError::new_err(key.unbind()).into()) }
    }

    #[doc = concat!(
        "Stores many items, and locks each stripe once for up to 64 of them. Returns a dictionary of the keys that \
            could not be stored, with their errors.\n\n\
        :param items: a mapping, or an iterable of pairs of key and value.\n",
        life!()
    )]
    #[pyo3(signature = (items, ttl = None, *, stale = None, expires_at = None, flags = 0, as_of = None, tags = None))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn set_multi<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: u32,
        as_of: Option<PyRef<'_, Moment>>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<Bound<'py, PyDict>> {
        let (cache, how) = (self.cache(py)?, with(how(ttl, stale, expires_at, flags), as_of, tags)?);
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

    /// Removes many keys, and locks each stripe once for up to 64 of them. Returns whether each key had a value, in the
    /// order of the keys.
    fn delete_multi(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> Outcome<Vec<bool>> {
        let (cache, keys) = (self.cache(py)?, collect(keys)?);
        let keys = slices(&keys);
        Ok(py.detach(|| cache.delete_multi(&keys)).into_iter().collect::<Result<_, _>>()?)
    }

    /// Returns an iterator over the keys, in no particular order. It is not a snapshot: keys that are stored or removed
    /// during the iteration may or may not appear. A namespace yields its own keys. A cache yields all keys of the
    /// file; keys of namespaces have their stored form, which is the name of the namespace, a zero byte, and the key.
    ///
    /// :param prefix: yield only the keys that begin with this; the whole file is searched all the same. By default all
    ///     keys are yielded.
    #[pyo3(signature = (prefix = None))]
    fn keys(&self, py: Python<'_>, prefix: Option<Bytes<'_>>) -> PyResult<Keys> {
        let prefix = prefix.as_ref().map_or(&[][..], AsRef::as_ref);
        Ok(Keys { keys: Mutex::new(self.cache(py)?.keys_with(prefix)) })
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Keys> {
        self.keys(py, None)
    }

    /// Returns an iterator over the items without their values, each a :class:`kennel.Entry`, in no particular order. It
    /// is not a snapshot: see ``keys``.
    fn entries(&self, py: Python<'_>) -> PyResult<Entries> {
        Ok(Entries::new(self.cache(py)?.entries()))
    }

    /// Reads some randomly chosen buckets. Returns the share of all buckets that was read, and a list of the items in
    /// them, each a :class:`kennel.Entry`, without their values. A number that is counted in the sample, divided by the
    /// share, estimates that number for the whole file. Nothing is locked, counted, or marked as read.
    ///
    /// :param buckets: how many buckets to read; default 4096. So many buckets of a full cache have some 13 000 items.
    #[pyo3(signature = (buckets = 4096))]
    fn sample<'py>(&self, py: Python<'py>, buckets: u64) -> PyResult<(f64, Vec<Bound<'py, PyAny>>)> {
        let (cache, mut entries) = (self.cache(py)?, Vec::new());
        let share = py.detach(|| cache.sample(buckets, |entry| entries.push(entry.clone())));
        Ok((share, entries.iter().map(|entry| stats::entry(py, entry)).collect::<PyResult<_>>()?))
    }

    /// Removes all values of the namespace, or of the whole cache, immediately and for every process.
    fn clear(&self, py: Python<'_>) -> Outcome<()> {
        let cache = self.cache(py)?;
        Ok(py.detach(|| cache.clear())?)
    }

    /// Invalidates all values of the namespace, or of the whole cache, immediately and for every process.
    ///
    /// :param soft: make the values stale instead of removing them, so that each is used until a new one has been
    ///     created; default False.
    #[pyo3(signature = (*, soft = false))]
    fn invalidate(&self, py: Python<'_>, soft: bool) -> Outcome<()> {
        let cache = self.cache(py)?;
        Ok(py.detach(|| cache.invalidate(invalidation(soft)))?)
    }

    /// Invalidates all values of the file that bear one of these tags, in all namespaces, immediately and for every
    /// process. This includes a value whose creation has begun, even if its creator names the tag only at the end.
    ///
    /// :param tags: the names of tags.
    /// :param soft: make the values stale instead of removing them, so that each is used until a new one has been
    ///     created; default False.
    #[pyo3(signature = (tags, *, soft = false))]
    fn invalidate_tags(&self, py: Python<'_>, tags: Tags<'_>, soft: bool) -> Outcome<()> {
        let (cache, names) = (self.cache(py)?, slices(tags.names()));
        Ok(py.detach(|| cache.invalidate_tags(&names, invalidation(soft)))?)
    }

    /// Returns whether a caller in any process is currently creating the value of a key, or holds its lock.
    fn is_claimed(&self, py: Python<'_>, key: Bytes<'_>) -> PyResult<bool> {
        Ok(self.cache(py)?.is_claimed(&key))
    }

    /// Looks up a key, and returns a :class:`kennel.Lookup`. If the value must be created, exactly one caller across
    /// all threads and processes gets the right to create it, a :class:`kennel.Claim`. ``get_or_create`` is built on
    /// this method.
    ///
    /// :param ttl: time to live: seconds, or a ``timedelta``, until the created value expires. The default is that of
    ///     the namespace; without one the value does not expire.
    /// :param stale: seconds, or a ``timedelta``, until the created value is stale. At most ``ttl``.
    /// :param absence_ttl: how many seconds to remember that the key has no value. By default this is not remembered.
    /// :param wait: how many seconds to wait for another caller's creation before :class:`kennel.TimedOut` is raised;
    ///     ``None`` waits without limit, 0 does not wait. Default 30.
    /// :param unprotected: when ``wait`` is over, give this caller the right to create the value, too, instead of
    ///     raising an error. ``stats().counters.unprotected`` counts this. Default False.
    /// :param claim_max_age: how many seconds the claim excludes other callers. After that, one of them may create the
    ///     value, even if the first creator is still running. Default 300.
    /// :param early_refresh: give the right to create a new value before the current one becomes stale or expires, with
    ///     a probability that rises as that moment approaches. 1.0 is a good factor; a larger one refreshes earlier. By
    ///     default there is no early refresh.
    /// :param flags: a number from 0 to 2**32 - 1 that is stored with the value; default 0.
    /// :param task: the owner of the claim, a :class:`kennel.Task`; by default the calling thread or greenlet.
    /// :param nonblocking: raise :class:`kennel.Busy` instead of waiting for the lock of the stripe; default False.
    /// :param or_uncached: if the cache fails, give the right to create the value without storing it, instead of
    ///     raising an error: see :attr:`kennel.Claim.uncached`. Default False.
    /// :param on_error: what :meth:`kennel.Claim.fail` returns: with ``raise`` (default), None; with ``stale``, the
    ///     stale value, if there is one.
    /// :param retry_after: how many seconds the key rests after :meth:`kennel.Claim.fail`, so that no process creates
    ///     its value: two numbers, the first pause, which doubles with each failure in a row, and the longest. By
    ///     default there is no pause.
    /// :param share_failure: raise :class:`kennel.FailedElsewhere` if the creation for which this caller waits fails.
    ///     Default False.
    /// :param resilient: all of ``on_error="stale"``, ``retry_after=(1, 30)``, ``share_failure`` and ``or_uncached``.
    ///     Default False.
    /// :param tags: the names of the tags of the created value, or of the remembered absence, at most
    ///     :data:`kennel.MAX_TAGS`. :meth:`kennel.Claim.store` can add others.
    #[pyo3(
        signature = (key, **how),
        text_signature = "($self, key, *, ttl=None, stale=None, absence_ttl=None, wait=30.0, unprotected=False, \
                          claim_max_age=None, early_refresh=None, flags=0, task=None, nonblocking=False, \
                          or_uncached=False, on_error='raise', retry_after=None, share_failure=False, \
                          resilient=False, tags=None)"
    )]
    fn claim(&self, py: Python<'_>, key: Bytes<'_>, how: Option<&Bound<'_, PyDict>>) -> Outcome<Lookup> {
        let how = CreateHow::take(py, how)?;
        let used = self.0.enter(py).ok_or_else(closed)?;
        let cache = if how.nonblocking { &used.nonblocking } else { &used.cache };
        Lookup::find(py, cache, &key, &how, used.cache.lock_wait())
    }

    /// Begins a ``claim`` with the same parameters for a coroutine, which polls the returned request until there is an
    /// answer.
    #[pyo3(signature = (key, **how))]
    fn _request(&self, py: Python<'_>, key: Bytes<'_>, how: Option<&Bound<'_, PyDict>>) -> Outcome<ClaimRequest> {
        let how = CreateHow::take(py, how)?;
        ClaimRequest::new(&*self.cache(py)?, &key, &how)
    }

    /// Returns the lock of a key, a :class:`kennel.Lock`, for use in a ``with`` block or with ``acquire``. It excludes
    /// all other threads and processes that lock the same key or create its value. This call does not take the lock.
    ///
    /// :param wait: how many seconds to wait for the lock before :class:`kennel.TimedOut` is raised; ``None`` waits
    ///     without limit, 0 does not wait. Default 30.
    /// :param max_age: how many seconds the lock excludes other callers. After that, another caller may take it over,
    ///     even if its owner is still running. By default there is no limit.
    /// :param unprotected: if all claims of the key's stripe are held, take the lock without protection instead of
    ///     waiting. ``stats().counters.unprotected`` counts this. Default False.
    /// :param handover: whether another thread may release the lock. With True, a thread that already holds the lock
    ///     waits for it; with False (default), :class:`kennel.OwnClaim` is raised.
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
