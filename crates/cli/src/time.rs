//! Spans of time, as people write them.

use std::time::Duration;

/// Each unit with its number of milliseconds.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 60 * 60 * 1000), ("d", 24 * 60 * 60 * 1000)];

/// Reads a span of time such as `250ms`, `90s`, `5m`, `2h` or `1d`.
///
/// The unit is required: a bare `90` would be seconds to one reader and
/// milliseconds to the next.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let Some(&(_, millis)) = UNITS.iter().find(|(name, _)| *name == unit.trim()) else {
        return Err(refusal(text));
    };
    if number.is_empty() {
        return Err(refusal(text));
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("\"{text}\" is more milliseconds than 64 bits can count"))
}

fn refusal(text: &str) -> String {
    format!("expected a time with its unit, such as 250ms, 90s, 5m, 2h or 1d, found \"{text}\"")
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
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in ["", "90", "s", "-5s", "1.5h", "5 min", "1w"] {
            let message = parse_duration(text).unwrap_err();
            assert!(message.contains("with its unit"), "{text:?}: {message}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert!(parse_duration("18446744073709551615d").is_err());
        assert!(parse_duration("18446744073709551616ms").is_err());
    }
}
