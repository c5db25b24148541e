//! Claims: the right to create a key, and the lock of a key.

use crate::bytes::Bytes;
use crate::error::Outcome;
use crate::expiry::Seconds;
use crate::space::{Of, on};
use kennel::{CreateOptions, Error, Expiry, KeyLock, LockOptions, Stored, Wait};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A wait of the main thread is cut into pieces of this length, between which Python sees signals such as Ctrl-C.
const PIECE: Duration = Duration::from_millis(250);

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

/// Waits for what `attempt` waits for: in the main thread in pieces, since only that one sees signals, in another at one
/// go but for the first piece, most waits being shorter. A lock that is busy for a piece is not yet too busy.
fn in_pieces<T: Send>(
    py: Python<'_>,
    of: &Of,
    wait: Wait,
    attempt: impl Fn(Wait) -> Result<T, Error> + Sync,
) -> Outcome<T> {
    let lock_wait = of.cache().lock_wait();
    let began = Instant::now();
    let (mut longest, mut busy) = (Some(PIECE), Duration::ZERO);
    loop {
        let left = match wait {
            Wait::Forever => None,
            Wait::For(limit) => Some(limit.saturating_sub(began.elapsed())),
            Wait::No => Some(Duration::ZERO),
        };
        let (piece, is_last) = match (left, longest) {
            (Some(Duration::ZERO), _) => (Wait::No, true),
            (Some(left), Some(piece)) if left > piece => (Wait::For(piece), false),
            (Some(left), _) => (Wait::For(left), true),
            (None, Some(piece)) => (Wait::For(piece), false),
            (None, None) => (Wait::Forever, true),
        };
        match py.detach(|| attempt(piece)) {
            Err(Error::TimedOut { .. }) if !is_last => {
                busy = Duration::ZERO;
                py.check_signals()?;
            }
            Err(Error::Busy { waited, .. }) if !is_last && busy + waited < lock_wait => {
                busy += waited;
                py.check_signals()?;
            }
            Err(Error::Busy { stripe, waited }) => return Err(Error::Busy { stripe, waited: busy + waited }.into()),
            Err(Error::TimedOut { .. }) => return Err(Error::TimedOut { waited: began.elapsed() }.into()),
            other => return Ok(other?),
        }
        longest = is_main_thread(py)?.then_some(PIECE);
    }
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = PyModule::import(py, "threading")?;
    let (main, this) = (threading.call_method0("main_thread")?, threading.call_method0("current_thread")?);
    Ok(main.is(&this))
}

/// Whose a claim is, where that is not the thread that asks: a coroutine's, say.
#[pyclass(module = "kennel._kennel", frozen)]
pub(crate) struct Task(pub(crate) kennel::Task);

#[pymethods]
impl Task {
    #[new]
    fn new() -> Self {
        Self(kennel::Task::unique())
    }
}

/// How a missing value is created.
pub(crate) struct CreateHow {
    pub ttl: Option<Seconds>,
    pub stale: Option<Seconds>,
    pub absence_ttl: Option<Seconds>,
    pub unprotected: bool,
    pub max_age: Option<Seconds>,
    pub early: Option<f64>,
    pub flags: u32,
    pub task: Option<kennel::Task>,
}

impl CreateHow {
    pub(crate) fn options(&self) -> CreateOptions {
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
        if let Some(Seconds(age)) = self.max_age {
            options = options.max_age(age);
        }
        if let Some(beta) = self.early {
            options = options.early(beta);
        }
        if let Some(task) = self.task {
            options = options.task(task);
        }
        options.unprotected(self.unprotected)
    }
}

/// What was found of a key.
#[pyclass(module = "kennel._kennel", frozen, get_all)]
pub(crate) struct Lookup {
    /// The value, if there is one that can be used.
    value: Option<Py<PyBytes>>,
    /// Whether it is stale.
    is_stale: bool,
    /// The right to create the value, for one caller; for all others None.
    claim: Option<Py<Claim>>,
}

