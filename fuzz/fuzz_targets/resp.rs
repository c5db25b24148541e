//! Replies and pushes of a server, decoded by the far tier's tracker.
//!
//! Input: a byte that says how the rest arrives, then the stream.
//!
//! Asserted: no panic; the same items, and an error or none, whether the stream arrives in one piece or in many; no value
//! that needs more memory than the limit allows; what `encode` writes is decoded as it was.
#![no_main]

#[allow(dead_code, reason = "the crate uses the rest")]
#[path = "../../crates/far/src/resp.rs"]
mod resp;

use libfuzzer_sys::fuzz_target;
use resp::{Decoder, Value, encode};

const LIMIT: usize = 1 << 12;

/// All items of a stream, and whether it ended in an error.
fn items<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> (Vec<String>, bool) {
    let (mut decoder, mut items) = (Decoder::new(LIMIT), Vec::new());
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_item() {
                Ok(Some(item)) => items.push(format!("{item:?}")),
                Ok(None) => break,
                Err(_) => return (items, true),
            }
        }
    }
    (items, false)
}

/// All values of a stream, and whether it ended in an error.
fn decode<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> (Vec<Value>, bool) {
    let mut decoder = Decoder::new(LIMIT);
    let mut values = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_value() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(_) => return (values, true),
            }
        }
    }
    (values, false)
}

fn memory(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Bytes(bytes) => bytes.len(),
            Value::Error(text) => text.len() / 3,
            Value::Array(values) | Value::Push(values) => values.iter().map(memory).sum(),
            _ => 0,
        }
}

fuzz_target!(|input: &[u8]| {
    let Some((&pieces, stream)) = input.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    assert_eq!(whole, decode(stream.chunks(usize::from(pieces).max(1))));
    assert_eq!(items(std::iter::once(stream)), items(stream.chunks(usize::from(pieces).max(1))));
    assert!(whole.0.iter().all(|value| memory(value) <= LIMIT));
    let parts: Vec<&[u8]> = stream.chunks(usize::from(pieces).max(1)).take(20).collect();
    let mut out = Vec::new();
    encode(&parts, &mut out);
    let expected = Value::Array(parts.iter().map(|part| Value::Bytes(part.to_vec())).collect());
    // Beside its memory, a string costs the line with its length.
    if memory(&expected) + parts.len() * 4 + 4 <= LIMIT {
        assert_eq!(decode(out.chunks(7)), (vec![expected], false));
    }
});
