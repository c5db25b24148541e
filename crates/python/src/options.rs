//! Options by their names.

use crate::error::Outcome;
use crate::expiry::Seconds;
use crate::paths;
use kennel::{AfterCrash, Error, LockStrategy, OnMismatch, Options};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::path::PathBuf;

/// How a file is opened: the engine's options, and which of its four ways.
pub(crate) struct Opening {
    options: Options,
    read_only: bool,
    create: bool,
}

impl Opening {
    /// From a dictionary; what is `None` there is left at its default.
    pub(crate) fn from_dict(given: &Bound<'_, PyDict>) -> Outcome<Self> {
        let mut opening = Self { options: Options::new(), read_only: false, create: true };
        for (name, value) in given {
            if !value.is_none() {
                opening.set(name.cast::<PyString>().map_err(PyErr::from)?.to_cow()?.as_ref(), &value)?;
            }
        }
        Ok(opening)
    }

    fn set(&mut self, name: &str, value: &Bound<'_, PyAny>) -> Outcome<()> {
        let options = std::mem::take(&mut self.options);
        self.options = match name {
            "capacity" => options.capacity(value.extract()?),
            "mean_item" => options.mean_item(value.extract()?),
            "stripes" => options.stripes(value.extract()?),
            "locks" => options.locks(strategy(&value.extract::<String>()?)?),
            "lock_regions" => options.lock_regions(value.extract()?),
            "seats" => options.seats(value.extract()?),
            "regions" => options.regions(value.extract()?),
            "claims" => options.claims(value.extract()?),
            "mode" => options.mode(value.extract()?),
            "after_crash" => options.after_crash(after_crash(&value.extract::<String>()?)?),
            "on_mismatch" => options.on_mismatch(on_mismatch(&value.extract::<String>()?)?),
            "verify_reads" => options.verify_reads(value.extract()?),
            "trust" => options.trust(value.extract()?),
            "allow_network" => options.allow_network(value.extract()?),
            "lock_wait" => options.lock_wait(value.extract::<Seconds>()?.0),
            "seed" => options.seed(value.extract()?),
            "populate" => options.populate(value.extract()?),
            "read_only" => {
                self.read_only = value.extract()?;
                options
            }
            "create" => {
                self.create = value.extract()?;
                options
            }
            _ => return Err(PyTypeError::new_err(format!("{name} is no option of a cache")).into()),
        };
        Ok(())
    }

    pub(crate) fn open(&self, py: Python<'_>, path: &PathBuf) -> Outcome<kennel::Cache> {
        let Self { options, read_only, create } = self;
        Ok(py.detach(|| match (read_only, create) {
            (true, _) => options.open_read_only(path),
            (false, true) => options.open_or_create(path),
            (false, false) => options.open(path),
        })?)
    }
}

fn strategy(given: &str) -> Result<LockStrategy, Error> {
    given.parse().map_err(|refused: String| {
        // It says what there is after what there is not.
        bad("locks", given, refused.rsplit_once("expected ").map_or(&refused, |(_, expected)| expected))
    })
}

fn after_crash(given: &str) -> Result<AfterCrash, Error> {
    match given {
        "discard" => Ok(AfterCrash::Discard),
        "verify" => Ok(AfterCrash::Verify),
        _ => Err(bad("after_crash", given, "discard or verify")),
    }
}

fn on_mismatch(given: &str) -> Result<OnMismatch, Error> {
    match given {
        "fail" => Ok(OnMismatch::Fail),
        "use_existing" => Ok(OnMismatch::UseExisting),
        "recreate" => Ok(OnMismatch::Recreate),
        _ => Err(bad("on_mismatch", given, "fail, use_existing or recreate")),
    }
}

fn bad(option: &'static str, given: &str, expected: &str) -> Error {
    Error::BadOption { option, given: given.to_owned(), expected: expected.to_owned() }
}

/// The path for the cache of this user when none is given.
#[pyfunction]
pub(crate) fn default_path(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    paths::path(py, &kennel::default_path())
}

/// Removes a cache file and its locks.
#[pyfunction]
#[pyo3(signature = (path, *, trust = false))]
pub(crate) fn destroy(py: Python<'_>, path: PathBuf, trust: bool) -> Outcome<()> {
    Ok(py.detach(|| Options::new().trust(trust).destroy(path))?)
}
