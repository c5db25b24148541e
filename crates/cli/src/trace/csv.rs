//! Tables of comma-separated values. The first row is a header; the columns of key and size are
//! found by it, all others are ignored. Fields may be quoted, but a row stays on its line.

use std::io::Read;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::columns::{Column, Columns};
use super::error::{Place, TraceError};
use super::key::Key;
use super::lines::Lines;
use super::parser::{Parser, Request, size};

/// What traces call the column of the key, the name that wins first.
const KEY_NAMES: [&str; 4] = ["key", "id", "obj_id", "lbn"];
const SIZE_NAMES: [&str; 1] = ["size"];

pub(super) struct Csv<R> {
    lines: Lines<R>,
    columns: Columns,
    /// Known once the header has been read.
    layout: Option<Layout>,
    row: Row,
}

/// Where in a row the fields are, counted from 0.
#[derive(Clone, Copy)]
struct Layout {
    key: usize,
    size: Option<usize>,
}

impl<R: Read> Csv<R> {
    pub(super) fn new(reader: R, columns: Columns) -> Self {
        Self { lines: Lines::new(reader), columns, layout: None, row: Row::new() }
    }

    /// Reads the next row; returns its place, or nothing at the end.
    fn read_row(&mut self) -> Result<Option<Place>, TraceError> {
        let Some((place, line)) = self.lines.next_filled()? else {
            return Ok(None);
        };
        if !self.row.split(line) {
            return Err(TraceError::found(place, "a row that closes its quotes", line));
        }
        Ok(Some(place))
    }

    fn read_layout(&mut self) -> Result<Layout, TraceError> {
        let place =
            self.read_row()?.ok_or_else(|| TraceError::malformed(Place::Line(1), "a header", "an empty trace"))?;
        let header = Header { place, names: &self.row };
        let key = header.find(self.columns.key.as_ref(), &KEY_NAMES)?.ok_or_else(|| {
            let expected = format!("a header with a column {}", KEY_NAMES.join(" or "));
            TraceError::found(place, expected, &header.text())
        })?;
        let size = header.find(self.columns.size.as_ref(), &SIZE_NAMES)?;
        Ok(Layout { key, size })
    }

    /// The field at `index` of the row read last.
    fn field(&self, place: Place, index: usize) -> Result<&[u8], TraceError> {
        self.row.field(index).ok_or_else(|| {
            let expected = format!("a row of at least {} fields", index + 1);
            TraceError::malformed(place, expected, self.row.len().to_string())
        })
    }
}

impl<R: Read> Parser for Csv<R> {
    fn next_request(&mut self) -> Result<Option<Request>, TraceError> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => self.read_layout()?,
        };
        self.layout = Some(layout);
        let Some(place) = self.read_row()? else {
            return Ok(None);
        };
        let key = self.field(place, layout.key)?;
        if key.is_empty() {
            let expected = format!("a key as field {}", layout.key + 1);
            return Err(TraceError::found(place, expected, key));
        }
        let size = match layout.size {
            Some(index) => Some(size(self.field(place, index)?, place)?),
            None => None,
        };
        Ok(Some(Request { key: Key::from_text(key), size }))
    }
}

/// The fields of one line, in buffers that serve all lines.
struct Row {
    splitter: Reader,
    /// The fields one after the other, without quotes and commas.
    text: Vec<u8>,
    /// Where in the text each field ends.
    ends: Vec<usize>,
}

impl Row {
    fn new() -> Self {
        let splitter = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Self { splitter, text: Vec::new(), ends: Vec::new() }
    }

    /// Takes in a line, or returns false if it ends within quotes.
    fn split(&mut self, line: &[u8]) -> bool {
        // Room for the most that can come out: all of the line and its end, and a field more than
        // there are commas.
        let commas = line.iter().filter(|&&byte| byte == b',').count();
        self.text.resize(line.len() + 1, 0);
        self.ends.resize(commas + 1, 0);
        let (_, _, filled, fields) = self.splitter.read_record(line, &mut self.text, &mut self.ends);
        let (result, _, _, last) = self.splitter.read_record(b"\n", &mut self.text[filled..], &mut self.ends[fields..]);
        self.ends.truncate(fields + last);
        result == ReadRecordResult::Record
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// The field at `index`, without the blanks around it.
    fn field(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(self.text[start..end].trim_ascii())
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.field(index))
    }
}

