//! The conversion of times from and to Python.

use kennel::{Error, Expiry};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyFloat;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A length of time: seconds as a number, or a `timedelta`.
#[derive(Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromPyObject<'_, '_> for Seconds {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let seconds = match given.extract::<f64>() {
            Ok(seconds) => seconds,
            Err(_) => match given.call_method0("total_seconds") {
                Ok(total) => total.cast::<PyFloat>()?.extract()?,
                Err(_) => {
                    let kind = given.get_type().name()?;
                    return Err(PyTypeError::new_err(format!("expected seconds or a timedelta, found {kind}")));
                }
            },
        };
        if seconds.is_nan() {
            return Err(PyValueError::new_err("expected seconds, found nan"));
        }
        // A negative time to live means already expired, as zero does.
        Ok(Self(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
    }
}

/// When an item expires, from `ttl` or `expires_at`. `None` if neither is given; an error if both are.
pub(crate) fn expiry(ttl: Option<Seconds>, expires_at: Option<f64>) -> PyResult<Option<Expiry>> {
    match (ttl, expires_at) {
        (None, None) => Ok(None),
        (Some(Seconds(ttl)), None) => Ok(Some(Expiry::After(ttl))),
        (None, Some(moment)) if moment.is_nan() => Err(PyValueError::new_err("expires_at: expected a time, found nan")),
        (None, Some(moment)) => {
            let since = Duration::try_from_secs_f64(moment.max(0.0)).unwrap_or(FAR);
            Ok(Some(Expiry::At(UNIX_EPOCH.checked_add(since.min(FAR)).unwrap_or(UNIX_EPOCH))))
        }
        (Some(_), Some(_)) => Err(PyTypeError::new_err("expected ttl or expires_at, found both")),
    }
}

/// A time since 1970 that is later than the latest expiry that the engine stores, and that every system can represent.
const FAR: Duration = Duration::from_secs(600 * 366 * 24 * 60 * 60);

/// Refuses a value that would become stale only after it has expired.
pub(crate) fn check_life(ttl: Option<Seconds>, stale: Option<Seconds>) -> Result<(), Error> {
    match (ttl, stale) {
        (Some(Seconds(ttl)), Some(Seconds(stale))) if stale > ttl => Err(Error::BadOption {
            option: "stale",
            given: format!("{stale:?}"),
            expected: format!("at most ttl, {ttl:?}"),
        }),
        _ => Ok(()),
    }
}

/// Seconds since 1970, as `time.time()` returns them.
pub(crate) fn unix_time(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
