//! Tags: names that values bear, so that one call invalidates all of them.

use crate::bytes::Bytes;
use crate::error::Outcome;
use kennel::{Error, Invalidation, MAX_TAGS, SetOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::collections::HashSet;

/// The kind of an invalidation, of tags or of all values.
pub(crate) fn invalidation(soft: bool) -> Invalidation {
    if soft { Invalidation::Soft } else { Invalidation::Hard }
}

/// The names of tags as bytes, from any iterable of names. A single name is refused, because its letters would become
/// tags.
pub(crate) struct Tags<'py>(Vec<Bytes<'py>>);

impl<'py> FromPyObject<'_, 'py> for Tags<'py> {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let is_name = !is_sequence(given)
            && (given.is_instance_of::<PyString>() || pyo3::types::PyMemoryView::from(&given).is_ok());
        let names = if is_name { None } else { given.try_iter().ok() };
        let Some(names) = names else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "tags: expected a list of str or bytes-like objects, found {kind}"
            )));
        };
        let name = |name: PyResult<Bound<'py, PyAny>>| {
            let name = name?;
            name.extract().map_err(|_| match name.get_type().name() {
                Ok(kind) => PyTypeError::new_err(format!("a tag: expected str or a bytes-like object, found {kind}")),
                Err(error) => error,
            })
        };
        names.map(name).collect::<PyResult<_>>().map(Self)
    }
}

fn is_sequence(given: Borrowed<'_, '_, PyAny>) -> bool {
    given.is_exact_instance_of::<PyList>() || given.is_exact_instance_of::<PyTuple>()
}

impl<'py> Tags<'py> {
    /// The tags of a list or a tuple; `None` for anything else. The covered method may have to read them again, which
    /// other iterables may not allow.
    pub(crate) fn of_sequence(given: Borrowed<'_, 'py, PyAny>) -> Option<Self> {
        if is_sequence(given) { given.extract().ok() } else { None }
    }

    pub(crate) fn names(&self) -> &[Bytes<'py>] {
        &self.0
    }

    /// These tags in the options of a write.
    pub(crate) fn given_to(self, how: SetOptions) -> SetOptions {
        if self.0.is_empty() { how } else { how.tags(&self.0) }
    }
}

/// Returns tags as a list of bytes, each once. Raises an error if there are more than a value may have, unless
/// ``any_number`` is true.
#[pyfunction]
#[pyo3(signature = (tags, *, any_number = false))]
pub(crate) fn _tags<'py>(tags: Tags<'py>, any_number: bool) -> Outcome<Vec<Bound<'py, PyBytes>>> {
    let (mut seen, mut names) = (HashSet::new(), Vec::new());
    for name in &tags.0 {
        if seen.insert(name.as_ref()) {
            names.push(name.object());
        }
    }
    match names.len() {
        found if found > MAX_TAGS && !any_number => Err(Error::TooManyTags { found, limit: MAX_TAGS }.into()),
        _ => Ok(names),
    }
}
