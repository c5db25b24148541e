//! The owners of claims.

use pyo3::prelude::*;

/// An owner of claims other than the calling thread, for example a coroutine. Each claim has one owner. If the owner
/// asks for the same key again, :class:`kennel.OwnClaim` is raised, because it would wait for itself.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Task(pub(crate) kennel::Task);

#[pymethods]
impl Task {
    #[new]
    fn new() -> Self {
        Self(kennel::Task::unique())
    }
}
