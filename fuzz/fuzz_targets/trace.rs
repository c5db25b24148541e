//! The trace parsers of the command line, on any bytes.
//!
//! Input: the first byte chooses the format (bits 0 and 1), whether the text up to the first line end names the
//! columns (bit 2), and how many bytes the reader gives at once when the rest is read a second time (bits 3 to 7).
//! The rest is the trace.
//!
//! Asserted: no panic; both ways of reading give the same requests and the same error; an error is the last thing,
//! and its text is short; a key shows itself. At most 10 000 requests are taken, since a line of a `.lis` trace may
//! stand for 16 million.
//!
//! Planted and found:
//! * the end of a `.lis` run is added up unchecked (`lis::run`): "attempt to add with overflow", in 2 s, at
//!   the 99th input.
#![no_main]

#[allow(dead_code, unused_imports)]
#[path = "../../crates/cli/src/trace/mod.rs"]
mod trace;

use kennel_fuzz::limits::in_time;
use libfuzzer_sys::fuzz_target;
use std::io::Read;
use trace::{Columns, Format, Request, parser};

const MOST: usize = 10_000;
/// Longest text that names the columns; errors repeat it.
const MOST_NAMES: usize = 100;

/// Gives a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let few = self.1.min(buf.len());
        self.0.read(&mut buf[..few])
    }
}

/// All requests, and the error that ends them.
fn read(reader: impl Read, format: Format, columns: &Columns) -> (Vec<Request>, Option<String>) {
    let mut requests = Vec::new();
    let mut error = None;
    for request in parser::parse(reader, format, columns.clone()).take(MOST) {
        assert_eq!(error, None, "something follows an error");
        match request {
            Ok(request) => requests.push(request),
            Err(fault) => error = Some(fault.to_string()),
        }
    }
    (requests, error)
}

fn run(input: &[u8]) {
    let Some((&how, mut rest)) = input.split_first() else { return };
    let format = [Format::Csv, Format::OracleGeneral, Format::Lis, Format::Text][usize::from(how & 3)];
    let mut columns = Columns::default();
    if how & 4 != 0 {
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let (text, trace) = rest.split_at(end.min(MOST_NAMES));
        columns = String::from_utf8_lossy(text).parse().unwrap_or_default();
        rest = trace.get(1..).unwrap_or_default();
    }
    let (requests, error) = read(rest, format, &columns);
    assert!(error.as_ref().is_none_or(|text| text.len() < 2000), "a long error: {error:?}");
    let few = usize::from(how >> 3) + 1;
    let again = read(Dribble(rest, few), format, &columns);
    assert!((&requests, &error) == (&again.0, &again.1), "{few} bytes at a time: {:?}, not {error:?}", again.1);
    for request in requests.iter().take(100) {
        assert!(!request.key.to_string().is_empty());
        assert_eq!(trace::Key::from_bytes(*request.key.as_bytes()), request.key);
    }
}

fuzz_target!(|input: &[u8]| in_time(|| run(input)));
