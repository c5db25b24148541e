//! The traces of the LIRS paper: a block number in each line. Lines of `*` separate parts of the trace and are not
//! requests.

use std::io::Read;

use super::error::TraceError;
use super::lines::Lines;
use super::request::{KeyText, Parser, Spelled};

pub(super) struct Lirs<R> {
    lines: Lines<R>,
}

impl<R: Read> Lirs<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader) }
    }

    /// Reads lines up to the next request. Returns false at the end.
    fn skip_separators(&mut self) -> Result<bool, TraceError> {
        while let Some((place, line)) = self.lines.next_filled()? {
            if is_number(line) {
                return Ok(true);
            }
            if !is_separator(line) {
                let expected = "a block number or `*` alone in a line (--format text reads other keys)";
                return Err(TraceError::found(place, expected, line));
            }
        }
        Ok(false)
    }
}

impl<R: Read> Parser for Lirs<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
        let is_request = self.skip_separators()?;
        Ok(is_request.then(|| Spelled { key: KeyText::Text(self.lines.line()), size: None }))
    }
}

pub(super) fn is_number(line: &[u8]) -> bool {
    !line.is_empty() && line.iter().all(u8::is_ascii_digit)
}

pub(super) fn is_separator(line: &[u8]) -> bool {
    !line.is_empty() && line.iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::key::Key;
    use super::super::parser::tests::{error, requests};

    #[test]
    fn separators_are_no_requests() {
        let requests = requests(b"7\n*\n8\r\n***\n 7\n*\n", Format::Lirs);
        assert!(requests.iter().all(|request| request.size.is_none()));
        let keys: Vec<_> = requests.iter().map(|request| request.key).collect();
        assert_eq!(keys, [7, 8, 7].map(Key::from));
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in ["7 8", "a", "-1", "7*", "1.5"] {
            let message = format!(
                "line 3: expected a block number or `*` alone in a line (--format text reads other keys), found {bad:?}"
            );
            assert_eq!(error(format!("7\n*\n{bad}\n8").as_bytes(), Format::Lirs, ""), message);
        }
    }
}
