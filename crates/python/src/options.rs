//! Options by their names.

use crate::error::Outcome;
use crate::expiry::Seconds;
use crate::paths;
use kennel::{Error, Options, UnknownName};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::path::PathBuf;
use std::str::FromStr;

/// The options, as [`Opening::set`] knows them.
const NAMES: [&str; 19] = [
    "capacity",
    "mean_item",
    "stripes",
    "locks",
    "lock_regions",
    "seats",
    "namespaces",
    "claims",
    "mode",
    "after_crash",
    "on_mismatch",
    "verify_reads",
    "trust",
    "allow_network",
    "lock_wait",
    "seed",
    "prefault",
    "read_only",
    "create",
];

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
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(PyTypeError::new_err(format!("{name} is no option of a cache")).into());
        };
        let options = std::mem::take(&mut self.options);
        let given = Given { name, value };
        self.options = match name {
            "capacity" => options.capacity(given.size()?),
            "mean_item" => options.mean_item(given.size()?),
            "stripes" => options.stripes(given.number()?),
            "locks" => options.locks(named("locks", &given.text()?)?),
            "lock_regions" => options.lock_regions(given.number()?),
            "seats" => options.seats(given.number()?),
            "namespaces" => options.namespaces(given.number()?),
            "claims" => options.claims(given.number()?),
            "mode" => options.mode(given.number()?),
            "after_crash" => options.after_crash(named("after_crash", &given.text()?)?),
            "on_mismatch" => options.on_mismatch(named("on_mismatch", &given.text()?)?),
            "verify_reads" => options.verify_reads(given.flag()?),
            "trust" => options.trust(given.flag()?),
            "allow_network" => options.allow_network(given.flag()?),
            "lock_wait" => options.lock_wait(given.is::<Seconds>("seconds or a timedelta")?.0),
            "seed" => options.seed(given.is("a number from 0 to 18446744073709551615")?),
            "prefault" => options.prefault(given.flag()?),
            "read_only" => {
                self.read_only = given.flag()?;
                options
            }
            _ => {
                self.create = given.flag()?;
                options
            }
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

/// An option as it was given. Its errors name it.
struct Given<'a, 'py> {
    name: &'static str,
    value: &'a Bound<'py, PyAny>,
}

impl<'a, 'py> Given<'a, 'py> {
    /// What the option must be: another type is a `TypeError`, another value of the type `BadOption`.
    fn is<T: FromPyObject<'a, 'py, Error = PyErr>>(&self, expected: &str) -> Outcome<T> {
        self.value.extract().map_err(|error: PyErr| {
            let found = self.value.repr().map_or_else(|_| "something else".to_owned(), |repr| repr.to_string());
            if error.is_instance_of::<PyTypeError>(self.value.py()) {
                let message = format!("option {}: expected {expected}, found {found}", self.name);
                PyTypeError::new_err(message).into()
            } else {
                bad(self.name, &found, expected).into()
            }
        })
    }

    fn number(&self) -> Outcome<u32> {
        self.is("a number from 0 to 4294967295")
    }

    fn flag(&self) -> Outcome<bool> {
        self.is("True or False")
    }

    fn text(&self) -> Outcome<String> {
        self.is("text")
    }

    /// A number of bytes, which may be text with a unit.
    fn size(&self) -> Outcome<u64> {
        const EXPECTED: &str = "a number of bytes, or text such as 64M or 1.5GiB";
        let Ok(text) = self.value.cast::<PyString>() else { return self.is(EXPECTED) };
        let text = text.to_cow()?;
        Ok(bytes(&text).ok_or_else(|| bad(self.name, &text, EXPECTED))?)
    }
}

/// The number of bytes that a text such as `64M` names: K, M, G and T, with or without `iB`, are powers of 1024, and kB,
/// MB, GB and TB of 1000, as for the command line.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let power = |letter| "kmgt".find(letter).map_or(0, |at| at as i32 + 1);
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "k" | "kib" | "m" | "mib" | "g" | "gib" | "t" | "tib" => 1024f64.powi(power(&unit[..1])),
        "kb" | "mb" | "gb" | "tb" => 1000f64.powi(power(&unit[..1])),
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    // What is beyond is no size of a file; a whole number of bytes is exact up to there.
    (bytes < (1u64 << 53) as f64).then_some(bytes as u64)
}

/// An option that is one of a few names.
fn named<T: FromStr<Err = UnknownName>>(option: &'static str, given: &str) -> Result<T, Error> {
    given.parse().map_err(|unknown: UnknownName| bad(option, given, unknown.expected()))
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
