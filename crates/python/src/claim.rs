//! Claims: the right to create the value of a key, and the lock of a key.

use crate::bytes::Bytes;
use crate::create_how::{CreateHow, waiting};
use crate::error::{Outcome, exception};
use crate::expiry::{Seconds, check_life, expiry};
use crate::greenlets::Greenlet;
use crate::id::Id;
use crate::item::Item;
use crate::tags::Tags;
use crate::waits::{FIRST_PAUSE, LAST_PAUSE, wait_for};
use kennel::{Cache, Created, Error, Expiry, KeyLock, LockOptions, Stored, Wait};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// The options of one created value that take the place of those of its claim.
struct Own<'py> {
    expiry: Option<Expiry>,
    stale: Option<Seconds>,
    flags: Option<u32>,
    tags: Option<Tags<'py>>,
}

impl<'py> Own<'py> {
    fn new(
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: Option<u32>,
        tags: Option<Tags<'py>>,
    ) -> Outcome<Self> {
        check_life(ttl, stale)?;
        Ok(Self { expiry: expiry(ttl, expires_at)?, stale, flags, tags })
    }

    /// Whether the value has options other than tags, which are added to the claim's tags.
    fn is_any(&self) -> bool {
        self.expiry.is_some() || self.stale.is_some() || self.flags.is_some()
    }

    fn tagged(&self, claim: kennel::Claim) -> kennel::Claim {
        match &self.tags {
            Some(tags) => claim.tags(tags.names()),
            None => claim,
        }
    }

    fn of_absence(&self, claim: kennel::Claim) -> kennel::Claim {
        let claim = self.tagged(claim);
        match self.expiry {
            Some(expiry) => claim.absence_expiry(expiry),
            None => claim,
        }
    }

    fn made(&self, value: &[u8]) -> Created {
        let made = Created::new(value);
        let made = match self.expiry {
            Some(expiry) => made.expiry(expiry),
            None => made,
        };
        let made = match self.stale {
            Some(Seconds(stale)) => made.soft_expiry(Expiry::After(stale)),
            None => made,
        };
        match self.flags {
            Some(flags) => made.flags(flags),
            None => made,
        }
    }
}

/// The result of ``claim``: the value of a key, or the right to create it.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Lookup {
    item: Option<Item>,
    /// Whether the value is stale.
    #[pyo3(get)]
    is_stale: bool,
    /// Whether this call waited while another caller created the value.
    #[pyo3(get)]
    has_waited: bool,
    /// The right to create the value, a :class:`kennel.Claim`, which one caller gets; None for all others.
    #[pyo3(get)]
    claim: Option<Py<Claim>>,
}

#[pymethods]
impl Lookup {
    /// The value, or None if the key has none.
    #[getter]
    fn value(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        self.item.as_ref().map(|item| item.value.clone_ref(py))
    }

    /// The id of the write that stored the value, for ``get_if_changed``; None if there is no value.
    #[getter]
    fn id(&self) -> Option<Id> {
        self.item.as_ref().map(|item| item.id)
    }

    /// The value with its metadata, a :class:`kennel.Item`; None if there is no value.
    #[getter]
    fn item(&self, py: Python<'_>) -> Option<Item> {
        self.item.as_ref().map(|item| item.again(py))
    }
}

