//! Recognizes the format of a trace from its beginning. A trace that fits several formats or none is refused, because a
//! misread trace would give a wrong result that looks right.

use super::columns::Table;
use super::compression::foreign;
use super::error::{Place, TraceError};
use super::fields::{fields, size, time};
use super::format::Format;
use super::key::decimal;
use super::layout::{is_cachelib_block, is_cachelib_kv, is_key_name, is_msr_header, is_msr_row};
use super::lines::BYTE_ORDER_MARK;
use super::row::Row;
use super::{lirs, oracle, twitter};

/// How many lines are examined.
const LINES: usize = 1000;

/// Lines are taken for `time key`, and not for `key size`, if at least one in this many cannot be `key size`.
const PROOF: usize = 10;

/// The format of a trace that begins with `sample`, or `None` if it is blank.
///
/// `suggested` is the format that the file name suggests; it decides if the content fits several. If the user gives
/// options in `table`, lines with commas are a table.
///
/// # Errors
/// The content fits no format, or several.
pub fn detect(sample: &[u8], suggested: Option<Format>, table: &Table) -> Result<Option<Format>, TraceError> {
    if is_binary(sample) {
        return binary(sample).map(Some);
    }
    let text = sample.strip_prefix(BYTE_ORDER_MARK).unwrap_or(sample);
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).take(LINES).collect();
    let Some(first) = lines.first() else {
        return Ok(None);
    };
    refuse_documents(first)?;
    if first.contains(&b'\r') {
        return Err(TraceError::found(Place::Line(1), "lines that end with LF or CR LF, and not with CR alone", first));
    }
    if first.contains(&b',') {
        return Ok(Some(rows(first, table)));
    }
    let format = match fields(first).count() {
        1 => single(&lines, suggested)?,
        2 => pairs(&lines, suggested)?,
        _ => numbers(&lines, suggested)?,
    };
    Ok(Some(format))
}

/// The complete lines of `sample`. If it `is_cut`, more bytes follow, and its last line may be incomplete.
pub(super) fn whole_lines(sample: &[u8], is_cut: bool) -> &[u8] {
    if !is_cut || is_binary(sample) {
        return sample;
    }
    let end = sample.iter().rposition(|&byte| byte == b'\n').map_or(sample.len(), |last| last + 1);
    &sample[..end]
}

/// Whether the bytes are not text: traces in text form contain no control characters.
fn is_binary(sample: &[u8]) -> bool {
    sample.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace() && *byte != 0x0B && *byte != 0x7F)
}

fn binary(sample: &[u8]) -> Result<Format, TraceError> {
    if let Some(kind) = foreign(sample) {
        return Err(TraceError::malformed(Place::Byte(0), "a trace", kind));
    }
    if oracle::is_plausible(sample) {
        return Ok(Format::OracleGeneral);
    }
    let expected = "text, or records of oracleGeneral (--format oracleGeneral reads any bytes as such records)";
    Err(TraceError::malformed(Place::Byte(0), expected, "other binary data"))
}

/// Refuses documents that a failed download or another tool may have written instead of a trace.
fn refuse_documents(first: &[u8]) -> Result<(), TraceError> {
    let kind = match first {
        [b'<', ..] => "HTML or XML",
        [b'{', ..] | [b'[', b'{', ..] => "JSON",
        _ => return Ok(()),
    };
    let expected = format!("a trace, not {kind} (--format text reads each line as a key)");
    Err(TraceError::found(Place::Line(1), expected, first))
}

/// The format of lines the first of which has commas.
fn rows(first: &[u8], table: &Table) -> Format {
    if table.is_told() {
        return Format::Csv;
    }
    if twitter::is_row(first) {
        return Format::Twitter;
    }
    let mut row = Row::new();
    match row.split(first) {
        true if is_msr_header(&row) || is_msr_row(&row) => Format::Msr,
        true if is_cachelib_block(&row) => Format::CachelibBlock,
        true if is_cachelib_kv(&row) => Format::CachelibKv,
        // The parser refuses a table whose columns it cannot find.
        _ => Format::Csv,
    }
}

/// The format of lines the first of which has one field.
fn single(lines: &[&[u8]], suggested: Option<Format>) -> Result<Format, TraceError> {
    let first = lines[0];
    if is_key_name(first) || suggested == Some(Format::Csv) {
        return Ok(Format::Csv);
    }
    // In a trace with separators, other lines are probably damaged, and the parser refuses them.
    if lines.iter().all(|line| lirs::is_number(line)) || lines.iter().any(|line| lirs::is_separator(line)) {
        return Ok(Format::Lirs);
    }
    for separator in [b';', b'|'] {
        let count = |line: &&[u8]| line.iter().filter(|&&byte| byte == separator).count();
        // One `|` in each line may be part of the keys.
        if count(&first) > 1 && lines.iter().all(|line| count(line) == count(&first)) {
            let expected = format!(
                "fields separated by commas or blanks, not by `{}` (--format text reads each line as a key)",
                char::from(separator)
            );
            return Err(TraceError::found(Place::Line(1), expected, first));
        }
    }
    Ok(Format::Text)
}

