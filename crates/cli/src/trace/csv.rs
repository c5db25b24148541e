//! Tables of comma-separated values, where each row is a request. The format, a header or the user determines the
//! columns of the key and the size. All other columns are ignored.

use std::io::Read;
use std::mem;

use super::columns::Table;
use super::error::{Place, TraceError};
use super::fields::size;
use super::format::Format;
use super::key::decimal;
use super::layout::{Layout, Names, is_key_name, is_msr_header};
use super::lines::Lines;
use super::request::{KeyText, MAX_RUN, Parser, Spelled};
use super::row::Row;

pub(super) struct Csv<R> {
    lines: Lines<R>,
    first: First,
    layout: Layout,
    row: Row,
    /// The key of the last row.
    key: Vec<u8>,
    size: Option<u32>,
    /// How many requests the last row still stands for.
    left: u64,
}

/// The kind of the next row.
enum First {
    Header(Names),
    /// A request, according to the user.
    Request,
    /// Either the header of the MSR traces or a request.
    Either,
    /// A request after the first row.
    Past,
}

impl<R: Read> Csv<R> {
    pub(super) fn new(reader: R, format: Format, table: &Table) -> Self {
        let (first, layout) = match format {
            Format::Msr => (First::Either, Layout::msr()),
            Format::CachelibKv => (First::Header(Names::CachelibKv), Layout::default()),
            Format::CachelibBlock => (First::Header(Names::CachelibBlock), Layout::default()),
            _ if table.no_header => (First::Request, Layout::by_number(table)),
            _ => (First::Header(Names::Told(table.clone())), Layout::default()),
        };
        Self { lines: Lines::new(reader), first, layout, row: Row::new(), key: Vec::new(), size: None, left: 0 }
    }

    /// Reads the next row that is a request. Returns its place, or `None` at the end.
    fn next_row(&mut self) -> Result<Option<Place>, TraceError> {
        match mem::replace(&mut self.first, First::Past) {
            First::Past => self.read_row(),
            First::Header(names) => {
                let place = self.read_row()?;
                let place = place.ok_or_else(|| TraceError::malformed(Place::Line(1), "a header", "an empty trace"))?;
                self.layout = names.find(place, &self.row)?;
                self.read_row()
            }
            First::Either => match self.read_row()? {
                Some(_) if is_msr_header(&self.row) => self.read_row(),
                place => Ok(place),
            },
            First::Request => {
                let place = self.read_row()?;
                place.map(|place| self.refuse_header(place)).transpose()?;
                Ok(place)
            }
        }
    }

    fn read_row(&mut self) -> Result<Option<Place>, TraceError> {
        let Some((place, line)) = self.lines.next_filled()? else {
            return Ok(None);
        };
        if !self.row.split(line) {
            return Err(TraceError::found(place, "a row that closes its quotes", line));
        }
        Ok(Some(place))
    }

    /// Fails if the row looks like a header, which would be counted as a request.
    fn refuse_header(&self, place: Place) -> Result<(), TraceError> {
        let key = self.layout.key.first().and_then(|&index| self.row.field(index));
        if key.is_some_and(is_key_name) {
            return Err(TraceError::found(place, "a request, because of --no-header", &self.row.text()));
        }
        Ok(())
    }

    /// Stores the key, the size and the count of the last row.
    fn take_row(&mut self, place: Place) -> Result<(), TraceError> {
        self.key.clear();
        for (part, &index) in self.layout.key.iter().enumerate() {
            let field = field(&self.row, place, index)?;
            if field.is_empty() {
                return Err(TraceError::found(place, format!("a key as field {}", index + 1), field));
            }
            if part > 0 {
                self.key.push(b',');
            }
            self.key.extend_from_slice(field);
        }
        self.size = match self.layout.size {
            Some(index) => Some(size(field(&self.row, place, index)?, place)?),
            None => None,
        };
        self.size = self.size.filter(|&size| size > 0 || !self.layout.zero_is_no_size);
        self.left = match self.layout.count {
            Some(index) => count(field(&self.row, place, index)?, place)?,
            None => 1,
        };
        Ok(())
    }
}

impl<R: Read> Parser for Csv<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
        while self.left == 0 {
            let Some(place) = self.next_row()? else {
                return Ok(None);
            };
            self.take_row(place)?;
        }
        self.left -= 1;
        Ok(Some(Spelled { key: KeyText::Text(&self.key), size: self.size }))
    }
}

/// The field at `index` of a row, which must exist.
fn field(row: &Row, place: Place, index: usize) -> Result<&[u8], TraceError> {
    row.field(index).ok_or_else(|| {
        let expected = format!("a row of at least {} fields", index + 1);
        TraceError::malformed(place, expected, row.len().to_string())
    })
}

