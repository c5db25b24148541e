//! The conversion of the far tier's statistics to the dataclass in `kennel/far/_stats.py`.

use kennel_far::Stats;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

macro_rules! fields {
    ($py:expr, $stats:expr, [$($field:ident),* $(,)?]) => {{
        let fields = PyDict::new($py);
        $(fields.set_item(stringify!($field), $stats.$field)?;)*
        fields
    }};
}

pub(crate) fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyAny>> {
    let fields = fields!(
        py,
        stats,
        [
            hits,
            absent_hits,
            fills,
            voided,
            bypasses,
            untrusted,
            outside,
            too_large,
            writes,
            creations,
            lost_leases,
            escalations,
            revocations,
            unshielded,
            tracked,
            pushes,
            pushed_keys,
            flushes,
            proofs,
            round_trip_us,
        ]
    );
    PyModule::import(py, "kennel.far._stats")?.getattr("FarStats")?.call((), Some(&fields))
}
