//! The options of a cache file, by their names in Python.

use crate::error::Outcome;
use crate::expiry::Seconds;
use crate::paths;
use kennel::{Error, Options, UnknownName};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::path::PathBuf;
use std::str::FromStr;

/// Sets one option from the value that Python gave.
type Set = fn(&mut Opening, &Given<'_, '_>) -> Outcome<()>;

/// The options: their names in Python, and how they are set. `kennel.Cache` has a parameter for each.
const OPTIONS: [(&str, Set); 23] = [
    ("capacity", |to, given| to.engine(given.size()?, Options::capacity)),
    ("mean_item", |to, given| to.engine(given.size()?, Options::mean_item)),
    ("stripes", |to, given| to.engine(given.number()?, Options::stripes)),
    ("locks", |to, given| to.engine(given.named()?, Options::locks)),
    ("lock_regions", |to, given| to.engine(given.number()?, Options::lock_regions)),
    ("seats", |to, given| to.engine(given.number()?, Options::seats)),
    ("namespaces", |to, given| to.engine(given.number()?, Options::namespaces)),
    ("claims", |to, given| to.engine(given.number()?, Options::claims)),
    ("tags", |to, given| to.engine(given.number()?, Options::tags)),
    ("namespace_reads", |to, given| to.engine(given.flag()?, Options::namespace_reads)),
    ("samples", |to, given| to.engine(given.flag()?, Options::samples)),
    ("mode", |to, given| to.engine(given.number()?, Options::mode)),
    ("after_crash", |to, given| to.engine(given.named()?, Options::after_crash)),
    ("on_mismatch", |to, given| to.engine(given.named()?, Options::on_mismatch)),
    ("verify_reads", |to, given| to.engine(given.flag()?, Options::verify_reads)),
    ("trust", |to, given| to.engine(given.flag()?, Options::trust)),
    ("allow_network", |to, given| to.engine(given.flag()?, Options::allow_network)),
    ("lock_wait", |to, given| to.engine(given.is::<Seconds>("seconds or a timedelta")?.0, Options::lock_wait)),
    ("seed", |to, given| to.engine(given.is("a number from 0 to 18446744073709551615")?, Options::seed)),
    ("prefault", |to, given| to.engine(given.flag()?, Options::prefault)),
    ("large_pages", |to, given| to.engine(given.named()?, Options::large_pages)),
    ("read_only", |to, given| given.flag().map(|yes| to.read_only = yes)),
    ("create", |to, given| given.flag().map(|yes| to.create = yes)),
];

/// How a file is opened: the engine's options, and which of its methods opens it.
pub(crate) struct Opening {
    options: Options,
    read_only: bool,
    create: bool,
}

impl Opening {
    /// Reads the options from a dictionary. An option that is `None` keeps its default.
    pub(crate) fn from_dict(given: &Bound<'_, PyDict>) -> Outcome<Self> {
        let mut opening = Self { options: Options::new(), read_only: false, create: true };
        for (name, value) in given {
            let name = name.cast::<PyString>().map_err(PyErr::from)?.to_cow()?;
            let Some((name, set)) = OPTIONS.into_iter().find(|(known, _)| *known == name) else {
                return Err(PyTypeError::new_err(format!("{name} is not an option of a cache")).into());
            };
            if !value.is_none() {
                set(&mut opening, &Given { name, value: &value })?;
            }
        }
        Ok(opening)
    }

    fn engine<T>(&mut self, value: T, set: fn(Options, T) -> Options) -> Outcome<()> {
        self.options = set(std::mem::take(&mut self.options), value);
        Ok(())
    }

    /// The engine's options alone, for a caller that creates the file if it is missing and opens it for writing.
    pub(crate) fn into_options(self) -> Options {
        self.options
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

/// The value that Python gave for an option. Its errors name the option.
pub(crate) struct Given<'a, 'py> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a Bound<'py, PyAny>,
}

impl<'a, 'py> Given<'a, 'py> {
    /// Converts the value. The error is a `TypeError` if the value does not have the expected type, and a `BadOption`
    /// if it has the type but is invalid.
    pub(crate) fn is<T: FromPyObject<'a, 'py, Error = PyErr>>(&self, expected: &str) -> Outcome<T> {
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

    pub(crate) fn number(&self) -> Outcome<u32> {
        self.is("a number from 0 to 4294967295")
    }

    pub(crate) fn flag(&self) -> Outcome<bool> {
        self.is("True or False")
    }

    /// One of the names that the option's type has for its values.
    pub(crate) fn named<T: FromStr<Err = UnknownName>>(&self) -> Outcome<T> {
        let text = self.is::<String>("text")?;
        Ok(text.parse().map_err(|unknown: UnknownName| bad(self.name, &text, unknown.expected()))?)
    }

    /// A number of bytes, which may be text with a unit.
    pub(crate) fn size(&self) -> Outcome<u64> {
        const EXPECTED: &str = "a number of bytes, or text such as 64M or 1.5GiB";
        let Ok(text) = self.value.cast::<PyString>() else { return self.is(EXPECTED) };
        let text = text.to_cow()?;
        Ok(bytes(&text).ok_or_else(|| bad(self.name, &text, EXPECTED))?)
    }
}

/// Parses a number of bytes such as `64M`. K, M, G and T, with or without `iB`, are powers of 1024; kB, MB, GB and TB
/// are powers of 1000, as on the command line.
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
    // Below this number a float is exact, and no file is larger.
    (bytes < (1u64 << 53) as f64).then_some(bytes as u64)
}

pub(crate) fn bad(option: &'static str, given: &str, expected: &str) -> Error {
    Error::BadOption { option, given: given.to_owned(), expected: expected.to_owned() }
}

/// Returns the path of this user's cache file, which is used if a program names no path.
#[pyfunction]
pub(crate) fn default_path(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    paths::path(py, &kennel::default_path())
}

/// Removes a cache file and its lock files. In processes that have the file open, all reads then miss, and writes raise
/// :class:`kennel.NotFound` until the file is created again.
///
/// :param path: the cache file.
/// :param trust: remove the file even if it belongs to another user, or if other users can write to it; default False.
#[pyfunction]
#[pyo3(signature = (path, *, trust = false))]
pub(crate) fn destroy(py: Python<'_>, path: PathBuf, trust: bool) -> Outcome<()> {
    Ok(py.detach(|| Options::new().trust(trust).destroy(path))?)
}

/// The names of all options.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.into_iter().map(|(name, _)| name)
}
