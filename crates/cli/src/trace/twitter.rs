//! Twitter's cache traces: rows without a header and without quotes,
//!
//! ```text
//! time,key,key size,value size,client,operation,TTL
//! ```
//!
//! A key may contain commas, so a row is split from both ends. The value size of a read that missed is 0 and is not the
//! size of the object.

use std::io::Read;

use super::error::{Place, TraceError};
use super::fields::size;
use super::key::decimal;
use super::lines::Lines;
use super::request::{KeyText, Parser, Spelled};

const OPERATIONS: [&str; 11] =
    ["get", "gets", "set", "add", "replace", "cas", "append", "prepend", "delete", "incr", "decr"];

pub(super) struct Twitter<R> {
    lines: Lines<R>,
}

impl<R: Read> Twitter<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader) }
    }
}

impl<R: Read> Parser for Twitter<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
        let Some((place, line)) = self.lines.next_filled()? else {
            return Ok(None);
        };
        let (key, value_size) = split(line).ok_or_else(|| unlike(place, line))?;
        let size = Some(size(value_size, place)?).filter(|&size| size > 0);
        Ok(Some(Spelled { key: KeyText::Text(key), size }))
    }
}

/// Whether `line` is a row of these traces.
pub(super) fn is_row(line: &[u8]) -> bool {
    split(line).is_some()
}

/// The key and the value size, if the line is a row of these traces.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.rsplitn(6, |&byte| byte == b',').map(<[u8]>::trim_ascii);
    let [ttl, operation, _client, value_size, key_size, front] = std::array::from_fn(|_| fields.next());
    let (front, value_size) = (front?, value_size?);
    let comma = front.iter().position(|&byte| byte == b',')?;
    let (time, key) = (&front[..comma], front[comma + 1..].trim_ascii());
    let are_numbers = [time, key_size?, value_size, ttl?].into_iter().all(|field| decimal::<u64>(field).is_some());
    let is_row = are_numbers && !key.is_empty() && is_operation(operation?);
    is_row.then_some((key, value_size))
}

fn is_operation(field: &[u8]) -> bool {
    OPERATIONS.iter().any(|operation| field.eq_ignore_ascii_case(operation.as_bytes()))
}

fn unlike(place: Place, line: &[u8]) -> TraceError {
    TraceError::found(place, "time,key,key size,value size,client,operation,TTL", line)
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::key::Key;
    use super::super::parser::tests::{error, requests};
    use super::super::request::Request;

    #[test]
    fn the_value_size_is_the_size() {
        let input = b"0,user:7,6,512,1,get,0\r\n0,7,1,0,1,GET,0\n3,a,b,\"c,7,20,99,set,3600";
        let expected = [
            Request { key: Key::from_text(b"user:7"), size: Some(512) },
            Request { key: Key::from(7), size: None },
            Request { key: Key::from_text(b"a,b,\"c"), size: Some(20) },
        ];
        assert_eq!(requests(input, Format::Twitter), expected);
    }

    #[test]
    fn other_rows_are_errors() {
        let good = "0,k,1,512,1,get,0\n";
        for bad in
            ["0,k,1,512,1,get", "0,k,1,512,1,look,0", "x,k,1,512,1,get,0", "0,,1,512,1,get,0", "0,k,1,-1,1,get,0"]
        {
            let message = format!("line 2: expected time,key,key size,value size,client,operation,TTL, found {bad:?}");
            assert_eq!(error(format!("{good}{bad}\n").as_bytes(), Format::Twitter, ""), message);
        }
        let message = "line 1: expected a size in bytes from 0 to 4294967295, found \"4294967296\"";
        assert_eq!(error(b"0,k,1,4294967296,1,get,0\n", Format::Twitter, ""), message);
    }
}
