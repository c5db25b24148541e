//! The trace parsers of the command line, on arbitrary bytes, and the recognition of formats and compression.
//!
//! Input: the first byte chooses the format (bits 0 to 3; above the number of formats, it is to be recognized), whether
//! the text up to the first line end names the columns (bit 4), and how many bytes the reader returns at a time when
//! the rest is read a second time (bits 5 to 7). The rest is the trace.
//!
//! Asserted: no panic; both ways of reading give the same requests and the same error; a recognized file gives the same
//! when it is read again; an error is the last item, and its text is short; a key can be displayed. At most 10 000
//! requests are taken, since a line of an ARC trace may stand for 16 million.
//!
//! Files in xz are left out: their decoder allocates the memory that the file asks for, up to 256 MiB.
//!
//! Planted and found:
//! * the end of an ARC run is added unchecked (`arc::run`): "attempt to add with overflow", in 2 s, at the 99th input;
//! * the first four bytes of a file are taken without a check of its length (`Compression::of`): "index out of bounds",
//!   in 3 s.
#![no_main]

#[allow(dead_code, unused_imports)]
#[path = "../../crates/cli/src/trace/mod.rs"]
mod trace;

use kennel_fuzz::limits::in_time;
use kennel_fuzz::place;
use libfuzzer_sys::fuzz_target;
use std::fmt::Display;
use std::fs;
use std::io::Read;
use trace::{Columns, Format, Request, Table, Trace, parser};

const MOST: usize = 10_000;
/// Longest text that names the columns; errors repeat it.
const MOST_NAMES: usize = 100;
/// The first bytes of an xz file.
const XZ: &[u8] = b"\xFD7zXZ";

/// Returns a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let few = self.1.min(buf.len());
        self.0.read(&mut buf[..few])
    }
}

/// The result for a trace: all requests, and the error that ended them.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    requests: Vec<Request>,
    error: Option<String>,
}

impl Outcome {
    fn of<E: Display>(requests: impl Iterator<Item = Result<Request, E>>) -> Self {
        let mut outcome = Self::default();
        for request in requests.take(MOST) {
            assert_eq!(outcome.error, None, "something follows an error");
            match request {
                Ok(request) => outcome.requests.push(request),
                Err(fault) => outcome.error = Some(fault.to_string()),
            }
        }
        outcome.check();
        outcome
    }

    fn check(&self) {
        assert!(self.error.as_ref().is_none_or(|text| text.len() < 2000), "a long error: {:?}", self.error);
        for request in self.requests.iter().take(100) {
            assert!(!request.key.to_string().is_empty());
            assert_eq!(trace::Key::from_bytes(*request.key.as_bytes()), request.key);
        }
    }
}

/// Reads the trace in the format, in one piece and in small pieces.
fn parse(trace: &[u8], format: Format, table: &Table, few: usize) {
    let outcome = Outcome::of(parser::parse(trace, format, table));
    let again = Outcome::of(parser::parse(Dribble(trace, few), format, table));
    assert_eq!(outcome, again, "{few} bytes at a time");
}

/// Reads the trace twice from a file, and recognizes its format and compression.
fn recognize(trace: &[u8], table: Table) {
    if trace.starts_with(XZ) {
        return;
    }
    let path = place::dir().join("trace");
    fs::write(&path, trace).expect("a file is written");
    match Trace::open(&[path], None, table) {
        Ok(mut trace) => {
            let outcome = Outcome::of(trace.requests());
            assert_eq!(outcome, Outcome::of(trace.requests()), "the second time");
        }
        Err(error) => assert!(error.to_string().len() < 2000, "a long error: {error}"),
    }
}

fn run(input: &[u8]) {
    let Some((&how, mut rest)) = input.split_first() else { return };
    let mut columns = Columns::default();
    if how & 16 != 0 {
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let (text, trace) = rest.split_at(end.min(MOST_NAMES));
        columns = String::from_utf8_lossy(text).parse().unwrap_or_default();
        rest = trace.get(1..).unwrap_or_default();
    }
    // Columns given by number may stand for a table without a header.
    let table = Table::new(Some(columns.clone()), how & 32 != 0).or_else(|_| Table::new(Some(columns), false));
    let table = table.expect("a table with a header may have any columns");
    match Format::ALL.get(usize::from(how & 15)) {
        Some(&format) => parse(rest, format, &table, usize::from(how >> 5) + 1),
        None => recognize(rest, table),
    }
}

fuzz_target!(|input: &[u8]| in_time(|| run(input)));
