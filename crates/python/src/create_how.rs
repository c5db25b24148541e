//! How a missing value is created: the options of `claim`, by their names.

use crate::error::Outcome;
use crate::expiry::{Seconds, check_life};
use crate::tags::Tags;
use crate::task::Task;
use kennel::{CreateOptions, Error, Expiry, Wait};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::cell::Cell;
use std::time::Duration;

/// The default limit of waits, the same as in the engine.
pub(crate) const DEFAULT_WAIT: Option<Seconds> = Some(Seconds(Duration::from_secs(30)));

/// Converts a limit: `None` waits without limit, 0 does not wait.
pub(crate) fn waiting(seconds: Option<Seconds>) -> Wait {
    match seconds {
        None => Wait::Forever,
        Some(Seconds(limit)) if limit.is_zero() => Wait::No,
        Some(Seconds(limit)) => Wait::For(limit),
    }
}

/// How a missing value is created.
pub(crate) struct CreateHow {
    /// The options that are the same for every attempt.
    options: CreateOptions,
    pub(crate) wait: Wait,
    pub(crate) unprotected: bool,
    /// Whether a caller still gets the right to create the value if the cache fails.
    pub(crate) or_uncached: bool,
    /// The owner of the claim; by default the calling thread or greenlet.
    pub(crate) task: Option<kennel::Task>,
    /// Whether the call fails instead of waiting for the lock of the stripe.
    pub(crate) nonblocking: bool,
}

impl CreateHow {
    /// Reads the options from the named arguments of a call. Returns an error if there are other arguments.
    pub(crate) fn take(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> Outcome<Self> {
        let named = Named { given: given.cloned().unwrap_or_else(|| PyDict::new(py)), read: Cell::new(0) };
        let resilient = named.flag(intern!(py, "resilient"))?;
        let options = named.on_failure(named.stored_how()?)?;
        let how = Self {
            options: if resilient { options.resilient() } else { options },
            wait: named.wait()?,
            unprotected: named.flag(intern!(py, "unprotected"))?,
            or_uncached: named.flag(intern!(py, "or_uncached"))? || resilient,
            task: named.take::<PyRef<'_, Task>>(intern!(py, "task"))?.map(|task| task.0),
            nonblocking: named.flag(intern!(py, "nonblocking"))?,
        };
        if named.read.get() == named.given.len() { Ok(how) } else { Err(named.unknown().into()) }
    }

    /// The options that are the same for every attempt.
    pub(crate) fn of_attempts(&self, task: Option<kennel::Task>) -> CreateOptions {
        let options = self.options.clone();
        match task {
            Some(task) => options.task(task),
            None => options,
        }
    }

    /// The options of a request, whose waiting time the engine measures.
    pub(crate) fn of_request(&self, task: Option<kennel::Task>) -> CreateOptions {
        let options = self.of_attempts(task);
        options.wait(self.wait).unprotected(self.unprotected).or_uncached(self.or_uncached)
    }
}

/// The names of all options, for the error about an unknown one.
const NAMES: [&str; 16] = [
    "ttl",
    "stale",
    "absence_ttl",
    "wait",
    "unprotected",
    "claim_max_age",
    "early_refresh",
    "flags",
    "task",
    "nonblocking",
    "or_uncached",
    "on_error",
    "retry_after",
    "share_failure",
    "resilient",
    "tags",
];

/// The named arguments of a call.
struct Named<'py> {
    given: Bound<'py, PyDict>,
    /// How many of the arguments were read. Each is read once.
    read: Cell<usize>,
}

impl<'py> Named<'py> {
    /// How the value is stored, and when another caller may create it.
    fn stored_how(&self) -> Outcome<CreateOptions> {
        let py = self.given.py();
        let (ttl, stale) = (self.take(intern!(py, "ttl"))?, self.take(intern!(py, "stale"))?);
        check_life(ttl, stale)?;
        let mut options = CreateOptions::new();
        if let Some(Seconds(ttl)) = ttl {
            options = options.expiry(Expiry::After(ttl));
        }
        if let Some(Seconds(stale)) = stale {
            options = options.soft_expiry(Expiry::After(stale));
        }
        if let Some(Seconds(ttl)) = self.take(intern!(py, "absence_ttl"))? {
            options = options.absence_expiry(Expiry::After(ttl));
        }
        if let Some(Seconds(age)) = self.take(intern!(py, "claim_max_age"))? {
            options = options.claim_max_age(age);
        }
        if let Some(beta) = self.take(intern!(py, "early_refresh"))? {
            options = options.early_refresh(beta);
        }
        if let Some(flags) = self.take(intern!(py, "flags"))? {
            options = options.flags(flags);
        }
        if let Some(tags) = self.take::<Tags<'_>>(intern!(py, "tags"))? {
            options = options.tags(tags.names());
        }
        Ok(options)
    }

    /// How the caller handles creators that fail.
    fn on_failure(&self, options: CreateOptions) -> Outcome<CreateOptions> {
        let py = self.given.py();
        let stale_if_error = match self.take::<String>(intern!(py, "on_error"))?.as_deref() {
            None | Some("raise") => false,
            Some("stale") => true,
            Some(other) => {
                let (given, expected) = (other.to_owned(), "raise or stale".to_owned());
                return Err(Error::BadOption { option: "on_error", given, expected }.into());
            }
        };
        let options = options.stale_if_error(stale_if_error).share_failure(self.flag(intern!(py, "share_failure"))?);
        Ok(match self.take::<(Seconds, Seconds)>(intern!(py, "retry_after"))? {
            Some((Seconds(first), Seconds(most))) => options.rest(first, most),
            None => options,
        })
    }

    /// The argument with this name. An argument that is Python's None counts as not given.
    fn take<T>(&self, name: &Bound<'py, PyString>) -> PyResult<Option<T>>
    where
        T: for<'a> FromPyObject<'a, 'py>,
    {
        match self.any(name)? {
            Some(value) if !value.is_none() => extracted(name, &value).map(Some),
            _ => Ok(None),
        }
    }

    fn flag(&self, name: &Bound<'py, PyString>) -> PyResult<bool> {
        Ok(self.take(name)?.unwrap_or(false))
    }

    /// How long to wait. Python's None waits without limit.
    fn wait(&self) -> PyResult<Wait> {
        let name = intern!(self.given.py(), "wait");
        Ok(match self.any(name)? {
            None => waiting(DEFAULT_WAIT),
            Some(none) if none.is_none() => Wait::Forever,
            Some(limit) => waiting(Some(extracted(name, &limit)?)),
        })
    }

    fn any(&self, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = self.given.get_item(name)?;
        self.read.set(self.read.get() + usize::from(value.is_some()));
        Ok(value)
    }

    fn unknown(&self) -> PyErr {
        let names = self.given.keys();
        let other = names.iter().map(|name| name.to_string()).find(|name| !NAMES.contains(&name.as_str()));
        PyTypeError::new_err(format!("claim: {} is not one of its options", other.unwrap_or_default()))
    }
}

/// Converts the argument with this name. As PyO3 does for other arguments, adds a note to an error that names the
/// argument.
fn extracted<'py, T>(name: &Bound<'py, PyString>, value: &Bound<'py, PyAny>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    value.extract().map_err(|error: <T as FromPyObject<'_, '_>>::Error| {
        let (error, py): (PyErr, _) = (error.into(), name.py());
        // An exception has no notes before Python 3.11.
        let _ = error.value(py).call_method1(intern!(py, "add_note"), (format!("while processing '{name}'"),));
        error
    })
}
