//! The options of a far tier, by their names in Python.

use crate::error::Outcome;
use crate::expiry::Seconds;
use crate::options::{Given, Opening};
use kennel_far::{Options, Tracking};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::time::Duration;

/// Sets one option from the value that Python gave.
type Set = fn(Options, &Given<'_, '_>) -> Outcome<Options>;

/// The options: their names in Python, and how they are set. `kennel.far.FarCache` has a parameter for each.
const OPTIONS: [(&str, Set); 9] = [
    ("max_staleness", |to, given| Ok(to.max_staleness(time(given)?))),
    ("tracking", |to, given| Ok(to.tracking(if given.flag()? { Tracking::On } else { Tracking::Off }))),
    ("keepers", |to, given| Ok(to.keepers(given.number()? as usize))),
    ("probe", |to, given| Ok(to.probe(given.flag()?))),
    ("near_ttl", |to, given| Ok(to.near_ttl(time(given)?))),
    ("absence_ttl", |to, given| Ok(to.absence_ttl(time(given)?))),
    ("near_max_value", |to, given| Ok(to.near_max_value(usize::try_from(given.size()?).unwrap_or(usize::MAX)))),
    ("fetch_wait", |to, given| Ok(to.fetch_wait(time(given)?))),
    ("timeout", |to, given| Ok(to.timeout(time(given)?))),
];

fn time(given: &Given<'_, '_>) -> Outcome<Duration> {
    Ok(given.is::<Seconds>("seconds or a timedelta")?.0.min(LONGEST))
}

/// Longer than any wait, and short enough that a sum of times does not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The names of the options.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.into_iter().map(|(name, _)| name)
}

/// Reads the options of the far tier and those of the near file. One that is `None` keeps its default.
pub(crate) fn read(
    url: &str,
    prefixes: Vec<Vec<u8>>,
    far: &Bound<'_, PyDict>,
    near: &Bound<'_, PyDict>,
) -> Outcome<Options> {
    let mut options = prefixes.into_iter().fold(Options::new(url), Options::prefix);
    for (name, value) in far {
        let name = name.cast::<PyString>().map_err(PyErr::from)?.to_cow()?;
        let Some((name, set)) = OPTIONS.into_iter().find(|(known, _)| *known == name) else {
            return Err(PyTypeError::new_err(format!("{name} is not an option of a far tier")).into());
        };
        if !value.is_none() {
            options = set(options, &Given { name, value: &value })?;
        }
    }
    Ok(options.near(Opening::from_dict(near)?.into_options()))
}