/// How many requests a row stands for.
fn count(field: &[u8], place: Place) -> Result<u64, TraceError> {
    decimal(field)
        .filter(|&count| count <= MAX_RUN)
        .ok_or_else(|| TraceError::found(place, format!("a number of requests from 0 to {MAX_RUN}"), field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::Key;
    use super::super::parser::parse;
    use super::super::parser::tests::{error, requests};
    use super::super::request::Request;
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
        for name in ["key", "id", "obj_id", "lbn", "lba", "offset", "cacheKey"] {
            let input = format!("size, {} \r\n 12 , 34\r\n", name.to_uppercase());
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
            let table = Table::new(Some(columns), false).expect("a valid table");
            let input = b"key,who,bytes\n1,2,3\n";
            let read: Vec<_> =
                parse(&input[..], Format::Csv, &table).collect::<Result<_, _>>().expect("a well-formed trace");
            assert_eq!(read, [request(2, 3)]);
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let cases = [
            ("", "", "line 1: expected a header, found an empty trace"),
            ("a,b\n", "key=c", "line 1: expected a header with a column \"c\" ADVICE, found \"a,b\""),
            ("a,b\n", "key=3", "line 1: expected a header with a column 3 ADVICE, found \"a,b\""),
            ("id\n", "size=2", "line 1: expected a header with a column 2 ADVICE, found \"id\""),
            ("1,a\n", "key=2", "line 1: expected a header of names ADVICE, found \"1,a\""),
            ("size,id\n1,2\n1\n", "", "line 3: expected a row of at least 2 fields, found 1"),
            ("size,id\n1,2\n\n1, \n", "", "line 4: expected a key as field 2, found nothing"),
            ("size,id\r\n1,2\r\nx,2\r\n", "", "line 3: expected a size in bytes from 0 to 4294967295, found \"x\""),
            ("id\n\"a\"\n\"b,c\nd\"\n", "", "line 3: expected a row that closes its quotes, found \"\\\"b,c\""),
            ("size,id\n,2\n", "", "line 2: expected a size in bytes from 0 to 4294967295, found nothing"),
        ];
        for (input, columns, message) in cases {
            let advice = "(--columns key=N makes column N the key, --no-header reads the first row as a request, \
                          --format text reads each line as a key)";
            let message = message.replace("ADVICE", advice);
            assert_eq!(error(input.as_bytes(), Format::Csv, columns), message, "{input:?}");
        }
    }

    #[test]
    fn a_header_without_a_key_is_an_error() {
        let message = error(b"a,b\n1,2\n", Format::Csv, "");
        assert!(message.starts_with("line 1: expected a header with a column key or id or "), "{message}");
        assert!(message.ends_with(", found \"a,b\""), "{message}");
    }

    fn without_header(input: &[u8], columns: &str) -> Result<Vec<Request>, String> {
        let table = Table::new(Some(columns.parse().expect("valid columns")), true).expect("a valid table");
        parse(input, Format::Csv, &table).collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_header_the_first_row_is_a_request() {
        let input = b"419,W,8792731648,16384,157\n725,R,7,4096,158";
        assert_eq!(without_header(input, "key=3,size=4"), Ok(vec![request(8_792_731_648, 16384), request(7, 4096)]));
        let message = "line 1: expected a request, because of --no-header, found \"time,key\"";
        assert_eq!(without_header(b"time,key\n1,2\n", "key=2"), Err(message.to_owned()));
        let message = "line 1: expected a row of at least 3 fields, found 2";
        assert_eq!(without_header(b"1,2\n", "key=3"), Err(message.to_owned()));
    }

    #[test]
    fn msr_rows_are_of_host_disk_and_offset() {
        let rows = "128166372003061629,usr,0,Read,7,512,41286\n128166372003061630,usr,1,Write,7,4096,1\n";
        let expected = [("usr,0,7", 512), ("usr,1,7", 4096)];
        let expected = expected.map(|(key, size)| Request { key: Key::from_text(key.as_bytes()), size: Some(size) });
        assert_eq!(requests(rows.as_bytes(), Format::Msr), expected);
        let header = "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime\r\n";
        assert_eq!(requests(format!("{header}{rows}").as_bytes(), Format::Msr), expected);
    }

    #[test]
    fn a_cachelib_row_stands_for_several_requests() {
        let input = b"key,op,size,op_count,key_size\n7,GET,0,1,16\n7,SET,512,2,16\n8,GET,1,0,16\n";
        let miss = Request { key: Key::from(7), size: None };
        assert_eq!(requests(input, Format::CachelibKv), [miss, request(7, 512), request(7, 512)]);
        let newer = b"op_time,key,key_size,op,op_count,size,cache_hits,ttl\n1,7,16,GET,1,512,1,0\n";
        assert_eq!(requests(newer, Format::CachelibKv), [request(7, 512)]);
        for bad in ["16777217", "x", "-1"] {
            let input = format!("key,op,size,op_count\n7,GET,1,{bad}\n");
            let message = format!("line 2: expected a number of requests from 0 to 16777216, found {bad:?}");
            assert_eq!(error(input.as_bytes(), Format::CachelibKv, ""), message);
        }
    }

    #[test]
    fn a_cachelib_block_is_known_by_its_offset_too() {
        let input = b"op_time,block_id,block_id_size,io_offset,io_size,op_name\n1,7,8388608,0,4096,get\n1,7,8388608,4096,9,get\n";
        let expected = [("7,0", 4096), ("7,4096", 9)];
        let expected = expected.map(|(key, size)| Request { key: Key::from_text(key.as_bytes()), size: Some(size) });
        assert_eq!(requests(input, Format::CachelibBlock), expected);
        let message = error(b"op_time,block_id\n", Format::CachelibBlock, "");
        assert!(message.starts_with("line 1: expected a header with a column \"io_offset\""), "{message}");
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
