//! Claims: the right to create a key, and the lock of a key.

use crate::bytes::{Bytes, copied};
use crate::error::{Failure, Outcome, exception};
use crate::expiry::Seconds;
use crate::greenlets::Greenlet;
use kennel::{Cache, CreateOptions, Created, Error, Expiry, KeyLock, LockOptions, Stored, Wait};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A wait of the main thread is cut into pieces of this length, between which Python sees signals such as Ctrl-C.
const PIECE: Duration = Duration::from_millis(250);
/// Pauses of a greenlet between two attempts; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// For how long is waited when nothing is said, as in the engine.
pub(crate) const DEFAULT_WAIT: Option<Seconds> = Some(Seconds(Duration::from_secs(30)));

/// None is for ever, and 0 not at all.
pub(crate) fn waiting(seconds: Option<Seconds>) -> Wait {
    match seconds {
        None => Wait::Forever,
        Some(Seconds(limit)) if limit.is_zero() => Wait::No,
        Some(Seconds(limit)) => Wait::For(limit),
    }
}

/// One attempt: where, how long it may wait, and whether it is the last. Only the last one may do without what it waits
/// for, since each but that one ends before the caller's time is over.
type Attempt<'a, T> = dyn Fn(&Cache, Wait, bool) -> Result<T, Error> + Sync + 'a;

/// Makes attempts until one succeeds or the caller's time for waiting is over.
fn wait_for<T: Send>(
    py: Python<'_>,
    cache: &Cache,
    wait: Wait,
    greenlet: Option<&Greenlet<'_>>,
    does_without: bool,
    attempt: &Attempt<'_, T>,
) -> Outcome<T> {
    let lock_wait = cache.lock_wait();
    let mut waiting = Waiting { wait, began: Instant::now(), lock_wait, busy_since: None, does_without };
    match greenlet {
        Some(greenlet) => in_turns(cache, &mut waiting, greenlet, attempt),
        None => in_pieces(py, cache, &mut waiting, attempt),
    }
}

/// A wait that several attempts share.
struct Waiting {
    wait: Wait,
    began: Instant,
    lock_wait: Duration,
    /// Since when attempts found the stripe's lock busy.
    busy_since: Option<Instant>,
    /// The last attempt does without what it waits for, so that an error of one before it is not the end.
    does_without: bool,
}

impl Waiting {
    /// The wait of an attempt that takes at most `longest`, and whether it is the last.
    fn piece(&self, longest: Option<Duration>) -> (Wait, bool) {
        let left = match self.wait {
            Wait::Forever => None,
            Wait::For(limit) => Some(limit.saturating_sub(self.began.elapsed())),
            Wait::No => Some(Duration::ZERO),
        };
        match (left, longest) {
            (Some(Duration::ZERO), _) => (Wait::No, true),
            (Some(left), Some(longest)) if left > longest => (Wait::For(longest), false),
            (Some(left), _) => (Wait::For(left), true),
            (None, Some(longest)) => (Wait::For(longest), false),
            (None, None) => (Wait::Forever, true),
        }
    }

    /// What an attempt came to; `None`: another one follows.
    fn judge<T>(&mut self, result: Result<T, Error>, is_last: bool) -> Option<Outcome<T>> {
        let outcome = self.outcome(result, is_last)?;
        if outcome.is_err() && self.does_without && !is_last {
            self.wait = Wait::No;
            return None;
        }
        Some(outcome)
    }

    fn outcome<T>(&mut self, result: Result<T, Error>, is_last: bool) -> Option<Outcome<T>> {
        match result {
            Err(Error::TimedOut { .. }) if !is_last => {
                self.busy_since = None;
                None
            }
            Err(Error::TimedOut { .. }) => Some(Err(Error::TimedOut { waited: self.began.elapsed() }.into())),
            Err(Error::Busy { stripe, waited }) => {
                let since = *self.busy_since.get_or_insert_with(|| Instant::now() - waited);
                let waited = since.elapsed();
                let is_too_long = is_last || waited >= self.lock_wait;
                is_too_long.then(|| Err(Error::Busy { stripe, waited }.into()))
            }
            other => Some(other.map_err(Failure::from)),
        }
    }
}

/// A thread waits in the engine: the main thread in pieces, since it alone sees signals, another in one piece after a
/// first short one, because most waits are short.
fn in_pieces<T: Send>(py: Python<'_>, cache: &Cache, waiting: &mut Waiting, attempt: &Attempt<'_, T>) -> Outcome<T> {
    let mut longest = Some(PIECE);
    loop {
        let (piece, is_last) = waiting.piece(longest);
        let result = py.detach(|| attempt(cache, piece, is_last));
        if let Some(outcome) = waiting.judge(result, is_last) {
            return outcome;
        }
        py.check_signals()?;
        longest = is_main_thread(py)?.then_some(PIECE);
    }
}

