//! The most frequently called methods, with the calling convention that does not put the arguments into a tuple.
//!
//! Python has had this convention since 3.7, but only since 3.10 has it been part of the stable ABI. In a wheel that
//! also runs on 3.9, PyO3 does not use it, which costs a third of the time of a `get`. So this module covers these
//! methods with methods of the same name. If a cover does not understand a call, for example because of a wrong
//! argument, it passes the call to the covered method, which handles all arguments and reports all errors.
#![allow(unsafe_code, reason = "Python calls the covers, and PyO3 has no safe way to define them")]

use crate::bytes::Lent;
use crate::expiry::Seconds;
use crate::set_how::how;
use crate::space::Space;
use crate::tags::Tags;
use pyo3::PyClass;
use pyo3::panic::PanicException;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{Borrowed, ffi, intern, prelude::*};
use std::ffi::{CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{mem, ptr, slice};

/// `METH_FASTCALL`. PyO3 does not declare it for Python 3.9, where it has the same value and meaning.
const METH_FASTCALL: c_int = 0x0080;

/// A method with this convention. It gets the object, the arguments, the number of positional arguments, and the names
/// of the others.
type Function = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// Covers the methods of `Space` that have a cover.
pub(crate) fn cover_all(space: &Bound<'_, PyType>) -> PyResult<()> {
    cover::<Get>(space)?;
    cover::<Set>(space)
}

/// Covers the method of the far tier that has a cover.
#[cfg(unix)]
pub(crate) fn cover_far(far: &Bound<'_, PyType>) -> PyResult<()> {
    cover::<FarGet>(far)
}

/// A method that covers another method of the same name.
trait Cover {
    /// The class of the method.
    type Of: PyClass<Frozen = True> + Sync;
    const NAME: &'static str;

    /// The covered method.
    fn covered() -> &'static PyOnceLock<Py<PyAny>>;

    /// The result of the call; `None` if the covered method must decide.
    fn call<'py>(slf: &Self::Of, given: Given<'_, 'py>) -> Option<PyResult<Bound<'py, PyAny>>>;
}

struct Get;

impl Cover for Get {
    type Of = Space;
    const NAME: &'static str = "get";

    fn covered() -> &'static PyOnceLock<Py<PyAny>> {
        static COVERED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        &COVERED
    }

    fn call<'py>(space: &Space, given: Given<'_, 'py>) -> Option<PyResult<Bound<'py, PyAny>>> {
        let py = given.py;
        let [key, default] = given.bind(2, || [intern!(py, "key"), intern!(py, "default")])?;
        let found = space.find(py, key?.extract::<Lent<'_, '_>>().ok()?.as_ref());
        let default = || default.map_or_else(|| py.None().into_bound(py), |default| default.to_owned());
        Some(found.map(|found| found.map_or_else(default, Bound::into_any)))
    }
}

struct Set;

impl Cover for Set {
    type Of = Space;
    const NAME: &'static str = "set";

    fn covered() -> &'static PyOnceLock<Py<PyAny>> {
        static COVERED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        &COVERED
    }

    fn call<'py>(space: &Space, given: Given<'_, 'py>) -> Option<PyResult<Bound<'py, PyAny>>> {
        let py = given.py;
        let names = || {
            [intern!(py, "key"), intern!(py, "value"), intern!(py, "ttl"), intern!(py, "stale"), intern!(py, "tags")]
        };
        let [key, value, ttl, stale, tags] = given.bind(3, names)?;
        let (key, value) = (key?.extract::<Lent<'_, '_>>().ok()?, value?.extract::<Lent<'_, '_>>().ok()?);
        let mut how = how(time(ttl)?, time(stale)?, None, 0).ok()?;
        if let Some(tags) = tags.filter(|tags| !tags.is_none()) {
            how = Tags::of_sequence(tags)?.given_to(how);
        }
        let stamp = space.store(py, key.as_ref(), value.as_ref(), &how).map_err(|failure| failure.exception(py));
        Some(stamp.and_then(|stamp| Ok(stamp.into_pyobject(py)?.into_any())))
    }
}

#[cfg(unix)]
struct FarGet;

#[cfg(unix)]
impl Cover for FarGet {
    type Of = crate::far::FarCache;
    const NAME: &'static str = "get";

    fn covered() -> &'static PyOnceLock<Py<PyAny>> {
        static COVERED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        &COVERED
    }

    /// Answers only hits in the near tier.
    fn call<'py>(far: &Self::Of, given: Given<'_, 'py>) -> Option<PyResult<Bound<'py, PyAny>>> {
        let py = given.py;
        let [key, _] = given.bind(2, || [intern!(py, "key"), intern!(py, "default")])?;
        let found = far.near(py, key?.extract::<Lent<'_, '_>>().ok()?.as_ref()).ok()??;
        Some(Ok(found.into_any()))
    }
}

/// An optional length of time. The outer `None` means that it is invalid.
fn time(given: Option<Borrowed<'_, '_, PyAny>>) -> Option<Option<Seconds>> {
    given.map_or(Some(None), |given| given.extract().ok())
}

