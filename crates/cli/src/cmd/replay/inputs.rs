//! The inputs of a trace with their formats, as text and as JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::trace::{Input, Trace};

/// Writes a line about each input to standard error, so that the user notices a misread trace.
pub fn announce(trace: &Trace) {
    for input in trace.inputs() {
        // An error is ignored, because the replay does not depend on the line.
        let _ = writeln!(io::stderr(), "kennel: {}", line(input));
    }
}

fn line(input: &Input) -> String {
    let how = if input.is_detected() { "detected" } else { "read as" };
    let compression = input.compression().map(|compression| format!(" in {compression}")).unwrap_or_default();
    let first: Vec<_> = input
        .first()
        .iter()
        .map(|request| match request.size {
            Some(size) => format!("key {}, size {size}", request.key),
            None => format!("key {}", request.key),
        })
        .collect();
    let requests = if first.is_empty() { "none".to_owned() } else { first.join("; ") };
    let format = input.format().name();
    format!("{}: {how} {format}{compression}; first requests: {requests}", input.path().display())
}

/// The inputs as JSON.
pub(super) fn to_json(inputs: &[Input]) -> Value {
    let input = |input: &Input| {
        let first: Vec<_> =
            input.first().iter().map(|request| json!({ "key": request.key, "size": request.size })).collect();
        json!({
            "path": input.path().to_string_lossy(),
            "format": input.format().name(),
            "detected": input.is_detected(),
            "compression": input.compression(),
            "first": first,
        })
    };
    inputs.iter().map(input).collect()
}
