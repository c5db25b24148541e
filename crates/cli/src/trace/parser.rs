//! Reads a stream in any format.

use std::io::Read;
use std::iter;

use super::arc::Arc;
use super::columns::Table;
use super::csv::Csv;
use super::error::TraceError;
use super::format::Format;
use super::lirs::Lirs;
use super::oracle::OracleGeneral;
use super::request::{Parser, Request};
use super::text::{Text, TimeKey};
use super::twitter::Twitter;
use super::webcachesim::Webcachesim;

/// The parser for `format`. Only [`Format::Csv`] uses `table`.
pub(super) fn parser<'a>(reader: impl Read + 'a, format: Format, table: &Table) -> Box<dyn Parser + 'a> {
    match format {
        Format::Twitter => Box::new(Twitter::new(reader)),
        Format::Msr | Format::CachelibKv | Format::CachelibBlock | Format::Csv => {
            Box::new(Csv::new(reader, format, table))
        }
        Format::Webcachesim => Box::new(Webcachesim::new(reader)),
        Format::Arc => Box::new(Arc::new(reader)),
        Format::Lirs => Box::new(Lirs::new(reader)),
        Format::OracleGeneral => Box::new(OracleGeneral::new(reader)),
        Format::TimeKey => Box::new(TimeKey::new(reader)),
        Format::Text => Box::new(Text::new(reader)),
    }
}

/// The requests in `reader`, up to the first error.
pub fn parse<'a, R: Read + 'a>(
    reader: R,
    format: Format,
    table: &Table,
) -> impl Iterator<Item = Result<Request, TraceError>> + use<'a, R> {
    let mut parser = parser(reader, format, table);
    let mut is_over = false;
    iter::from_fn(move || {
        if is_over {
            return None;
        }
        let next = parser.next_request().transpose().map(|next| next.map(Request::from));
        is_over = !matches!(next, Some(Ok(_)));
        next
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All requests of a trace that must be well formed.
    pub(crate) fn requests(input: &[u8], format: Format) -> Vec<Request> {
        let requests = parse(input, format, &Table::default());
        requests.collect::<Result<_, _>>().expect("a well-formed trace")
    }

    /// The message of the error that a trace must end with.
    pub(crate) fn error(input: &[u8], format: Format, columns: &str) -> String {
        let columns = columns.parse().expect("valid columns");
        let table = Table::new(Some(columns), false).expect("a valid table");
        let last = parse(input, format, &table).last();
        last.expect("a trace that is not empty").expect_err("a malformed trace").to_string()
    }

    #[test]
    fn nothing_follows_an_error() {
        let input = b"1 1\n1 x\n2 2\n";
        let all: Vec<_> = parse(&input[..], Format::Text, &Table::default()).collect();
        assert_eq!(all.len(), 2);
        assert!(all[0].is_ok() && all[1].is_err());
    }

    #[test]
    fn an_empty_stream_is_an_empty_trace() {
        let with_header = [Format::Csv, Format::CachelibKv, Format::CachelibBlock];
        for format in Format::ALL.into_iter().filter(|format| !with_header.contains(format)) {
            assert_eq!(requests(b"", format), [], "{format:?}");
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
        for format in Format::ALL {
            let place = if format == Format::OracleGeneral { "byte 0" } else { "line 1" };
            let all: Vec<_> = parse(Broken, format, &Table::default()).collect();
            assert_eq!(all.len(), 1, "{format:?}");
            let message = all[0].as_ref().expect_err("the reader fails").to_string();
            assert_eq!(message, format!("{place}: cannot read on: broken"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(
            input in proptest::collection::vec(any::<u8>(), 0..400),
            mostly_text in "[a-z0-9, \r\n\"*]{0,200}",
        ) {
            for format in Format::ALL {
                for bytes in [input.as_slice(), mostly_text.as_bytes()] {
                    parse(bytes, format, &Table::default()).take(1000).for_each(drop);
                }
            }
        }
    }
}