impl Lookup {
    pub(crate) fn find(py: Python<'_>, of: &Of, key: &Bytes<'_>, options: &CreateOptions, wait: Wait) -> Outcome<Self> {
        let key = key.as_ref();
        let value = |item: &kennel::Item| PyBytes::new(py, &item.value).unbind();
        let lookup = in_pieces(py, of, wait, |piece| {
            let options = options.clone().wait(piece);
            on!(of, space => space.claim(key, &options))
        })?;
        Ok(match lookup {
            kennel::Lookup::Hit(item) => Self { value: Some(value(&item)), is_stale: false, claim: None },
            kennel::Lookup::Stale(item) => Self { value: Some(value(&item)), is_stale: true, claim: None },
            kennel::Lookup::Absent => Self { value: None, is_stale: false, claim: None },
            kennel::Lookup::Create(claim) => Self {
                value: claim.stale().map(value),
                is_stale: claim.stale().is_some(),
                claim: Some(Py::new(py, Claim { claim: Some(claim) })?),
            },
        })
    }
}

/// The right to create the value of a key, and the duty to say what became of it. In a `with` block, or when it is
/// forgotten, a claim of which nothing was said has failed, and the next who waits tries.
#[pyclass(module = "kennel._kennel")]
pub(crate) struct Claim {
    /// Nothing once it has ended.
    claim: Option<kennel::Claim>,
}

impl Claim {
    fn take(&mut self) -> PyResult<kennel::Claim> {
        self.claim.take().ok_or_else(|| PyValueError::new_err("the claim has ended"))
    }
}

#[pymethods]
impl Claim {
    /// Whether all others wait for this creation.
    #[getter]
    fn is_protected(&self) -> bool {
        self.claim.as_ref().is_some_and(kennel::Claim::is_protected)
    }

    /// Whether something was said of it.
    #[getter]
    fn has_ended(&self) -> bool {
        self.claim.is_none()
    }

    /// Stores the value and lets those go on who wait for it. False if it was not stored, since the key was written,
    /// deleted or invalidated meanwhile.
    fn store(&mut self, py: Python<'_>, value: Bytes<'_>) -> Outcome<bool> {
        let (claim, value) = (self.take()?, value.as_ref());
        Ok(matches!(py.detach(|| claim.store(value))?, Stored::Yes(_)))
    }

    /// Stores that there is no value, if `absence_ttl` was given; False if it was not stored.
    fn store_absence(&mut self, py: Python<'_>) -> Outcome<bool> {
        let claim = self.take()?;
        Ok(matches!(py.detach(|| claim.store_absence())?, Stored::Yes(_)))
    }

    /// The value is not to be cached: those who wait create for themselves.
    fn refuse(&mut self, py: Python<'_>) -> PyResult<()> {
        let claim = self.take()?;
        py.detach(|| claim.refuse());
        Ok(())
    }

    /// The creation failed: the next who waits tries.
    fn fail(&mut self, py: Python<'_>) -> PyResult<()> {
        let claim = self.take()?;
        py.detach(|| claim.fail());
        Ok(())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, py: Python<'_>, _error: &Bound<'_, PyTuple>) {
        let claim = self.claim.take();
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
#[pyclass(module = "kennel._kennel", frozen, weakref)]
pub(crate) struct Lock {
    of: Of,
    key: Vec<u8>,
    how: LockHow,
    /// What this object holds: several only if all claims were held, and locks were given without protection.
    held: Mutex<Vec<KeyLock>>,
}

impl Lock {
    pub(crate) fn new(of: Of, key: &[u8], how: LockHow) -> Self {
        Self { of, key: key.to_owned(), how, held: Mutex::new(Vec::new()) }
    }

    fn take(&self, py: Python<'_>, wait: Wait) -> Outcome<()> {
        let mut options = LockOptions::new().unprotected_when_full(self.how.unprotected);
        if let Some(Seconds(age)) = self.how.max_age {
            options = options.max_age(age);
        }
        if self.how.handover {
            // Another thread may release it, so that this one must wait for it as others do.
            options = options.task(kennel::Task::unique());
        }
        let lock = in_pieces(py, &self.of, wait, |piece| {
            let options = options.wait(piece);
            on!(&self.of, space => space.lock_with(&self.key, &options))
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
        on!(&self.of, space => space.is_claimed(&self.key))
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