/// A greenlet never waits in the engine, where it would keep its whole thread: between attempts it lets others run.
fn in_turns<T>(cache: &Cache, waiting: &mut Waiting, greenlet: &Greenlet<'_>, attempt: &Attempt<'_, T>) -> Outcome<T> {
    let cache = cache.with_lock_wait(Duration::ZERO);
    let mut pause = FIRST_PAUSE;
    loop {
        let (_, is_last) = waiting.piece(Some(Duration::ZERO));
        let result = attempt(&cache, Wait::No, is_last);
        if let Some(outcome) = waiting.judge(result, is_last) {
            return outcome;
        }
        greenlet.sleep(pause)?;
        pause = LAST_PAUSE.min(2 * pause);
    }
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = PyModule::import(py, "threading")?;
    let (main, this) = (threading.call_method0("main_thread")?, threading.call_method0("current_thread")?);
    Ok(main.is(&this))
}

/// How a missing value is created.
pub(crate) struct CreateHow {
    pub ttl: Option<Seconds>,
    pub stale: Option<Seconds>,
    pub absence_ttl: Option<Seconds>,
    pub unprotected: bool,
    pub claim_max_age: Option<Seconds>,
    pub early_refresh: Option<f64>,
    pub flags: u32,
    pub task: Option<kennel::Task>,
    pub or_uncached: bool,
}

impl CreateHow {
    /// All of it but what differs from attempt to attempt.
    fn options(&self, task: Option<kennel::Task>) -> CreateOptions {
        let after = |Seconds(time): Seconds| Expiry::After(time);
        let mut options = CreateOptions::new().flags(self.flags);
        if let Some(ttl) = self.ttl {
            options = options.expiry(after(ttl));
        }
        if let Some(stale) = self.stale {
            options = options.soft_expiry(after(stale));
        }
        if let Some(ttl) = self.absence_ttl {
            options = options.absence_expiry(after(ttl));
        }
        if let Some(Seconds(age)) = self.claim_max_age {
            options = options.claim_max_age(age);
        }
        if let Some(beta) = self.early_refresh {
            options = options.early_refresh(beta);
        }
        if let Some(task) = task {
            options = options.task(task);
        }
        options
    }
}

/// What was found of a key.
#[pyclass(module = "kennel", frozen, get_all)]
pub(crate) struct Lookup {
    /// The value, if there is one that can be used.
    value: Option<Py<PyBytes>>,
    /// Whether it is stale.
    is_stale: bool,
    /// The right to create the value, for one caller; for all others None.
    claim: Option<Py<Claim>>,
}

impl Lookup {
    /// Looks a key up. Whoever is to create its value waits for `lock_wait` to store it, however impatient `of` is.
    pub(crate) fn find(
        py: Python<'_>,
        cache: &Cache,
        key: &Bytes<'_>,
        how: &CreateHow,
        wait: Wait,
        lock_wait: Duration,
    ) -> Outcome<Self> {
        let key = key.as_ref();
        let value = |item: &kennel::Item| copied(py, &item.value).map(|value| Some(value.unbind()));
        let greenlet = Greenlet::current(py)?;
        let task = how.task.or(greenlet.as_ref().map(|greenlet| greenlet.task));
        let options = how.options(task);
        let does_without = how.unprotected || how.or_uncached;
        let lookup = wait_for(py, cache, wait, greenlet.as_ref(), does_without, &|cache, piece, is_last| {
            let (unprotected, or_uncached) = (how.unprotected && is_last, how.or_uncached && is_last);
            let options = options.clone().wait(piece).unprotected(unprotected).or_uncached(or_uncached);
            cache.claim(key, &options)
        })?;
        Ok(match lookup {
            kennel::Lookup::Hit(item) => Self { value: value(&item)?, is_stale: false, claim: None },
            kennel::Lookup::Stale(item) => Self { value: value(&item)?, is_stale: true, claim: None },
            kennel::Lookup::Create(claim) => Self {
                value: claim.stale().map(value).transpose()?.flatten(),
                is_stale: claim.stale().is_some(),
                claim: Some(Py::new(py, Claim::new(claim.waiting(lock_wait)))?),
            },
            // It is known that there is no value.
            _ => Self { value: None, is_stale: false, claim: None },
        })
    }
}

/// The right to create the value of a key, and the duty to say what became of it. In a `with` block, or when it is
/// forgotten, a claim of which nothing was said has failed, and the next who waits tries.
///
/// A coroutine that is cancelled can leave its `with` block while a thread still stores the value. So the claim is taken
/// out before the interpreter's lock is given up, and the block's end finds nothing left to do.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Claim {
    /// Nothing once it has ended.
    claim: Mutex<Option<kennel::Claim>>,
}