/// The first row.
struct Header<'a> {
    place: Place,
    names: &'a Row,
}

impl Header<'_> {
    /// The column that the user asked for, which must be there, else the one with a usual name.
    fn find(&self, asked: Option<&Column>, usual: &[&str]) -> Result<Option<usize>, TraceError> {
        let Some(column) = asked else {
            return Ok(usual.iter().find_map(|name| self.index_of(name)));
        };
        let index = match column {
            Column::Number(number) => Some(number.get() - 1).filter(|&i| i < self.names.len()),
            Column::Name(name) => self.index_of(name),
        };
        let missing = || TraceError::found(self.place, format!("a header with {column}"), &self.text());
        index.ok_or_else(missing).map(Some)
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.names.fields().position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
    }

    fn text(&self) -> Vec<u8> {
        self.names.fields().collect::<Vec<_>>().join(&b","[..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::Format;
    use super::super::parser::parse;
    use super::super::parser::tests::{error, requests};
    use super::*;

    fn request(key: u64, size: u32) -> Request {
        Request { key: Key::from(key), size: Some(size) }
    }

    fn quoted(field: &str) -> String {
        format!("\"{}\"", field.replace('"', "\"\""))
    }

    #[test]
    fn columns_are_found_by_the_header() {
        let input = b"version,time,op,size,lbn\n1,5633898,2a,512,42932745\n1,2,28,4096,7\n";
        assert_eq!(requests(input, Format::Csv), [request(42_932_745, 512), request(7, 4096)]);
    }

    #[test]
    fn every_usual_name_of_the_key_is_known() {
        for name in KEY_NAMES {
            let input = format!("size, {} \n 12 , 34\n", name.to_uppercase());
            assert_eq!(requests(input.as_bytes(), Format::Csv), [request(34, 12)]);
        }
    }

    #[test]
    fn without_a_size_column_there_is_no_size() {
        let expected = [Request { key: Key::from_text(b"a,b"), size: None }];
        assert_eq!(requests(b"time,key\r\n1,\"a,b\"\r\n", Format::Csv), expected);
    }

    #[test]
    fn the_user_names_the_columns() {
        for columns in ["key=2,size=3", "key=who,size=bytes", "key=who,size=3"] {
            let columns = columns.parse().expect("valid columns");
            let input = b"key,who,bytes\n1,2,3\n";
            let read: Vec<_> =
                parse(&input[..], Format::Csv, columns).collect::<Result<_, _>>().expect("a well-formed trace");
            assert_eq!(read, [request(2, 3)]);
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let cases = [
            ("", "", "line 1: expected a header, found an empty trace"),
            (
                "a,b\n",
                "",
                "line 1: expected a header with a column key or id or obj_id or lbn, \
                 found \"a,b\"",
            ),
            ("a,b\n", "key=c", "line 1: expected a header with a column \"c\", found \"a,b\""),
            ("a,b\n", "key=3", "line 1: expected a header with a column 3, found \"a,b\""),
            ("id\n", "size=2", "line 1: expected a header with a column 2, found \"id\""),
            ("size,id\n1,2\n1\n", "", "line 3: expected a row of at least 2 fields, found 1"),
            ("size,id\n1,2\n\n1, \n", "", "line 4: expected a key as field 2, found nothing"),
            ("size,id\r\n1,2\r\nx,2\r\n", "", "line 3: expected a size in bytes from 0 to 4294967295, found \"x\""),
            ("id\n\"a\"\n\"b,c\nd\"\n", "", "line 3: expected a row that closes its quotes, found \"\\\"b,c\""),
            ("size,id\n,2\n", "", "line 2: expected a size in bytes from 0 to 4294967295, found nothing"),
        ];
        for (input, columns, message) in cases {
            assert_eq!(error(input.as_bytes(), Format::Csv, columns), message, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            trace in proptest::collection::vec(("[a-z0-9:,\"]{1,20}", any::<u32>()), 0..20),
        ) {
            let mut written = "time,obj_id,size\n".to_owned();
            for (key, size) in &trace {
                written.push_str(&format!("0,{},{size}\n", quoted(key)));
            }
            let expected: Vec<_> = trace
                .iter()
                .map(|(key, size)| Request { key: Key::from_text(key.as_bytes()), size: Some(*size) })
                .collect();
            prop_assert_eq!(requests(written.as_bytes(), Format::Csv), expected);
        }
    }
}
