//! The format of the traces of the ARC paper. A line is
//!
//! ```text
//! first_key number_of_keys ignored request_number
//! ```
//!
//! and stands for one request for each of `number_of_keys` consecutive keys. The format has no sizes.

use std::io::Read;
use std::ops::Range;

use super::error::{Place, TraceError};
use super::fields::fields;
use super::key::decimal;
use super::lines::Lines;
use super::request::{KeyText, MAX_RUN, Parser, Spelled};

pub(super) struct Arc<R> {
    lines: Lines<R>,
    /// The rest of the keys of the last line.
    run: Range<u64>,
}

impl<R: Read> Arc<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader), run: 0..0 }
    }
}

impl<R: Read> Parser for Arc<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
        loop {
            if let Some(number) = self.run.next() {
                return Ok(Some(Spelled { key: KeyText::Number(number), size: None }));
            }
            let Some((place, line)) = self.lines.next_filled()? else {
                return Ok(None);
            };
            self.run = run(place, line)?;
        }
    }
}

/// The keys that a line stands for.
fn run(place: Place, line: &[u8]) -> Result<Range<u64>, TraceError> {
    let mut fields = fields(line);
    let (Some(first), Some(count)) = (fields.next(), fields.next()) else {
        return Err(TraceError::found(place, "a first key and a number of keys", line));
    };
    let start: u64 = decimal(first).ok_or_else(|| TraceError::found(place, "a number as first key", first))?;
    let len = decimal(count).filter(|&len| len <= MAX_RUN).ok_or_else(|| {
        let expected = format!("a number of consecutive keys from 0 to {MAX_RUN}");
        TraceError::found(place, expected, count)
    })?;
    let end = start.checked_add(len).ok_or_else(|| {
        let expected = format!("consecutive keys that end below {}", u64::MAX);
        TraceError::found(place, expected, line)
    })?;
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::key::Key;
    use super::super::parser::tests::{error, requests};

    fn keys(input: &[u8]) -> Vec<Key> {
        let requests = requests(input, Format::Arc);
        assert!(requests.iter().all(|request| request.size.is_none()));
        requests.iter().map(|request| request.key).collect()
    }

    #[test]
    fn a_line_stands_for_consecutive_keys() {
        let expected = [5, 6, 7, 1].map(Key::from);
        assert_eq!(keys(b"5 3 0 0\n9 0 0 1\n1 1 0 2\n"), expected);
    }

    #[test]
    fn the_last_two_fields_may_be_left_out() {
        assert_eq!(keys(b"5 1\n"), [Key::from(5)]);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let cases = [
            ("5", "a first key and a number of keys, found \"5\""),
            ("x 1 0 0", "a number as first key, found \"x\""),
            ("-1 1 0 0", "a number as first key, found \"-1\""),
            ("1 y 0 0", "a number of consecutive keys from 0 to 16777216, found \"y\""),
            ("1 16777217", "a number of consecutive keys from 0 to 16777216, found \"16777217\""),
            ("1 1152921504606846976", "a number of consecutive keys from 0 to 16777216, found \"1152921504606846976\""),
            (
                "18446744073709551615 1",
                "consecutive keys that end below 18446744073709551615, \
                 found \"18446744073709551615 1\"",
            ),
        ];
        for (line, message) in cases {
            let input = format!("1 1 0 0\n{line}\n");
            let expected = format!("line 2: expected {message}");
            assert_eq!(error(input.as_bytes(), Format::Arc, ""), expected);
        }
    }
}
