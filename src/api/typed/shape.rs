//! The shape of a type as serde sees it: what tells the values of one type from those of another, and whether its values
//! can be read back at all.
//!
//! Postcard's bytes say nothing of the type that they were made of. The shape comes from the type's `Deserialize`, which
//! is [traced](super::trace) once per process: names of structs, fields and variants, and the kinds of all parts in their
//! order.

use super::trace::Trace;
use super::walk::{self, Fields, Walk};
use serde::de::DeserializeOwned;
use serde::{Serialize, ser};
use std::any::type_name;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use xxhash_rust::xxh3::xxh3_64;

/// Runs of one trace.
const MOST_RUNS: u32 = 1024;
/// Down to this depth of a type values are made up of which a part is empty.
const DEEPEST_LEAST: usize = 32;
/// Encodings of each type that a process reads back before it trusts the next ones.
const READ_BACK: u32 = 8;

pub(super) struct Shape {
    pub fingerprint: u64,
    /// Why no value of the type can be read back, if that is so.
    unreadable: Option<String>,
    fields: Fields,
    read_back: AtomicU32,
}

impl Shape {
    /// The shape of a type, traced at its first use and kept for as long as the process lives.
    pub(super) fn of<T: Serialize + DeserializeOwned>() -> &'static Self {
        // By the function that traces: a type need not be `'static` for that. Should the compiler make one function of
        // two that are equal, then their results are.
        static KNOWN: RwLock<Option<HashMap<usize, &'static Shape>>> = RwLock::new(None);
        let key = trace::<T> as fn() -> Shape as usize;
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|of| of.get(&key).copied());
        known.unwrap_or_else(|| {
            // Outside the lock, since it runs code of the type's. Two threads may trace one type; the first one's counts.
            let shape = Box::new(trace::<T>());
            let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
            known.get_or_insert_default().entry(key).or_insert_with(|| Box::leak(shape))
        })
    }

    /// Whether values of the type can be read back.
    pub(super) fn check_type(&self) -> walk::Result {
        self.unreadable.as_ref().map_or(Ok(()), |why| Err(ser::Error::custom(why)))
    }

    /// Whether this value can.
    pub(super) fn check<T: Serialize>(&self, value: &T) -> walk::Result {
        self.check_type()?;
        value.serialize(Walk(&self.fields))
    }

    /// Whether an encoding is one of the first, which are read back.
    pub(super) fn is_new(&self) -> bool {
        self.read_back.load(Ordering::Relaxed) < READ_BACK && self.read_back.fetch_add(1, Ordering::Relaxed) < READ_BACK
    }
}

/// Makes up a value of a type. The type's own code may panic at values that nobody would write.
fn make<T: DeserializeOwned>(trace: &mut Trace) -> Option<T> {
    trace.begin();
    catch_unwind(AssertUnwindSafe(|| T::deserialize(trace).ok())).ok().flatten()
}

fn trace<T: Serialize + DeserializeOwned>() -> Shape {
    let mut trace = Trace::default();
    let mut is_whole = false;
    for _ in 0..MOST_RUNS {
        is_whole = make::<T>(&mut trace).is_some();
        if !trace.found || trace.unreadable.is_some() {
            break;
        }
    }
    let mut shape = Shape {
        fingerprint: xxh3_64(&trace.log),
        unreadable: trace.unreadable.take(),
        fields: Fields(if is_whole && trace.is_whole() { std::mem::take(&mut trace.fields) } else { Vec::new() }),
        read_back: AtomicU32::new(0),
    };
    if shape.unreadable.is_none() {
        shape.unreadable = what_is_left_out::<T>(&mut trace, &shape);
    }
    shape.unreadable = shape.unreadable.map(|why| format!("a `{}` can never be read back: {why}", type_name::<T>()));
    shape
}

/// What a type leaves out, if it leaves out anything, is empty: values that are so, at each depth, show it.
fn what_is_left_out<T: Serialize + DeserializeOwned>(trace: &mut Trace, shape: &Shape) -> Option<String> {
    (0..=trace.depth.min(DEEPEST_LEAST)).find_map(|depth| {
        trace.least_from = Some(depth);
        let value = make::<T>(trace)?;
        let written = catch_unwind(AssertUnwindSafe(|| shape.check(&value))).ok()?;
        written.err().map(|why| why.to_string())
    })
}
