//! Sizes in bytes, as people write and read them.

/// Each unit with its number of bytes. `K` alone is refused: it is read both
/// as 1000 and as 1024, and a cache four percent off is hard to notice.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a size such as `67108864`, `64MiB` or `64 MB`, in bytes.
///
/// KiB, MiB, GiB and TiB are powers of 1024; kB, MB, GB and TB are powers of
/// 1000; a bare number is bytes. Upper and lower case do not matter.
///
/// # Errors
/// What is wrong with the text, with what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("expected a size such as 64MiB, 64MB or 67108864, found \"{text}\""));
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(bytes_per(unit.trim())?))
        .ok_or_else(|| refusal(text, unit.trim()))
}

fn bytes_per(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|&(_, bytes)| bytes)
}

fn refusal(text: &str, unit: &str) -> String {
    match bytes_per(unit) {
        Some(_) => format!("\"{text}\" is more bytes than 64 bits can count"),
        None => format!(
            "unknown unit \"{unit}\" in \"{text}\": expected B, KiB, MiB, GiB, TiB (powers of \
             1024) or kB, MB, GB, TB (powers of 1000)"
        ),
    }
}

/// Writes a size the way [`parse_size`] reads it, rounded to one decimal:
/// `512 B`, `1.5 KiB`, `64.0 MiB`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    const BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    BINARY
        .iter()
        .find(|&&(_, unit)| bytes >= unit)
        .map_or_else(|| format!("{bytes} B"), |&(name, unit)| format!("{:.1} {name}", bytes as f64 / unit as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_bytes() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("67108864"), Ok(67_108_864));
        assert_eq!(parse_size("12B"), Ok(12));
    }

    #[test]
    fn tells_binary_units_from_decimal_ones() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("64MB"), Ok(64_000_000));
        assert_eq!(parse_size("1KiB"), Ok(1024));
        assert_eq!(parse_size("1kB"), Ok(1000));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("2TB"), Ok(2_000_000_000_000));
    }

    #[test]
    fn ignores_case_and_spaces() {
        assert_eq!(parse_size(" 64 mib "), Ok(64 << 20));
        assert_eq!(parse_size("3KB"), Ok(3000));
    }

    #[test]
    fn refuses_what_is_ambiguous_or_no_size() {
        for text in ["", "MiB", "-1", "1.5MiB", "64M", "64 parsecs", "0x10"] {
            assert!(parse_size(text).is_err(), "{text:?} was taken for a size");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for text in ["18446744073709551616", "99999999TiB"] {
            let message = parse_size(text).unwrap_err();
            assert!(message.contains("64 bits"), "{message}");
        }
    }

    #[test]
    fn formats_in_the_largest_unit_that_gives_a_whole_part() {
        assert_eq!(format_size(0), "0 B");
        assert_eq!(format_size(1023), "1023 B");
        assert_eq!(format_size(1536), "1.5 KiB");
        assert_eq!(format_size(64 << 20), "64.0 MiB");
        assert_eq!(format_size(3 << 40), "3.0 TiB");
    }
}
