//! The base class of `kennel.far.FarCache`.

use super::ask::{ask, drop_elsewhere, undisturbed};
use super::creation::FarCreation;
use super::error::exception;
use super::{options, reply, stats};
use crate::bytes::{Bytes, collect, copied, pairs, read_with};
use crate::error::Outcome;
use crate::expiry::{Seconds, expiry};
use crate::open::{UntilClosed, Use};
use kennel_far::resp::Value;
use kennel_far::{Create, Error, Expiry, Far, Lookup};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::path::PathBuf;
use std::time::Duration;

/// Stores many values with one time to live.
const SET_ALL: &str = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 2], ARGV[1], ARGV[2]) end return 0";

/// A far tier with its near file.
#[pyclass(module = "kennel._kennel", subclass, weakref, frozen)]
pub(crate) struct FarCache(UntilClosed<Far>);

type Pair = (Vec<u8>, Vec<u8>);

impl FarCache {
    fn far(&self, py: Python<'_>) -> PyResult<Use<'_, Far>> {
        self.0.enter(py).ok_or_else(closed)
    }

    /// The value of a key if the near tier can answer at once.
    #[inline]
    pub(crate) fn near<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let found = read_with(py, &self.0, |far, incoming| far.get_near(key, |len| incoming.room(len)).is_some());
        found.unwrap_or_else(|| Err(closed()))
    }

    /// Does work that waits for the server.
    fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Far) -> kennel_far::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        ask(py, &*self.far(py)?, work)?.map_err(|error| exception(py, &error))
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("the far tier is closed")
}

fn value_or<'py>(
    py: Python<'py>,
    value: Option<Vec<u8>>,
    default: Option<Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(value.map(|value| copied(py, &value)).transpose()?.map(Bound::into_any).or(default))
}

#[pymethods]
impl FarCache {
    #[new]
    fn new(
        py: Python<'_>,
        url: &str,
        prefixes: &Bound<'_, PyAny>,
        path: PathBuf,
        far: &Bound<'_, PyDict>,
        near: &Bound<'_, PyDict>,
    ) -> Outcome<Self> {
        let prefixes = collect(prefixes)?.iter().map(|prefix| prefix.as_ref().to_vec()).collect();
        let options = options::read(url, prefixes, far, near)?;
        let far = undisturbed(py, || options.open(&path))?.map_err(|error| exception(py, &error))?;
        Ok(Self(UntilClosed::new(far)))
    }

