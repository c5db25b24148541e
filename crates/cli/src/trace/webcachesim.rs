//! The text format of webcachesim: `time id size` in each line, separated by blanks. Further fields describe the object
//! and are ignored.

use std::io::Read;

use super::error::{Place, TraceError};
use super::fields::{fields, size, time};
use super::lines::Lines;
use super::request::{KeyText, Parser, Spelled};

pub(super) struct Webcachesim<R> {
    lines: Lines<R>,
}

impl<R: Read> Webcachesim<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader) }
    }
}

impl<R: Read> Parser for Webcachesim<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
        let Some((place, line)) = self.lines.next_filled()? else {
            return Ok(None);
        };
        let mut fields = fields(line);
        let [Some(when), Some(id), Some(bytes)] = std::array::from_fn(|_| fields.next()) else {
            return Err(unlike(place, line));
        };
        if time(when).is_none() {
            return Err(unlike(place, line));
        }
        Ok(Some(Spelled { key: KeyText::Text(id), size: Some(size(bytes, place)?) }))
    }
}

fn unlike(place: Place, line: &[u8]) -> TraceError {
    TraceError::found(place, "a time, an id and a size", line)
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::key::Key;
    use super::super::parser::tests::{error, requests};
    use super::super::request::Request;

    #[test]
    fn the_id_is_the_key() {
        let expected = [
            Request { key: Key::from(1 << 40), size: Some(512) },
            Request { key: Key::from_text(b"a"), size: Some(0) },
        ];
        assert_eq!(requests(b"15 1099511627776 512\r\n15.5\ta 0 3 4", Format::Webcachesim), expected);
    }

    #[test]
    fn errors_say_what_was_expected() {
        for bad in ["15 7", "x 7 512", "15"] {
            let message = format!("line 2: expected a time, an id and a size, found {bad:?}");
            assert_eq!(error(format!("15 7 512\n{bad}\n").as_bytes(), Format::Webcachesim, ""), message);
        }
        let message = "line 1: expected a size in bytes from 0 to 4294967295, found \"x\"";
        assert_eq!(error(b"15 7 x\n", Format::Webcachesim, ""), message);
    }
}
