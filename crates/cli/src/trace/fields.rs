//! Fields separated by blanks.

use std::str;

use super::error::{Place, TraceError};
use super::key::decimal;

/// The parts of a line between blanks.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// Reads a size, for all formats that write sizes in digits.
pub(super) fn size(field: &[u8], place: Place) -> Result<u32, TraceError> {
    decimal(field).ok_or_else(|| {
        let expected = format!("a size in bytes from 0 to {}", u32::MAX);
        TraceError::found(place, expected, field)
    })
}

/// Reads a time in any unit: digits, with or without a fraction.
pub(super) fn time(field: &[u8]) -> Option<f64> {
    let is_plain = field.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let time = if is_plain { str::from_utf8(field).ok()?.parse().ok()? } else { return None };
    f64::is_finite(time).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_or_without_a_fraction() {
        assert_eq!(time(b"15"), Some(15.0));
        assert_eq!(time(b"15.25"), Some(15.25));
        for other in ["", ".", "-1", "1e3", "1.2.3", "nan", "12:30", "0x1"] {
            assert_eq!(time(other.as_bytes()), None, "{other}");
        }
        assert_eq!(time(&[b'9'; 400]), None);
    }
}
