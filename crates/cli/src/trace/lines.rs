//! Reads numbered lines of limited length.

use std::io::{BufRead, BufReader, Read};

use super::error::{Place, TraceError};

/// The greatest length of a line, without its end. A file without line ends is probably not a trace, and it must not be
/// read into memory as a whole.
pub(super) const MAX_LINE: usize = 1 << 20;

/// A mark that some programs write in front of UTF-8 text. It is not part of the text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Splits a stream into lines, with one buffer for all of them.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), number: 0 }
    }

    /// The next line that is not blank, without the blanks around it, and its place.
    pub(super) fn next_filled(&mut self) -> Result<Option<(Place, &[u8])>, TraceError> {
        while self.read_line()? {
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((Place::Line(self.number), self.line.trim_ascii())));
            }
        }
        Ok(None)
    }

    /// The last line that was read, without the blanks around it.
    pub(super) fn line(&self) -> &[u8] {
        self.line.trim_ascii()
    }

    /// Reads a line into the buffer. Returns false at the end of the stream.
    fn read_line(&mut self) -> Result<bool, TraceError> {
        self.number += 1;
        self.line.clear();
        // The additional byte is for the line end.
        let mut limited = self.reader.by_ref().take(MAX_LINE as u64 + 1);
        limited
            .read_until(b'\n', &mut self.line)
            .map_err(|error| TraceError::Read { place: Place::Line(self.number), error })?;
        if self.line.len() > MAX_LINE && !self.line.ends_with(b"\n") {
            return Err(too_long(Place::Line(self.number)));
        }
        let is_end = self.line.is_empty();
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(!is_end)
    }
}

/// The error for a line of more than [`MAX_LINE`] bytes.
fn too_long(place: Place) -> TraceError {
    let expected = format!("a line of at most {MAX_LINE} bytes");
    TraceError::malformed(place, expected, "a longer one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<(Place, Vec<u8>)> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some((place, line)) = lines.next_filled().expect("short lines") {
            all.push((place, line.to_vec()));
        }
        all
    }

    #[test]
    fn line_ends_and_blank_lines_are_left_out_and_counted() {
        let expected = [(Place::Line(1), b"a b".to_vec()), (Place::Line(4), b"c".to_vec())];
        assert_eq!(all(b"a b\r\n\n \r\n c"), expected);
        assert_eq!(all(b"a b\n\n\nc\n"), expected);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        assert_eq!(all(b"\xEF\xBB\xBFa\nb"), [(Place::Line(1), b"a".to_vec()), (Place::Line(2), b"b".to_vec())]);
        assert_eq!(all(b"\xEF\xBB\xBF\nb"), [(Place::Line(2), b"b".to_vec())]);
        assert_eq!(all(b"a\n\xEF\xBB\xBFb").len(), 2);
        assert_eq!(all(b"\xEF\xBB\xBF"), []);
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit() {
        let longest = [vec![b'a'; MAX_LINE], b"\nb".to_vec()].concat();
        assert_eq!(all(&longest).len(), 2);
        assert_eq!(all(&longest[..MAX_LINE]).len(), 1);
    }

    #[test]
    fn a_longer_line_is_an_error() {
        let input = [b"a\n".to_vec(), vec![b'a'; MAX_LINE + 1]].concat();
        let mut lines = Lines::new(&input[..]);
        assert!(lines.next_filled().is_ok());
        let error = lines.next_filled().expect_err("a long line");
        let message = "line 2: expected a line of at most 1048576 bytes, found a longer one";
        assert_eq!(error.to_string(), message);
    }
}