impl Lookup {
    /// Looks up a key. When the claim stores the value, it waits up to `lock_wait` for the lock of the stripe, even if
    /// `cache` does not wait.
    pub(crate) fn find(
        py: Python<'_>,
        cache: &Cache,
        key: &Bytes<'_>,
        how: &CreateHow,
        lock_wait: Duration,
    ) -> Outcome<Self> {
        let key = key.as_ref();
        let greenlet = Greenlet::current(py)?;
        let (lookup, has_waited) = match &greenlet {
            Some(greenlet) => {
                let mut request = cache.request_claim(key, &how.of_request(how.task.or(Some(greenlet.task))))?;
                let mut pause = FIRST_PAUSE;
                loop {
                    if let Poll::Ready(lookup) = request.poll()? {
                        break (lookup, request.has_waited());
                    }
                    greenlet.sleep(pause)?;
                    pause = LAST_PAUSE.min(2 * pause);
                }
            }
            None => {
                let options = how.of_attempts(how.task);
                let does_without = how.unprotected || how.or_uncached;
                let attempt = |cache: &Cache, piece, is_last| {
                    let (unprotected, or_uncached) = (how.unprotected && is_last, how.or_uncached && is_last);
                    let options = options.clone().wait(piece).unprotected(unprotected).or_uncached(or_uncached);
                    cache.claim_for_item(key, &options)
                };
                let ((lookup, in_last), before) = wait_for(py, cache, how.wait, None, does_without, &attempt)?;
                (lookup, in_last || before)
            }
        };
        Self::of(py, lookup, has_waited, lock_wait)
    }

    fn of(py: Python<'_>, lookup: kennel::Lookup, has_waited: bool, lock_wait: Duration) -> Outcome<Self> {
        let (item, is_stale, claim) = match lookup {
            kennel::Lookup::Hit(item) => (Some(Item::new(py, &item)?), false, None),
            kennel::Lookup::Stale(item) => (Some(Item::new(py, &item)?), true, None),
            kennel::Lookup::Create(claim) => {
                let item = claim.stale().map(|item| Item::new(py, item)).transpose()?;
                let is_stale = item.is_some();
                (item, is_stale, Some(Py::new(py, Claim::new(claim.waiting(lock_wait)))?))
            }
            // The file remembers that the key has no value.
            _ => (None, false, None),
        };
        Ok(Self { item, is_stale, has_waited, claim })
    }
}

/// A ``claim`` of a coroutine, whose thread must not wait.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct ClaimRequest {
    /// While this mutex is locked, no Python code runs and nothing waits.
    request: Mutex<kennel::ClaimRequest>,
    lock_wait: Duration,
}

impl ClaimRequest {
    pub(crate) fn new(cache: &Cache, key: &Bytes<'_>, how: &CreateHow) -> Outcome<Self> {
        let request = cache.request_claim(key.as_ref(), &how.of_request(how.task))?;
        Ok(Self { request: Mutex::new(request), lock_wait: cache.lock_wait() })
    }
}

#[pymethods]
impl ClaimRequest {
    /// Returns what ``claim`` returns, or None while another caller creates the value or the stripe is locked.
    fn poll(&self, py: Python<'_>) -> Outcome<Option<Lookup>> {
        let (answer, has_waited) = {
            let mut request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
            (request.poll()?, request.has_waited())
        };
        match answer {
            Poll::Ready(lookup) => Lookup::of(py, lookup, has_waited, self.lock_wait).map(Some),
            Poll::Pending => Ok(None),
        }
    }
}

/// The result of a store: the value as an item, or `None` for an absence; whether it is stored; and the error that
/// prevented the store, if any.
type Told<'py> = (Option<Item>, bool, Option<Bound<'py, PyAny>>);

fn told<'py>(py: Python<'py>, item: Option<Item>, stored: Result<Stored, Error>) -> Told<'py> {
    let is_stored = matches!(stored, Ok(Stored::Yes(_)));
    (item, is_stored, stored.err().map(|error| exception(py, &error).into_value(py).into_bound(py).into_any()))
}

fn refused(claim: kennel::Claim) -> Result<Stored, Error> {
    claim.refuse();
    Ok(Stored::Refused)
}

/// The right to create the value of a key. Its owner ends it with ``store``, ``store_absence``, ``refuse`` or ``fail``.
/// If its ``with`` block ends before that, or the object is deleted, the creation is given up, and the next waiting
/// caller creates the value.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Claim {
    /// `None` once the claim has ended. A coroutine that is cancelled can leave its `with` block while a thread still
    /// stores the value. Therefore the claim is taken out before the interpreter's lock is released, and the end of the
    /// block finds nothing left to do.
    claim: Mutex<Option<kennel::Claim>>,
}