/// The arguments of a call.
#[derive(Clone, Copy)]
struct Given<'a, 'py> {
    py: Python<'py>,
    /// The positional arguments, followed by the named ones.
    values: &'a [*mut ffi::PyObject],
    names: Option<Borrowed<'a, 'py, PyTuple>>,
}

impl<'a, 'py> Given<'a, 'py> {
    /// # Safety
    /// Python passed the three pointers to a method with `METH_FASTCALL | METH_KEYWORDS`, and they live as long as the
    /// call.
    unsafe fn new(
        py: Python<'py>,
        values: *const *mut ffi::PyObject,
        unnamed: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Self {
        // SAFETY: null, or a tuple of strings that lives as long as the call.
        let names = unsafe { Borrowed::from_ptr_or_opt(py, names) };
        // SAFETY: as above.
        let names = names.map(|names| unsafe { names.cast_unchecked::<PyTuple>() });
        let count = unnamed as usize + names.map_or(0, |names| names.len());
        if count == 0 {
            return Self { py, values: &[], names };
        }
        // SAFETY: there are `count` arguments.
        let values = unsafe { slice::from_raw_parts(values, count) };
        Self { py, values, names }
    }

    fn value(&self, at: usize) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: an argument, which lives as long as the call.
        unsafe { Borrowed::from_ptr(self.py, self.values[at]) }
    }

    fn unnamed(&self) -> usize {
        self.values.len() - self.names.map_or(0, |names| names.len())
    }

    /// The arguments in the order of `known`, of which the first `most_unnamed` may be positional. `None` if there are
    /// other arguments, or one is given twice.
    #[inline(always)]
    fn bind<'k, const N: usize>(
        &self,
        most_unnamed: usize,
        known: impl FnOnce() -> [&'k Bound<'py, PyString>; N],
    ) -> Option<[Option<Borrowed<'a, 'py, PyAny>>; N]>
    where
        'py: 'k,
    {
        let mut bound = [None; N];
        let unnamed = self.unnamed();
        if unnamed > most_unnamed {
            return None;
        }
        for (at, place) in bound.iter_mut().enumerate().take(unnamed) {
            *place = Some(self.value(at));
        }
        if let Some(names) = self.names {
            let known = known();
            for (at, name) in names.iter_borrowed().enumerate() {
                // Python interns names that stand in a program's text, so comparing identities suffices. The covered
                // method handles other strings.
                let place = known.iter().position(|known| known.is(name))?;
                if bound[place].replace(self.value(unnamed + at)).is_some() {
                    return None;
                }
            }
        }
        Some(bound)
    }

    /// Calls the covered method.
    #[cold]
    fn hand_on(&self, space: &Bound<'py, PyAny>, covered: &PyOnceLock<Py<PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let unnamed = (0..self.unnamed()).map(|at| self.value(at).to_owned());
        let unnamed = PyTuple::new(self.py, [space.clone()].into_iter().chain(unnamed).collect::<Vec<_>>())?;
        let named = PyDict::new(self.py);
        for (at, name) in self.names.iter().flat_map(|names| names.iter_borrowed()).enumerate() {
            named.set_item(name, self.value(self.unnamed() + at))?;
        }
        let covered = covered.get(self.py).map(|covered| covered.bind(self.py));
        covered.map_or_else(|| Ok(self.py.NotImplemented().into_bound(self.py)), |it| it.call(unnamed, Some(&named)))
    }
}

/// Replaces a method of a class by its cover, with the same signature and documentation.
fn cover<M: Cover>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let covered = class.getattr(M::NAME)?;
    let about = |attribute| covered.getattr(attribute)?.extract::<String>();
    let documented = format!("{}{}\n--\n\n{}", M::NAME, about("__text_signature__")?, about("__doc__")?);
    // SAFETY: a function pointer. The flags below make Python call it with its real signature.
    let function = unsafe { mem::transmute::<Function, ffi::PyCFunctionWithKeywords>(called::<M>) };
    let definition = ffi::PyMethodDef {
        ml_name: CString::new(M::NAME)?.into_raw(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionWithKeywords: function },
        ml_flags: METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: CString::new(documented)?.into_raw(),
    };
    // The definition must live as long as the class, which is as long as the process.
    let definition = Box::leak(Box::new(definition));
    // SAFETY: the class is alive, and the definition is never freed.
    let method = unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), definition) };
    // SAFETY: a new reference, or null with an exception set.
    let method = unsafe { Bound::from_owned_ptr_or_err(py, method) }?;
    // If the module is created a second time, this is already set to the same method.
    let _ = M::covered().set(py, covered.unbind());
    class.setattr(M::NAME, method)
}

/// The function that Python calls.
unsafe extern "C" fn called<M: Cover>(
    slf: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    unnamed: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls with the interpreter's lock held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an object, which lives as long as the call.
    let slf = unsafe { Borrowed::from_ptr(py, slf) };
    // SAFETY: the arguments that Python passed.
    let given = unsafe { Given::new(py, values, unnamed, names) };
    // SAFETY: Python calls a method of a class only for an instance of it.
    let it = unsafe { slf.cast_unchecked::<M::Of>() };
    let work = || M::call(it.get(), given).unwrap_or_else(|| given.hand_on(&slf, M::covered()));
    let panicked = |_| Err(PanicException::new_err("panic in the engine"));
    match catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked) {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}
