//! Durations in text form.

use std::time::Duration;

use kennel_harness::size::{split_number, times};

/// Each unit with its number of nanoseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 60 * 60 * 1_000_000_000),
    ("d", 24 * 60 * 60 * 1_000_000_000),
];

/// Reads a duration such as `250ms`, `1.5s`, `5m`, `2h` or `1d`.
///
/// The unit is required, because users would disagree about the unit of a bare `90`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let wrong = || format!("expected a time with its unit, such as 250ms, 1.5s, 5m, 2h or 1d, found \"{text}\"");
    let (number, unit) = split_number(text).ok_or_else(wrong)?;
    let &(_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let too_long = || format!("\"{text}\" is longer than the 584 years that 64 bits of nanoseconds count");
    times(number, nanoseconds).map(Duration::from_nanos).ok_or_else(too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit() {
        let cases = [
            ("250ms", 250),
            ("90s", 90_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            (" 3 s ", 3000),
            ("1.5s", 1500),
            ("0.5h", 1_800_000),
            ("36500d", 3_153_600_000_000),
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in ["", "90", "1.5", "s", "-5s", ".5h", "1.s", "1,5s", "5 min", "1w"] {
            let message = parse_duration(text).unwrap_err();
            assert!(message.contains("with its unit"), "{text:?}: {message}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert!(parse_duration("18446744073709551615d").is_err());
        assert!(parse_duration("18446744073709551616ms").is_err());
        assert!(parse_duration("1000000d").is_err());
    }
}