impl Claim {
    fn new(claim: kennel::Claim) -> Self {
        Self { claim: Mutex::new(Some(claim)) }
    }

    /// Borrows the claim. While the guard lives, no Python code runs and nothing waits.
    fn look(&self) -> MutexGuard<'_, Option<kennel::Claim>> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> PyResult<kennel::Claim> {
        self.look().take().ok_or_else(|| PyValueError::new_err("the claim has ended"))
    }
}

#[pymethods]
impl Claim {
    /// Whether this claim excludes all other callers, so that they wait for its value.
    #[getter]
    fn is_protected(&self) -> bool {
        self.look().as_ref().is_some_and(kennel::Claim::is_protected)
    }

    /// The error of the cache that prevents the value from being stored, if ``or_uncached=True`` was given; otherwise
    /// None.
    #[getter]
    fn uncached<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let claim = self.look();
        let error = claim.as_ref().and_then(kennel::Claim::uncached)?;
        Some(exception(py, error).into_value(py).into_bound(py).into_any())
    }

    /// Whether the claim has ended: its value was stored or refused, or the creation failed.
    #[getter]
    fn has_ended(&self) -> bool {
        self.look().is_none()
    }

    /// Stores the value and wakes the callers that wait for it. Returns False if the value was not stored because the
    /// key was written, deleted or invalidated meanwhile, or a tag of the value was invalidated. For each option that
    /// is not given, the option of ``claim`` applies. Raises ValueError if the claim has ended.
    ///
    /// :param ttl: time to live: seconds, or a ``timedelta``, until the value expires.
    /// :param stale: seconds, or a ``timedelta``, until the value is stale.
    /// :param expires_at: the time at which the value expires, in seconds since 1970, instead of ``ttl``.
    /// :param flags: a number from 0 to 2**32 - 1 that is stored with the value.
    /// :param tags: the names of tags, in addition to those of ``claim``.
    #[pyo3(signature = (value, ttl = None, *, stale = None, expires_at = None, flags = None, tags = None))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn store(
        &self,
        py: Python<'_>,
        value: Bytes<'_>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: Option<u32>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<bool> {
        let own = Own::new(ttl, stale, expires_at, flags, tags)?;
        let (claim, value) = (own.tagged(self.take()?), value.as_ref());
        let made = own.is_any().then(|| own.made(value));
        let stored = py.detach(|| match &made {
            Some(made) => claim.store_with(made),
            None => claim.store(value),
        })?;
        Ok(matches!(stored, Stored::Yes(_)))
    }

    /// Ends the claim because the key has no value. The cache remembers this absence if ``ttl`` or ``expires_at`` is
    /// given, or ``absence_ttl`` was given to ``claim``. Returns whether the absence was stored.
    ///
    /// :param ttl: how many seconds to remember the absence; by default ``absence_ttl`` of ``claim``.
    /// :param expires_at: until when to remember the absence, in seconds since 1970, instead of ``ttl``.
    /// :param tags: the names of tags, in addition to those of ``claim``.
    #[pyo3(signature = (ttl = None, *, expires_at = None, tags = None))]
    fn store_absence(
        &self,
        py: Python<'_>,
        ttl: Option<Seconds>,
        expires_at: Option<f64>,
        tags: Option<Tags<'_>>,
    ) -> Outcome<bool> {
        let own = Own::new(ttl, None, expires_at, None, tags)?;
        let claim = own.of_absence(self.take()?);
        Ok(matches!(py.detach(|| claim.store_absence())?, Stored::Yes(_)))
    }

    /// Does the same as ``store``, or for None the same as ``store_absence``. Returns three things: the value as an
    /// item, or None for an absence; whether it is stored; and the error that prevented the store, or None.
    ///
    /// :param stored: False ends the claim as ``refuse`` does; default True.
    /// :param waited: how many seconds the caller has already waited for the lock of the stripe. If given, this call
    ///     does not wait.
    #[pyo3(signature = (value, ttl = None, *, stale = None, expires_at = None, flags = None, tags = None, stored = true, waited = None))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn _store_as_item<'py>(
        &self,
        py: Python<'py>,
        value: Option<Bytes<'_>>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: Option<u32>,
        tags: Option<Tags<'_>>,
        stored: bool,
        waited: Option<Seconds>,
    ) -> Outcome<Told<'py>> {
        let own = Own::new(ttl, stale, expires_at, flags, tags)?;
        let claim = self.take()?;
        let claim = if waited.is_some() { claim.waiting(Duration::ZERO) } else { claim };
        let (item, stored) = match value {
            Some(value) => {
                let (claim, made) = (own.tagged(claim), own.made(value.as_ref()).stored(stored));
                let (item, stored) = py.detach(|| claim.store_as_item(made));
                (Some(Item::with(value.object().unbind(), &item)), stored)
            }
            None if stored => {
                let claim = own.of_absence(claim);
                (None, py.detach(|| claim.store_absence()))
            }
            None => (None, py.detach(|| refused(claim))),
        };
        let stored = match (stored, waited) {
            (Err(Error::Busy { stripe, .. }), Some(Seconds(waited))) => Err(Error::Busy { stripe, waited }),
            (stored, _) => stored,
        };
        Ok(told(py, item, stored))
    }

    /// Does the same as ``_store_as_item`` without waiting for the lock of the stripe, for the thread of an event loop.
    /// Returns None if the stripe is locked; the claim is then still held. Otherwise the claim has ended.
    #[pyo3(signature = (value, ttl = None, *, stale = None, expires_at = None, flags = None, tags = None, stored = true))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn _try_store_as_item<'py>(
        &self,
        py: Python<'py>,
        value: Option<Bytes<'_>>,
        ttl: Option<Seconds>,
        stale: Option<Seconds>,
        expires_at: Option<f64>,
        flags: Option<u32>,
        tags: Option<Tags<'_>>,
        stored: bool,
    ) -> Outcome<Option<Told<'py>>> {
        let own = Own::new(ttl, stale, expires_at, flags, tags)?;
        let claim = self.take()?;
        let tried = match value {
            Some(value) => {
                let tried = own.tagged(claim).try_store_as_item(&own.made(value.as_ref()).stored(stored));
                let as_given = |(item, stored)| (Some(Item::with(value.object().unbind(), &item)), stored);
                tried.map(as_given)
            }
            None if stored => own.of_absence(claim).try_store(None).map(|stored| (None, stored)),
            None => Ok((None, refused(claim))),
        };
        Ok(match tried {
            Ok((item, stored)) => Some(told(py, item, stored)),
            Err(claim) => {
                *self.look() = Some(claim);
                None
            }
        })
    }

    /// Ends the claim without storing the value. Each waiting caller creates its own value.
    fn refuse(&self, py: Python<'_>) -> PyResult<()> {
        let claim = self.take()?;
        py.detach(|| claim.refuse());
        Ok(())
    }

    /// Ends the claim because the creator raised an exception. The next waiting caller creates the value, unless it was
    /// called with ``share_failure``, or the key rests (``retry_after``). Returns the stale value to use instead, if
    /// ``on_error="stale"`` was given and the key still has a stale value; otherwise None.
    fn fail(&self, py: Python<'_>) -> Outcome<Option<Py<PyBytes>>> {
        Ok(self._fail_as_item(py)?.map(|item| item.value))
    }

    /// Does the same as ``fail``, and returns the stale value as an item.
    fn _fail_as_item(&self, py: Python<'_>) -> Outcome<Option<Item>> {
        let claim = self.take()?;
        let stale = py.detach(|| claim.fail());
        Ok(stale.map(|item| Item::new(py, &item)).transpose()?)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyTuple>) {
        let claim = self.look().take();
        py.detach(|| drop(claim));
    }
}

