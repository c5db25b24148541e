//! In whose name a key is claimed.

use pyo3::prelude::*;

/// Whose a claim is, where that is not the thread that asks: a coroutine's, say.
#[pyclass(module = "kennel", frozen)]
pub(crate) struct Task(pub(crate) kennel::Task);

#[pymethods]
impl Task {
    #[new]
    fn new() -> Self {
        Self(kennel::Task::unique())
    }
}
