//! The head of a request to `kennel metrics`, on arbitrary bytes.
//!
//! Asserted: no panic; the path of an accepted request begins what follows the method and has no query; bytes are read
//! in pieces as in one piece, as long as no piece is refused before; nothing of 8 KiB or more is the beginning of a
//! request; an answer has one head, whose length is that of the body.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/cli/src/cmd/metrics/http.rs"]
mod http;

use http::{Answer, MOST_HEAD, Parsed, Status, parse};
use kennel_fuzz::limits::in_time;
use libfuzzer_sys::fuzz_target;

fn run(input: &[u8]) {
    let whole = parse(input);
    match &whole {
        Parsed::Request(request) => {
            assert!(!request.path.contains(['?', '#', ' ', '\r', '\n']), "{request:?}");
            assert!(
                input.windows(request.path.len().max(1)).any(|part| part == request.path.as_bytes())
                    || request.path.is_empty()
            );
        }
        Parsed::Partial => assert!(input.len() < MOST_HEAD),
        Parsed::Refused(status) => assert_ne!(*status, Status::Ok),
    }
    // The server parses anew with each piece that comes, and takes the first result that is not partial.
    let first =
        (0..=input.len().min(MOST_HEAD)).map(|len| parse(&input[..len])).find(|parsed| *parsed != Parsed::Partial);
    if let Parsed::Request(_) = whole
        && input.len() <= MOST_HEAD
    {
        assert_eq!(first, Some(whole));
    }
    let bytes = Answer::ok("text/plain", input).bytes(false);
    let head = bytes.len() - input.len();
    assert!(bytes[..head].ends_with(b"\r\n\r\n") && bytes[head..] == *input);
    assert_eq!(bytes[..head].windows(4).filter(|part| part == b"\r\n\r\n").count(), 1);
}

fuzz_target!(|input: &[u8]| in_time(|| run(input)));