/// How a key is locked.
#[derive(Clone, Copy)]
pub(crate) struct LockHow {
    pub wait: Wait,
    pub max_age: Option<Seconds>,
    pub unprotected: bool,
    pub handover: bool,
}

/// The lock of a key, which excludes all other threads and processes that lock the same key or create its value. It is
/// a context manager, and a mutex with ``acquire``, ``release`` and ``locked``. Any thread of the process may release
/// it. The lock also ends when its process dies.
#[pyclass(module = "kennel", frozen, weakref)]
pub(crate) struct Lock {
    cache: Cache,
    key: Vec<u8>,
    how: LockHow,
    /// The locks that this object holds. There can be several only if some were taken without protection, because all
    /// claims of the stripe were held.
    held: Mutex<Vec<KeyLock>>,
}

impl Lock {
    pub(crate) fn new(cache: Cache, key: &[u8], how: LockHow) -> Self {
        Self { cache, key: key.to_owned(), how, held: Mutex::new(Vec::new()) }
    }

    fn take(&self, py: Python<'_>, wait: Wait) -> Outcome<()> {
        let greenlet = Greenlet::current(py)?;
        let mut options = LockOptions::new().unprotected_when_full(self.how.unprotected);
        if let Some(Seconds(age)) = self.how.max_age {
            options = options.max_age(age);
        }
        if self.how.handover {
            // Another thread may release the lock, so this thread must be able to wait for a lock that it holds itself.
            options = options.task(kennel::Task::unique());
        } else if let Some(greenlet) = &greenlet {
            options = options.task(greenlet.task);
        }
        let (lock, _) = wait_for(py, &self.cache, wait, greenlet.as_ref(), false, &|cache, piece, _| {
            let options = options.wait(piece);
            cache.lock_with(&self.key, &options)
        })?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
        Ok(())
    }
}

