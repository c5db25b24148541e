//! The shape of a type as serde sees it. It distinguishes values of one type from those of another, and shows whether
//! values of the type can be read back at all.
//!
//! Postcard's bytes do not say which type they were made from. The shape comes from the type's `Deserialize`, which is
//! [traced](super::trace) once per process: the names of structs, fields and variants, and the kinds of all parts, in
//! their order.

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

/// The maximum number of runs of one trace.
const MOST_RUNS: u32 = 1024;
/// The maximum depth from which on values of a type are made up with empty parts.
const DEEPEST_LEAST: usize = 32;
/// How many encodings of each type a process reads back before it trusts the following ones.
const READ_BACK: u32 = 8;

pub(super) struct Shape {
    pub fingerprint: u64,
    /// Why no value of the type can be read back; `None` if values can.
    unreadable: Option<String>,
    fields: Fields,
    read_back: AtomicU32,
}

impl Shape {
    /// The shape of a type. It is traced at the type's first use, and kept until the process ends.
    pub(super) fn of<T: Serialize + DeserializeOwned>() -> &'static Self {
        // The key is the function that traces the type, because a `TypeId` would need a `'static` type. If the compiler
        // merges the functions of two types, these functions are equal, and so are their results.
        static KNOWN: RwLock<Option<HashMap<usize, &'static Shape>>> = RwLock::new(None);
        let key = trace::<T> as fn() -> Shape as usize;
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|of| of.get(&key).copied());
        known.unwrap_or_else(|| {
            // Outside the lock, since this runs code of the type. If two threads trace the same type, the first result
            // is kept.
            let shape = Box::new(trace::<T>());
            let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
            known.get_or_insert_default().entry(key).or_insert_with(|| Box::leak(shape))
        })
    }

    /// Returns an error if values of the type cannot be read back.
    pub(super) fn check_type(&self) -> walk::Result {
        self.unreadable.as_ref().map_or(Ok(()), |why| Err(ser::Error::custom(why)))
    }

    /// Returns an error if this value cannot be read back.
    pub(super) fn check<T: Serialize>(&self, value: &T) -> walk::Result {
        self.check_type()?;
        value.serialize(Walk(&self.fields))
    }

    /// Whether this encoding is one of the first of its type, which are read back.
    pub(super) fn is_new(&self) -> bool {
        self.read_back.load(Ordering::Relaxed) < READ_BACK && self.read_back.fetch_add(1, Ordering::Relaxed) < READ_BACK
    }
}

/// Makes up a value of a type. The type's own code may panic at a value that no program would write.
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

/// Finds out whether a type leaves out parts that are empty. For this, it makes up values whose parts are empty from a
/// certain depth on, for each depth.
fn what_is_left_out<T: Serialize + DeserializeOwned>(trace: &mut Trace, shape: &Shape) -> Option<String> {
    (0..=trace.depth.min(DEEPEST_LEAST)).find_map(|depth| {
        trace.least_from = Some(depth);
        let value = make::<T>(trace)?;
        let written = catch_unwind(AssertUnwindSafe(|| shape.check(&value))).ok()?;
        written.err().map(|why| why.to_string())
    })
}