/// The format of lines the first of which has two fields: `key size`, `time key`, or the short form of ARC.
fn pairs(lines: &[&[u8]], suggested: Option<Format>) -> Result<Format, TraceError> {
    if suggested == Some(Format::Arc) {
        return Ok(Format::Arc);
    }
    let Some(pairs) = lines.iter().map(|line| pair(line)).collect::<Option<Vec<_>>>() else {
        return Ok(Format::Text);
    };
    let Some(times) = times(pairs.iter().map(|(first, _)| *first)) else {
        return Ok(Format::Text);
    };
    let is_size = |field: &[u8]| size(field, Place::Line(1)).is_ok();
    // An object has one size, but several requests may have the same time.
    let contradictions = pairs.windows(2).filter(|two| two[0].0 == two[1].0 && two[0].1 != two[1].1).count();
    let fractions = times.iter().filter(|time| time.fract() != 0.0).count();
    let other = pairs.iter().filter(|(_, second)| !is_size(second)).count();
    if contradictions.max(fractions).max(other) * PROOF >= lines.len() {
        return Ok(Format::TimeKey);
    }
    if other == 0 && pairs.iter().all(|(_, second)| *second == pairs[0].1) {
        return Ok(Format::Text);
    }
    let expected = "lines of either `key size` or `time key`; these may be both, because the first field never \
                    decreases (--format text reads them as key and size, --format time-key as time and key)";
    Err(TraceError::found(Place::Line(1), expected, lines[0]))
}

fn pair<'a>(line: &&'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut fields = fields(line);
    match (fields.next(), fields.next(), fields.next()) {
        (Some(first), Some(second), None) => Some((first, second)),
        _ => None,
    }
}

/// The fields as times, if they are numbers that never decrease.
fn times<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<Vec<f64>> {
    let times: Vec<_> = fields.map(time).collect::<Option<_>>()?;
    times.is_sorted().then_some(times)
}