#[pymethods]
impl Lock {
    /// Takes the lock. Returns False if another caller held the lock until the wait was over.
    ///
    /// :param wait: how long to wait. True (default) waits up to the option ``wait`` of ``lock``; False does not wait;
    ///     a number is a limit in seconds.
    #[pyo3(signature = (wait = None))]
    fn acquire(&self, py: Python<'_>, wait: Option<&Bound<'_, PyAny>>) -> Outcome<bool> {
        let limit = match wait.map(|wait| (wait, wait.extract::<bool>())) {
            None | Some((_, Ok(true))) => self.how.wait,
            Some((_, Ok(false))) => Wait::No,
            Some((wait, Err(_))) => waiting(Some(wait.extract()?)),
        };
        match self.take(py, limit) {
            Ok(()) => Ok(true),
            Err(failure) if failure.is_time_out() => Ok(false),
            // A caller that does not wait is told that the lock is held, even if it holds the lock itself.
            Err(failure) if limit == Wait::No && failure.is_own_claim() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Releases the lock. Any thread of the process may do so. Raises RuntimeError if this object does not hold the
    /// lock.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let lock = self.held.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lock = lock.ok_or_else(|| PyRuntimeError::new_err("release of a lock that is not held"))?;
        py.detach(|| lock.release());
        Ok(())
    }

    /// Returns whether a caller in any process currently holds the lock, or creates the value of the key.
    fn locked(&self) -> bool {
        self.cache.is_claimed(&self.key)
    }

    /// Whether this object holds the lock and the lock excludes all other callers.
    #[getter]
    fn is_protected(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).last().is_some_and(KeyLock::is_protected)
    }

    fn __enter__<'py>(slf: Bound<'py, Self>) -> Outcome<Bound<'py, Self>> {
        let lock = slf.get();
        lock.take(slf.py(), lock.how.wait)?;
        Ok(slf)
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release(py)
    }
}