    /// Whether ``close`` was called.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.0.is_closed(py)
    }

    /// Closes the far tier, and ends the keeper of this process. Every later use of this object raises ValueError.
    /// Raises RuntimeError if another thread is using it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let in_use = |_| PyRuntimeError::new_err("another thread is using the far tier: close it later");
        let far = self.0.close(py).map_err(in_use)?;
        py.detach(|| drop(far));
        Ok(())
    }

    /// Returns the value of a key, or ``default`` if the key has no value. The value was current at most
    /// ``max_staleness`` ago.
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'py>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(found) = self.near(py, key.as_ref())? {
            return Ok(Some(found.into_any()));
        }
        let key = key.as_ref().to_vec();
        value_or(py, self.ask(py, move |far| far.get(key))?, default)
    }

    /// Returns the value of a key if the near file can answer at once; otherwise None, which does not mean that the key
    /// has no value. This call neither waits nor asks the server.
    fn get_near<'py>(&self, py: Python<'py>, key: Bytes<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.near(py, key.as_ref())
    }

    /// Asks the server for the value of a key, and returns it, or ``default`` if the key has no value.
    #[pyo3(signature = (key, default = None))]
    fn get_fresh<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'py>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = key.as_ref().to_vec();
        value_or(py, self.ask(py, move |far| far.get_fresh(key))?, default)
    }

    /// Returns the values of many keys, in the order of the keys, with None for each key that has no value. The values
    /// that the near file does not have are fetched together.
    fn get_multi<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let keys = owned(keys)?;
        let list = PyList::empty(py);
        if keys.is_empty() {
            return Ok(list);
        }
        for value in self.ask(py, move |far| far.get_multi(&keys))? {
            list.append(value.map(|value| copied(py, &value)).transpose()?)?;
        }
        Ok(list)
    }

    /// Stores a value at the server. After this call, no read of this host returns the old value.
    ///
    /// :param ttl: time to live: seconds, or a ``timedelta``, until the value expires. By default it does not expire.
    /// :param expires_at: the time at which the value expires, in seconds since 1970, instead of ``ttl``.
    #[pyo3(signature = (key, value, ttl = None, *, expires_at = None))]
    fn set(
        &self,
        py: Python<'_>,
        key: Bytes<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
    ) -> PyResult<()> {
        let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
        let expiry = expiry(ttl, expires_at)?.unwrap_or_default();
        self.ask(py, move |far| far.set(key, value, expiry))
    }

    /// Stores many values at the server. With a single server this is one command, so readers see all or none of the
    /// new values.
    ///
    /// :param items: a mapping, or an iterable of pairs of key and value.
    /// :param ttl: seconds, or a ``timedelta``, until the values expire. By default they do not expire.
    /// :param expires_at: the time at which the values expire, in seconds since 1970, instead of ``ttl``.
    #[pyo3(signature = (items, ttl = None, *, expires_at = None))]
    fn set_multi(
        &self,
        py: Python<'_>,
        items: &Bound<'_, PyAny>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
    ) -> PyResult<()> {
        let own = |(_, key, value): (Bound<'_, PyAny>, Bytes<'_>, Bytes<'_>)| {
            (key.as_ref().to_vec(), value.as_ref().to_vec())
        };
        let items: Vec<Pair> = pairs(items)?.into_iter().map(own).collect();
        let expiry = expiry(ttl, expires_at)?.unwrap_or_default();
        if items.is_empty() {
            return Ok(());
        }
        self.ask(py, move |far| set_all(far, &items, expiry))
    }

    /// Removes a key from the server. Returns whether it had a value.
    fn delete(&self, py: Python<'_>, key: Bytes<'_>) -> PyResult<bool> {
        let key = key.as_ref().to_vec();
        self.ask(py, move |far| far.delete(key))
    }

    /// Removes many keys from the server. Returns how many of them had a value.
    fn delete_multi(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<i64> {
        let keys = owned(keys)?;
        if keys.is_empty() {
            return Ok(0);
        }
        self.ask(py, move |far| delete_all(far, &keys))
    }

    /// Adds to a number that is stored as decimal text; a key without a value counts as 0. Returns the sum.
    ///
    /// :param delta: the number to add, which may be negative; default 1.
    #[pyo3(signature = (key, delta = 1))]
    fn incr(&self, py: Python<'_>, key: Bytes<'_>, delta: i64) -> PyResult<i64> {
        let key = key.as_ref().to_vec();
        self.ask(py, move |far| far.incr(key, delta))
    }

    /// Removes all keys of the database, including keys of other programs and keys outside the prefixes.
    fn flush_database(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, |far| far.flush_database())
    }

    fn _call<'py>(
        &self,
        py: Python<'py>,
        command: &Bound<'py, PyAny>,
        keys: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (command, keys) = (owned(command)?, owned(keys)?);
        if command.is_empty() {
            return Err(PyValueError::new_err("command: expected a command, found nothing"));
        }
        reply::object(py, &self.ask(py, move |far| far.call(&command, &keys))?)
    }

    /// Returns the value of a key and None; or None and the right to create the value; or None twice, if another caller
    /// was still creating the value when `wait` was over.
    fn _claim<'py>(
        &self,
        py: Python<'py>,
        key: Bytes<'py>,
        lease: Seconds,
        wait: Seconds,
    ) -> PyResult<(Option<Bound<'py, PyBytes>>, Option<FarCreation>)> {
        if let Some(found) = self.near(py, key.as_ref())? {
            return Ok((Some(found), None));
        }
        let how = Create::new().lease(lease.0).wait(wait.0.min(Duration::from_secs(3600)));
        let key = key.as_ref().to_vec();
        Ok(match self.ask(py, move |far| far.claim(key, &how))? {
            Lookup::Value(value) => (Some(copied(py, &value)?), None),
            Lookup::Create(creation) => (None, Some(FarCreation::new(&*self.far(py)?, creation))),
            _ => (None, None),
        })
    }

    /// Returns the counters of this process, a :class:`kennel.far.FarStats`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        stats::stats(py, &self.far(py)?.stats())
    }

    /// Returns how many seconds ago a tracker last proved that the near file had all changes; None if there is no such
    /// proof. While this is more than ``max_staleness``, reads ask the server.
    fn proof_age(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        Ok(self.far(py)?.proof_age().map(|age| age.as_secs_f64()))
    }

    /// Returns, in words, why this process's tracker cannot prove that the near file has all changes; None if there is
    /// no problem.
    fn problem(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.far(py)?.problem())
    }
}

