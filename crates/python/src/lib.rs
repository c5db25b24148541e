//! `kennel._kennel`: the part of the Python package `kennel` that is Rust.
//!
//! It contains everything that calls the engine: the cache, its statistics, claims. Everything else is in
//! `python/kennel`. The interpreter's lock is released during every wait, most writes, and the copying of large values.

mod bytes;
mod cache;
mod claim;
mod create_how;
mod entries;
mod error;
mod expiry;
#[cfg(unix)]
mod far;
mod fast;
mod greenlets;
mod handles;
mod id;
mod item;
mod open;
mod options;
mod paths;
mod saved;
mod set_how;
mod space;
mod stats;
mod tags;
mod task;
mod waits;

use pyo3::prelude::*;

/// The compiled part of the package `kennel`. It relies on the interpreter's lock (GIL). A free-threaded interpreter
/// turns this lock on when it imports the module.
#[pymodule(gil_used = true)]
mod _kennel {
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    #[pymodule_export]
    use super::cache::{Cache, Namespace};
    #[pymodule_export]
    use super::claim::{Claim, ClaimRequest, Lock, Lookup};
    #[pymodule_export]
    use super::entries::Entries;
    #[cfg(unix)]
    #[pymodule_export]
    use super::far::{FarCache, FarCreation};
    #[pymodule_export]
    use super::item::{Item, Keys, Unchanged};
    #[pymodule_export]
    use super::options::{default_path, destroy};
    #[pymodule_export]
    use super::set_how::Moment;
    #[pymodule_export]
    use super::space::Space;
    #[pymodule_export]
    use super::stats::record_size;
    #[pymodule_export]
    use super::tags::_tags;
    #[pymodule_export]
    use super::task::Task;

    #[pymodule_export]
    const DEFAULT_CAPACITY: u64 = kennel::DEFAULT_CAPACITY;
    #[pymodule_export]
    const MAX_KEY: usize = kennel::MAX_KEY;
    #[pymodule_export]
    const MAX_TAGS: usize = kennel::MAX_TAGS;

    /// The version of the package, the same as that of the crate.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("OPTIONS", PyTuple::new(module.py(), super::options::names().collect::<Vec<_>>())?)?;
        #[cfg(unix)]
        {
            module.add("FAR_OPTIONS", PyTuple::new(module.py(), super::far::names().collect::<Vec<_>>())?)?;
            super::fast::cover_far(&module.py().get_type::<FarCache>())?;
        }
        super::fast::cover_all(&module.py().get_type::<Space>())
    }
}