impl Claim {
    fn new(claim: kennel::Claim) -> Self {
        Self { claim: Mutex::new(Some(claim)) }
    }

    /// The claim for a look at it. No Python code runs, and nothing waits, while the guard lives.
    fn look(&self) -> MutexGuard<'_, Option<kennel::Claim>> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> PyResult<kennel::Claim> {
        self.look().take().ok_or_else(|| PyValueError::new_err("the claim has ended"))
    }
}

#[pymethods]
impl Claim {
    /// Whether all others wait for this creation.
    #[getter]
    fn is_protected(&self) -> bool {
        self.look().as_ref().is_some_and(kennel::Claim::is_protected)
    }

    /// Why the value will not be stored: the error of the cache, if `or_uncached` was asked for and the cache failed.
    #[getter]
    fn uncached<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let claim = self.look();
        let error = claim.as_ref().and_then(kennel::Claim::uncached)?;
        Some(exception(py, error).into_value(py).into_bound(py).into_any())
    }

    /// Whether something was said of it.
    #[getter]
    fn has_ended(&self) -> bool {
        self.look().is_none()
    }

    /// Stores the value and lets those go on who wait for it. False if it was not stored, since the key was written,
    /// deleted or invalidated meanwhile.
    fn store(&self, py: Python<'_>, value: Bytes<'_>) -> Outcome<bool> {
        let (claim, value) = (self.take()?, value.as_ref());
        Ok(matches!(py.detach(|| claim.store(value))?, Stored::Yes(_)))
    }

    /// Stores that there is no value, if `absence_ttl` was given; False if it was not stored.
    fn store_absence(&self, py: Python<'_>) -> Outcome<bool> {
        let claim = self.take()?;
        Ok(matches!(py.detach(|| claim.store_absence())?, Stored::Yes(_)))
    }

    /// For an event loop's thread: stores the value, or that there is none, if the stripe's lock is free. False if it is
    /// not; then the claim is still held. What is not stored for another reason counts as done.
    fn _try_store(&self, value: Option<Bytes<'_>>) -> Outcome<bool> {
        let claim = self.take()?;
        let made = value.map(|value| Created::new(value.as_ref()));
        match claim.try_store(made.as_ref()) {
            Ok(stored) => stored.map(|_| true).map_err(Failure::from),
            Err(claim) => {
                *self.look() = Some(claim);
                Ok(false)
            }
        }
    }

    /// The value is not to be cached: those who wait create for themselves.
    fn refuse(&self, py: Python<'_>) -> PyResult<()> {
        let claim = self.take()?;
        py.detach(|| claim.refuse());
        Ok(())
    }

    /// The creation failed: the next who waits tries.
    fn fail(&self, py: Python<'_>) -> PyResult<()> {
        let claim = self.take()?;
        py.detach(|| claim.fail());
        Ok(())
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

/// The lock of a key, for all threads and processes that lock it, too: a context manager, and a mutex with
/// `acquire`, `release` and `locked`. It ends when it is released, by whatever thread, or when its process dies.
#[pyclass(module = "kennel", frozen, weakref)]
pub(crate) struct Lock {
    cache: Cache,
    key: Vec<u8>,
    how: LockHow,
    /// What this object holds: several only if all claims were held, and locks were given without protection.
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
            // Another thread may release it, so that this one must wait for it as others do.
            options = options.task(kennel::Task::unique());
        } else if let Some(greenlet) = &greenlet {
            options = options.task(greenlet.task);
        }
        let lock = wait_for(py, &self.cache, wait, greenlet.as_ref(), false, &|cache, piece, _| {
            let options = options.wait(piece);
            cache.lock_with(&self.key, &options)
        })?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
        Ok(())
    }
}

#[pymethods]
impl Lock {
    /// Takes the lock: with True within the limit that lock() was given, with False only if it is free, or within so
    /// many seconds. Returns whether it was taken.
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
            // Whoever does not wait is told as any other that it is taken.
            Err(failure) if limit == Wait::No && failure.is_own_claim() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Gives the lock back; any thread of the process may.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let lock = self.held.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lock = lock.ok_or_else(|| PyRuntimeError::new_err("release of a lock that is not held"))?;
        py.detach(|| lock.release());
        Ok(())
    }

    /// Whether anybody holds the lock at this moment, in whatever process.
    fn locked(&self) -> bool {
        self.cache.is_claimed(&self.key)
    }

    /// Whether this object holds it and others are kept out.
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
