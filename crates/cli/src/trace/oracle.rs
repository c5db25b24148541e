//! libCacheSim's `oracleGeneral`: records without a header, little-endian, packed.
//!
//! ```text
//! 0   u32  time of the request        ignored
//! 4   u64  object id
//! 12  u32  object size in bytes
//! 16  i64  position of the next request for the object, or -1 or i64::MAX if there is none; ignored
//! 24
//! ```

use std::io::{BufReader, Read};

use super::error::{Place, TraceError};
use super::request::{KeyText, Parser, Spelled};

const RECORD_LEN: usize = 24;

/// A limit on positions that no trace reaches.
const MAX_POSITION: i64 = 1 << 48;

pub(super) struct OracleGeneral<R> {
    reader: BufReader<R>,
    /// The offset of the next record.
    offset: u64,
}

impl<R: Read> OracleGeneral<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), offset: 0 }
    }

    /// Reads a record. Returns the number of bytes read, which is smaller than the record at the end of the stream.
    fn read_record(&mut self, record: &mut [u8; RECORD_LEN]) -> Result<usize, TraceError> {
        let mut unfilled = &mut record[..];
        let mut limited = self.reader.by_ref().take(RECORD_LEN as u64);
        std::io::copy(&mut limited, &mut unfilled)
            .map_err(|error| TraceError::Read { place: Place::Byte(self.offset), error })?;
        Ok(RECORD_LEN - unfilled.len())
    }
}

impl<R: Read> Parser for OracleGeneral<R> {
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError> {
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
        let Record { id, size, .. } = Record::from(record);
        Ok(Some(Spelled { key: KeyText::Number(id), size: Some(size) }))
    }
}

/// A record without its time.
struct Record {
    id: u64,
    size: u32,
    next: i64,
}

impl From<[u8; RECORD_LEN]> for Record {
    fn from(bytes: [u8; RECORD_LEN]) -> Self {
        let [_, _, _, _, i0, i1, i2, i3, i4, i5, i6, i7, s0, s1, s2, s3, n0, n1, n2, n3, n4, n5, n6, n7] = bytes;
        Self {
            id: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            size: u32::from_le_bytes([s0, s1, s2, s3]),
            next: i64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
        }
    }
}

/// Whether the beginning of a stream looks like such records: the position of the next request is greater than that of
/// the record, or there is none. Other data is very unlikely to have this property.
pub(super) fn is_plausible(head: &[u8]) -> bool {
    let (records, _) = head.as_chunks();
    let is_plausible = |(position, &record): (usize, &[u8; RECORD_LEN])| {
        let Record { size, next, .. } = Record::from(record);
        let comes_later = (position as i64 + 1..MAX_POSITION).contains(&next);
        // Erased flash memory reads as all ones.
        size != u32::MAX && (comes_later || next == -1 || next == i64::MAX)
    };
    !records.is_empty() && records.iter().enumerate().all(is_plausible)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::Format;
    use super::super::key::Key;
    use super::super::parser::tests::{error, requests};
    use super::super::request::Request;
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

    #[test]
    fn records_are_told_from_other_bytes() {
        let good = [record(1, 2, 3, 1), record(1, 2, 3, 40), record(2, 9, 3, -1), record(2, 7, 0, i64::MAX)].concat();
        assert!(is_plausible(&good));
        assert!(is_plausible(&good[..40]));
        for other in [vec![0; 240], vec![0xFF; 240], b"key 1\n".repeat(40), record(1, 2, 3, 0), good[..23].to_vec()] {
            assert!(!is_plausible(&other), "{other:?}");
        }
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
