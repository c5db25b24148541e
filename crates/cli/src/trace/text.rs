//! The simplest traces: each line is `key`, `key size` or `time key`, separated by blanks.

use std::io::Read;

use super::error::TraceError;
use super::fields::{fields, size, time};
use super::lines::Lines;
use super::request::{KeyText, Parser, Spelled};

/// Lines of `key`, or `key size`.
pub(super) struct Text<R> {
    lines: Lines<R>,
}

impl<R: Read> Text<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader) }
    }
}

impl<R: Read> Parser for Text<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
        let Some((place, line)) = self.lines.next_filled()? else {
            return Ok(None);
        };
        let mut fields = fields(line);
        let key = fields.next().unwrap_or_default();
        let size = fields.next().map(|field| size(field, place)).transpose()?;
        if fields.next().is_some() {
            return Err(TraceError::found(place, "a key, or a key and a size", line));
        }
        Ok(Some(Spelled { key: KeyText::Text(key), size }))
    }
}

/// Lines of `time key`.
pub(super) struct TimeKey<R> {
    lines: Lines<R>,
}

impl<R: Read> TimeKey<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader) }
    }
}

impl<R: Read> Parser for TimeKey<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
        let Some((place, line)) = self.lines.next_filled()? else {
            return Ok(None);
        };
        let mut fields = fields(line);
        match (fields.next().and_then(time), fields.next(), fields.next()) {
            (Some(_), Some(key), None) => Ok(Some(Spelled { key: KeyText::Text(key), size: None })),
            _ => Err(TraceError::found(place, "a time and a key", line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::Format;
    use super::super::key::Key;
    use super::super::parser::tests::{error, requests};
    use super::super::request::Request;

    #[test]
    fn keys_with_and_without_sizes() {
        let expected = [
            Request { key: Key::from(7), size: None },
            Request { key: Key::from_text(b"user:1"), size: Some(100) },
            Request { key: Key::from_text(b"user:2"), size: Some(0) },
        ];
        assert_eq!(requests(b"7\nuser:1 100\r\n\n  user:2 \t 0", Format::Text), expected);
    }

    #[test]
    fn a_bad_size_is_an_error() {
        for bad in ["-1", "1.5", "4294967296", "64KiB"] {
            let input = format!("a 1\nb {bad}\n");
            let message = format!("line 2: expected a size in bytes from 0 to 4294967295, found {bad:?}");
            assert_eq!(error(input.as_bytes(), Format::Text, ""), message);
        }
    }

    #[test]
    fn a_third_field_is_an_error() {
        let message = "line 1: expected a key, or a key and a size, found \"a 1 2\"";
        assert_eq!(error(b"a 1 2\n", Format::Text, ""), message);
    }

    #[test]
    fn the_key_follows_the_time() {
        let expected = [7, 8].map(|key| Request { key: Key::from(key), size: None });
        assert_eq!(requests(b"15 7\n15.5\t8\r\n", Format::TimeKey), expected);
        for bad in ["15", "15 7 512", "x 7"] {
            let message = format!("line 1: expected a time and a key, found {bad:?}");
            assert_eq!(error(bad.as_bytes(), Format::TimeKey, ""), message);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            trace in proptest::collection::vec(("[a-z0-9:]{1,20}", any::<Option<u32>>()), 0..20),
        ) {
            let mut written = String::new();
            let mut expected = Vec::new();
            for (key, size) in trace {
                let size_field = size.map(|size| format!(" {size}")).unwrap_or_default();
                written.push_str(&format!("{key}{size_field}\n"));
                expected.push(Request { key: Key::from_text(key.as_bytes()), size });
            }
            prop_assert_eq!(requests(written.as_bytes(), Format::Text), expected);
        }
    }
}
