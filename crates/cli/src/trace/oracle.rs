//! libCacheSim's `oracleGeneral`: records without a header, little-endian, packed.
//!
//! ```text
//! 0   u32  time of the request        ignored
//! 4   u64  object id
//! 12  u32  object size in bytes
//! 16  i64  position of the next request for the object, -1 or i64::MAX if none; ignored
//! 24
//! ```

use std::io::{BufReader, Read};

use super::error::{Place, TraceError};
use super::key::Key;
use super::parser::{Parser, Request};

const RECORD_LEN: usize = 24;

pub(super) struct OracleGeneral<R> {
    reader: BufReader<R>,
    /// Where the record read next begins.
    offset: u64,
}

impl<R: Read> OracleGeneral<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), offset: 0 }
    }

    /// Fills `record`, or returns how much of it there was before the end of the stream.
    fn read_record(&mut self, record: &mut [u8; RECORD_LEN]) -> Result<usize, TraceError> {
        let mut unfilled = &mut record[..];
        let mut limited = self.reader.by_ref().take(RECORD_LEN as u64);
        std::io::copy(&mut limited, &mut unfilled)
            .map_err(|error| TraceError::Read { place: Place::Byte(self.offset), error })?;
        Ok(RECORD_LEN - unfilled.len())
    }
}

impl<R: Read> Parser for OracleGeneral<R> {
    fn next_request(&mut self) -> Result<Option<Request>, TraceError> {
        let mut record = [0; RECORD_LEN];
        match self.read_record(&mut record)? {
            0 => return Ok(None),
            RECORD_LEN => self.offset += RECORD_LEN as u64,
            part => {
                let expected = format!("a record of {RECORD_LEN} bytes");
                let found = format!("the end of the trace after {part}");
                return Err(TraceError::malformed(Place::Byte(self.offset), expected, found));
            }
        }
        let [_, _, _, _, i0, i1, i2, i3, i4, i5, i6, i7, s0, s1, s2, s3, ..] = record;
        let id = u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        Ok(Some(Request { key: Key::from(id), size: Some(size) }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::Format;
    use super::super::parser::tests::{error, requests};
    use super::*;

    fn record(time: u32, id: u64, size: u32, next: i64) -> Vec<u8> {
        let mut bytes = time.to_le_bytes().to_vec();
        bytes.extend(id.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        bytes
    }

    #[test]
    fn a_cut_off_record_is_an_error() {
        let input = [record(1, 2, 3, -1), record(1, 2, 3, i64::MAX)].concat();
        let message = "byte 24: expected a record of 24 bytes, found the end of the trace after 7";
        assert_eq!(error(&input[..31], Format::OracleGeneral, ""), message);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            trace in proptest::collection::vec(any::<(u32, u64, u32, i64)>(), 0..20),
        ) {
            let written: Vec<u8> =
                trace.iter().flat_map(|&(time, id, size, next)| record(time, id, size, next)).collect();
            let expected: Vec<_> = trace
                .iter()
                .map(|&(_, id, size, _)| Request { key: Key::from(id), size: Some(size) })
                .collect();
            prop_assert_eq!(requests(&written, Format::OracleGeneral), expected);
        }
    }
}
