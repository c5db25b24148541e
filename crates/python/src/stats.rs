//! The conversion of statistics to the dataclasses in `kennel/_stats.py`.

use crate::expiry::unix_time;
use crate::paths;
use kennel::{
    Counters, Entry, NamespaceReads, Problem, Repair, Resized, Sample, Stats, StripeStats, Times, Verification,
};
use kennel_stream::Loaded;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyModule};

/// Creates an instance of a dataclass. Returns an error if the fields are not exactly those of the class.
fn instance<'py>(py: Python<'py>, class: &str, fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    PyModule::import(py, "kennel._stats")?.getattr(class)?.call((), Some(fields))
}

/// Creates an instance of a dataclass from the listed fields of a struct, which have the same names in both, and from
/// further values.
macro_rules! instance {
    ($py:expr, $class:ident, $given:expr, [$($field:ident),*] $(, $name:ident = $value:expr)*) => {{
        let fields = PyDict::new($py);
        $(fields.set_item(stringify!($field), &$given.$field)?;)*
        $(fields.set_item(stringify!($name), $value)?;)*
        instance($py, stringify!($class), &fields)
    }};
}

pub(crate) fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyAny>> {
    let limit = stats.limit.name();
    instance!(
        py,
        Stats,
        stats,
        [
            format,
            file_id,
            created_ms,
            strategy,
            file_size,
            capacity,
            mean_item,
            stripes,
            lock_regions,
            buckets,
            slots,
            items,
            used_bytes,
            largest_record,
            tags,
            seats,
            members,
            small_bytes_in,
            small_size,
            main_bytes_in,
            main_size
        ],
        path = paths::path(py, &stats.path)?,
        limit = limit,
        counters = counters(py, &stats.counters)?,
        times = times(py, &stats.times)?,
        namespace_reads =
            stats.namespace_reads.iter().map(|reads| namespace_reads(py, reads)).collect::<PyResult<Vec<_>>>()?
    )
}

fn times<'py>(py: Python<'py>, times: &Times) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    for (name, histogram) in times.iter() {
        fields.set_item(name, instance!(py, Histogram, histogram, [counts], sum = histogram.sum.as_secs_f64())?)?;
    }
    instance(py, "Times", &fields)
}

fn namespace_reads<'py>(py: Python<'py>, reads: &NamespaceReads) -> PyResult<Bound<'py, PyAny>> {
    instance!(py, NamespaceReads, reads, [name, hits, misses])
}

fn counters<'py>(py: Python<'py>, counters: &Counters) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    for (name, count) in counters.iter() {
        fields.set_item(name, count)?;
    }
    instance(py, "Counters", &fields)
}

pub(crate) fn sample<'py>(py: Python<'py>, sample: &Sample) -> PyResult<Bound<'py, PyAny>> {
    let labels = PyDict::new(py);
    for (name, value) in &sample.labels {
        labels.set_item(name, value)?;
    }
    instance!(py, Sample, sample, [name, family, help, value], kind = sample.kind.name(), labels = labels)
}

pub(crate) fn entry<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyAny>> {
    instance!(
        py,
        Entry,
        entry,
        [value_len, record_len, flags, marks, tags],
        key = PyBytes::new(py, &entry.key),
        namespace = entry.namespace.as_deref(),
        stamp = entry.stamp.0,
        expires = entry.expires.map(unix_time),
        soft_expires = entry.soft_expires.map(unix_time),
        created = entry.created.map(unix_time),
        ring = entry.ring.name()
    )
}

pub(crate) fn stripe<'py>(py: Python<'py>, stripe: &StripeStats) -> PyResult<Bound<'py, PyAny>> {
    let last_repair = stripe.last_repair.as_ref().map(|last| repair(py, last)).transpose()?;
    instance!(
        py,
        StripeStats,
        stripe,
        [stripe, items, small_used, small_size, main_used, main_size, intent, repairs, verify_me],
        last_repair = last_repair,
        counters = counters(py, &stripe.counters)?
    )
}

fn repair<'py>(py: Python<'py>, repair: &Repair) -> PyResult<Bound<'py, PyAny>> {
    instance!(py, Repair, repair, [by_seat, by_pid, intent])
}

pub(crate) fn resized<'py>(py: Python<'py>, resized: &Resized) -> PyResult<Bound<'py, PyAny>> {
    instance!(
        py,
        Resized,
        resized,
        [capacity_before, capacity, items_before, items, voided],
        took = resized.took.as_secs_f64(),
        closed_for = resized.closed_for.as_secs_f64()
    )
}

pub(crate) fn verification<'py>(py: Python<'py>, found: &Verification) -> PyResult<Bound<'py, PyAny>> {
    let problems = found.problems.iter().map(|one| problem(py, one)).collect::<PyResult<Vec<_>>>()?;
    instance!(py, Verification, found, [stripes, unchecked, records], problems = problems)
}

fn problem<'py>(py: Python<'py>, problem: &Problem) -> PyResult<Bound<'py, PyAny>> {
    instance!(py, Problem, problem, [stripe, invariant, detail])
}

pub(crate) fn loaded<'py>(py: Python<'py>, loaded: &Loaded) -> PyResult<Bound<'py, PyAny>> {
    instance!(
        py,
        Loaded,
        loaded.tally,
        [stored, kept, expired, tagged, no_room, too_large, no_namespace],
        missing = loaded.missing()
    )
}

/// Returns how many bytes of a cache's capacity an item takes.
///
/// :param key_len: the length of the key in bytes.
/// :param value_len: the length of the value in bytes.
/// :param tags: the number of tags; default 0.
#[pyfunction]
#[pyo3(signature = (key_len, value_len, tags=0))]
pub(crate) fn record_size(key_len: usize, value_len: usize, tags: usize) -> u64 {
    kennel::tagged_record_size(key_len, value_len, tags)
}
