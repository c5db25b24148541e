//! From a stream to requests, whatever the format.

use std::io::Read;
use std::iter;

use super::columns::Columns;
use super::csv::Csv;
use super::error::{Place, TraceError};
use super::format::Format;
use super::key::{Key, decimal};
use super::lis::Lis;
use super::oracle::OracleGeneral;
use super::text::Text;

/// One request of a trace. What it wanted (a read, a write) is left out: a replay treats every
/// request as a read that is followed by a write if it misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub key: Key,
    /// The size of the object in bytes, where the trace tells it.
    pub size: Option<u32>,
}

/// A reader of one format.
pub(super) trait Parser {
    /// The next request, or nothing at the end of the stream.
    fn next_request(&mut self) -> Result<Option<Request>, TraceError>;
}

/// The requests in `reader`. Ends after the first error.
///
/// `columns` matters to [`Format::Csv`] only.
pub fn parse<'a, R: Read + 'a>(
    reader: R,
    format: Format,
    columns: Columns,
) -> impl Iterator<Item = Result<Request, TraceError>> + 'a {
    let mut parser: Box<dyn Parser + 'a> = match format {
        Format::Csv => Box::new(Csv::new(reader, columns)),
        Format::OracleGeneral => Box::new(OracleGeneral::new(reader)),
        Format::Lis => Box::new(Lis::new(reader)),
        Format::Text => Box::new(Text::new(reader)),
    };
    let mut is_over = false;
    iter::from_fn(move || {
        if is_over {
            return None;
        }
        let next = parser.next_request().transpose();
        is_over = !matches!(next, Some(Ok(_)));
        next
    })
}

/// The size that `field` tells, the same in all formats that write it in digits.
pub(super) fn size(field: &[u8], place: Place) -> Result<u32, TraceError> {
    decimal(field).ok_or_else(|| {
        let expected = format!("a size in bytes from 0 to {}", u32::MAX);
        TraceError::found(place, expected, field)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All of a trace that must be well formed.
    pub(in super::super) fn requests(input: &[u8], format: Format) -> Vec<Request> {
        let requests = parse(input, format, Columns::default());
        requests.collect::<Result<_, _>>().expect("a well-formed trace")
    }

    /// The message of the error that a trace must end with.
    pub(in super::super) fn error(input: &[u8], format: Format, columns: &str) -> String {
        let columns = columns.parse().expect("valid columns");
        let last = parse(input, format, columns).last();
        last.expect("a trace that is not empty").expect_err("a malformed trace").to_string()
    }

    #[test]
    fn nothing_follows_an_error() {
        let input = b"1 1\n1 x\n2 2\n";
        let all: Vec<_> = parse(&input[..], Format::Text, Columns::default()).collect();
        assert_eq!(all.len(), 2);
        assert!(all[0].is_ok() && all[1].is_err());
    }

    #[test]
    fn an_empty_stream_is_an_empty_trace() {
        for format in [Format::OracleGeneral, Format::Lis, Format::Text] {
            assert_eq!(requests(b"", format), []);
        }
    }

    #[test]
    fn a_reader_that_fails_ends_the_trace() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("broken"))
            }
        }
        let formats = [
            (Format::Csv, "line 1"),
            (Format::OracleGeneral, "byte 0"),
            (Format::Lis, "line 1"),
            (Format::Text, "line 1"),
        ];
        for (format, place) in formats {
            let all: Vec<_> = parse(Broken, format, Columns::default()).collect();
            assert_eq!(all.len(), 1, "{format:?}");
            let message = all[0].as_ref().expect_err("the reader fails").to_string();
            assert_eq!(message, format!("{place}: cannot read on: broken"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(
            input in proptest::collection::vec(any::<u8>(), 0..400),
            mostly_text in "[a-z0-9, \r\n\"]{0,200}",
        ) {
            for format in [Format::Csv, Format::OracleGeneral, Format::Lis, Format::Text] {
                for bytes in [input.as_slice(), mostly_text.as_bytes()] {
                    parse(bytes, format, Columns::default()).take(1000).for_each(drop);
                }
            }
        }
    }
}