/// The format of lines the first of which has at least three fields.
fn numbers(lines: &[&[u8]], suggested: Option<Format>) -> Result<Format, TraceError> {
    let tables: Vec<Vec<_>> = lines.iter().map(|line| fields(line).collect()).collect();
    let is_number = |field: &&[u8]| decimal::<u64>(field).is_some();
    let is_arc = |line: &Vec<&[u8]>| line.len() == 4 && line.iter().all(is_number) && line[2] == b"0";
    if tables.iter().all(is_arc) || (suggested == Some(Format::Arc) && tables[0].iter().all(is_number)) {
        return Ok(Format::Arc);
    }
    let is_request = |line: &Vec<&[u8]>| line.len() >= 3 && size(line[2], Place::Line(1)).is_ok();
    if tables.iter().all(is_request) && times(tables.iter().map(|line| line[0])).is_some() {
        return Ok(Format::Webcachesim);
    }
    let expected = "lines of `key`, `key size`, `time key`, `time id size` with times that never decrease, or \
                    `first_key keys 0 request` (--format chooses one)";
    Err(TraceError::found(Place::Line(1), expected, lines[0]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn detected(sample: &str) -> Format {
        let format = detect(sample.as_bytes(), None, &Table::default());
        format.unwrap_or_else(|error| panic!("{sample:?}: {error}")).expect("not empty")
    }

    fn refused(sample: impl AsRef<[u8]>) -> String {
        let format = detect(sample.as_ref(), None, &Table::default());
        format.expect_err("fits no format, or several").to_string()
    }

    #[test]
    fn every_example_is_of_its_format() {
        for format in Format::ALL {
            let example = format.facts().example.join("\n");
            if !example.is_empty() {
                assert_eq!(detected(&example), format);
                assert_eq!(detected(&format!("\u{FEFF}\r\n{}\r\n", example.replace('\n', "\r\n"))), format);
            }
        }
    }

    #[test]
    fn formats_are_known_by_their_content() {
        let cases = [
            (Format::Twitter, "0,a,b,3,512,1,SET,60"),
            (Format::Msr, "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime"),
            (Format::CachelibKv, "op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase"),
            (Format::Csv, "version,time,op,size,lbn\n1,5633898,2a,512,42932745"),
            (Format::Csv, "key\n1\n2"),
            (Format::Csv, "1,2,3"),
            (Format::Webcachesim, "1 7 512 3\n2 8 1 4"),
            (Format::Webcachesim, "1.5 7 512 3\n1.5 8 0 4"),
            (Format::Arc, "5 2 0 0\n1 1 0 1"),
            (Format::Lirs, "5\n*\n4"),
            (Format::Lirs, "*\n5\nabc"),
            (Format::TimeKey, "1 a\n1 b\n2 c"),
            (Format::TimeKey, "1.25 7\n2 8"),
            (Format::TimeKey, "1 7\n1 8\n2 7"),
            (Format::TimeKey, "1595366400 9223372036854775807\n1595366401 7"),
            (Format::Text, "7 512\n6 512\n7 512"),
            (Format::Text, "1 100\n2 100\n3 100"),
            (Format::Text, "user:1 512\nuser:2 1"),
            (Format::Text, "user:1\nuser:2 1"),
            (Format::Text, "7\n8 512"),
            (Format::Text, "7 512"),
            (Format::Text, "a|b\nc|d"),
            (Format::Text, "*x\n*y"),
            (Format::Text, "\u{e4}\n\u{f6}"),
            // The parser names the line that is wrong.
            (Format::Text, "a 512\nb 64KiB"),
        ];
        for (format, sample) in cases {
            assert_eq!(detected(sample), format, "{sample:?}");
        }
    }

    #[test]
    fn nothing_is_no_format() {
        for sample in ["", "\n \r\n\t\n", "\u{FEFF}", "\u{FEFF}\n"] {
            assert_eq!(detect(sample.as_bytes(), None, &Table::default()).expect("no error"), None, "{sample:?}");
        }
    }

    #[test]
    fn what_could_be_two_formats_is_refused() {
        for sample in ["1 5\n2 7\n3 5", "1 512\n2 4096\n2 4096\n3 1"] {
            let message = refused(sample);
            assert!(message.contains("--format time-key"), "{message}");
            assert!(message.ends_with(&format!("found {:?}", sample.lines().next().expect("a line"))), "{message}");
        }
    }

    #[test]
    fn what_fits_no_format_is_refused() {
        let cases: [(&[u8], &str); 15] = [
            (b"<!DOCTYPE html>\n", "line 1: expected a trace, not HTML"),
            (b"{\"key\": 1}\n", "line 1: expected a trace, not JSON"),
            (b"time;key;size\n1;2;3\n", "not by `;`"),
            (b"1|2|3\n4|5|6\n", "not by `|`"),
            (b"Lorem ipsum dolor sit amet\n", "line 1: expected lines of `key`"),
            (b"2 7 512\n1 7 512\n", "line 1: expected lines of `key`"),
            (b"\x7FELF\x02\x01\x01\0\0\0", "byte 0: expected text, or records of oracleGeneral"),
            (&[0; 4096], "byte 0: expected text, or records of oracleGeneral"),
            (b"BZh91AY&SY\0\0", "bzip2 data, which has to be decompressed first"),
            (b"PK\x03\x04\x14\0", "a zip archive"),
            (b"PAR1\x15\0", "a Parquet file"),
            (b"\xFF\xFEk\0e\0y\0", "UTF-16 text"),
            (b"\x1F\x8B\x08\0", "gzip data within compressed data"),
            (b"key\0\n", "found other binary data"),
            (b"1\r2\r3\r", "line 1: expected lines that end with LF or CR LF"),
        ];
        for (sample, expected) in cases {
            let message = refused(sample);
            assert!(message.contains(expected), "expected {expected}, found {message}");
        }
    }

    #[test]
    fn the_name_decides_where_the_content_fits_several() {
        let arc = Some(Format::Arc);
        let default = Table::default();
        for sample in ["5 1\n6 1", "1 1 0 0\n2", "1 1 7 0"] {
            assert_eq!(detect(sample.as_bytes(), arc, &default).expect("no error"), arc, "{sample:?}");
        }
        assert_eq!(detect(b"name\n1\n", Some(Format::Csv), &default).expect("no error"), Some(Format::Csv));
        let twitter = detect(b"0,k,1,512,1,get,0\n", Some(Format::Csv), &default).expect("no error");
        assert_eq!(twitter, Some(Format::Twitter));
    }

    #[test]
    fn columns_make_a_table_of_what_has_commas() {
        let table = Table::new(Some("key=2".parse().expect("valid")), true).expect("valid");
        let format = |sample: &[u8]| detect(sample, None, &table).expect("no error");
        assert_eq!(format(b"0,k,1,512,1,get,0\n"), Some(Format::Csv));
        assert_eq!(format(b"user:7 512\n"), Some(Format::Text));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_detection_panic(
            input in proptest::collection::vec(any::<u8>(), 0..400),
            mostly_text in "[a-z0-9, \r\n.*;|]{0,200}",
        ) {
            for suggested in Format::ALL.into_iter().map(Some).chain([None]) {
                for bytes in [input.as_slice(), mostly_text.as_bytes()] {
                    let _ = detect(bytes, suggested, &Table::default());
                }
            }
        }
    }
}
