//! Saving the items of a cache to a stream, and loading them.

use crate::error::{Failure, Outcome};
use crate::stats;
use kennel_stream::{Choice, FillOptions, LoadError, OpenError, dump, dump_to, load};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

/// A file object of Python. Its methods run Python code, so this thread holds the interpreter's lock all the time.
struct FileObject<'a, 'py>(&'a Bound<'py, PyAny>);

impl Write for FileObject<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.call_method1("write", (PyBytes::new(self.0.py(), bytes),))?;
        // A raw file may write fewer bytes. None means that the call would block.
        match written.extract::<Option<usize>>()? {
            Some(written) => Ok(written.min(bytes.len())),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for FileObject<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.call_method1("read", (into.len(),))?;
        let Some(bytes) = read.extract::<Option<Bound<'_, PyBytes>>>().map_err(PyErr::from)? else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let bytes = bytes.as_bytes();
        let Some(into) = into.get_mut(..bytes.len()) else {
            return Err(io::Error::other("read() returned more bytes than were asked for"));
        };
        into.copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

/// The path, or `None` for a file object, which has a method with this name.
fn path_of(file: &Bound<'_, PyAny>, method: &str) -> PyResult<Option<PathBuf>> {
    if !file.is_instance_of::<PyString>() && file.hasattr(method)? { Ok(None) } else { file.extract().map(Some) }
}

/// Writes the chosen items to a path or a file object. Returns their number.
pub(crate) fn write_items(cache: &kennel::Cache, choice: &Choice, file: &Bound<'_, PyAny>) -> Outcome<u64> {
    if let Some(name) = &choice.namespace
        && !cache.namespaces().contains(name)
    {
        return Err(PyValueError::new_err(format!("the cache has no namespace {name:?}")).into());
    }
    let written = match path_of(file, "write")? {
        Some(path) => file.py().detach(|| dump_to(cache, choice, &path, || false)),
        None => dump(cache, choice, BufWriter::with_capacity(1 << 20, FileObject(file)), || false),
    };
    Ok(written.map_err(PyErr::from)?.items)
}

/// Stores the items of a stream from a path or a file object. Returns a `kennel.Loaded`.
pub(crate) fn read_items<'py>(
    cache: &kennel::Cache,
    how: &FillOptions,
    file: &Bound<'py, PyAny>,
) -> Outcome<Bound<'py, PyAny>> {
    let loaded = match path_of(file, "read")? {
        Some(path) => file.py().detach(|| {
            let input = File::open(&path).map_err(OpenError::from)?;
            load(cache, how, BufReader::with_capacity(1 << 20, input), |_, _| {})
        }),
        None => load(cache, how, BufReader::with_capacity(1 << 20, FileObject(file)), |_, _| {}),
    };
    Ok(stats::loaded(file.py(), &loaded.map_err(failure)?)?)
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Cache(error, _) => error.into(),
        LoadError::Read(error, _) | LoadError::Open(OpenError::Io(error)) => PyErr::from(error).into(),
        LoadError::Open(error) => PyValueError::new_err(error.to_string()).into(),
    }
}