impl Drop for FarCache {
    fn drop(&mut self) {
        drop_elsewhere(self.0.take());
    }
}

fn owned(parts: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<u8>>> {
    Ok(collect(parts)?.iter().map(|part| part.as_ref().to_vec()).collect())
}

/// Whether the server refuses one command for many keys, so that each key needs its own.
fn is_for_one_only(error: &Error) -> bool {
    match error {
        Error::Slots(..) => true,
        Error::Server(text) => ["CROSSSLOT", "NOPERM"].iter().any(|code| text.contains(code)),
        _ => false,
    }
}

fn set_all(far: &Far, items: &[Pair], expiry: Expiry) -> kennel_far::Result<()> {
    let keys: Vec<&[u8]> = items.iter().map(|(key, _)| key.as_slice()).collect();
    let (number, count) = (millis(expiry), keys.len().to_string());
    let mut command: Vec<&[u8]> = Vec::with_capacity(2 * items.len() + 5);
    match &number {
        None => {
            command.push(b"MSET");
            command.extend(items.iter().flat_map(|(key, value)| [key.as_slice(), value.as_slice()]));
        }
        Some((unit, number)) => {
            command.extend([b"EVAL", SET_ALL.as_bytes(), count.as_bytes()]);
            command.extend(&keys);
            command.extend([unit.as_bytes(), number.as_bytes()]);
            command.extend(items.iter().map(|(_, value)| value.as_slice()));
        }
    }
    match far.call(&command, &keys) {
        Err(error) if is_for_one_only(&error) => items.iter().try_for_each(|(key, value)| far.set(key, value, expiry)),
        reply => reply.map(drop),
    }
}

/// The option of `SET` for an expiry, and its number.
fn millis(expiry: Expiry) -> Option<(&'static str, String)> {
    match expiry {
        Expiry::After(time) => Some(("PX", time.as_millis().max(1).to_string())),
        Expiry::At(time) => {
            let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            Some(("PXAT", since.as_millis().max(1).to_string()))
        }
        _ => None,
    }
}

fn delete_all(far: &Far, keys: &[Vec<u8>]) -> kennel_far::Result<i64> {
    let mut command: Vec<&[u8]> = vec![b"DEL"];
    command.extend(keys.iter().map(Vec::as_slice));
    match far.call(&command, keys) {
        Ok(Value::Int(removed)) => Ok(removed),
        Ok(other) => Err(Error::Answer { expected: "a number", found: format!("{other:?}") }),
        Err(error) if is_for_one_only(&error) => {
            keys.iter().try_fold(0, |removed, key| Ok(removed + i64::from(far.delete(key)?)))
        }
        Err(error) => Err(error),
    }
}
