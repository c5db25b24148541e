//! The owners of claims.

use pyo3::prelude::*;

/// An owner of claims other than the calling thread, for example a coroutine. A claim belongs to one task; if that task
/// asks for the same key again, it gets :class:`kennel.OwnClaim` instead of waiting for itself.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Task(pub(crate) kennel::Task);

#[pymethods]
impl Task {
    #[new]
    fn new() -> Self {
        Self(kennel::Task::unique())
    }
}
