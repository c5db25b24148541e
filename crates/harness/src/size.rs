//! Sizes in bytes, as people write and read them.

/// Each unit with its number of bytes. A letter alone is a power of 1024, as for dd, Docker and Java.
const UNITS: [(&str, u64); 13] = [
    ("B", 1),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
];

/// Reads a size such as `67108864`, `64M`, `1.5GiB` or `64 MB`, in bytes.
///
/// K, M, G and T, with or without iB, are powers of 1024; kB, MB, GB and TB are powers of 1000; a bare number is bytes.
/// Case does not matter. A fraction of a byte is dropped.
///
/// # Errors
/// A text that describes what is wrong and what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let Some((number, unit)) = split_number(text) else {
        return Err(format!("expected a size such as 64M, 1.5GiB or 67108864, found \"{text}\""));
    };
    let Some(bytes) = bytes_per(unit) else {
        return Err(format!(
            "unknown unit \"{unit}\" in \"{text}\": expected B, K, M, G, T, KiB, MiB, GiB, TiB (powers of \
             1024) or kB, MB, GB, TB (powers of 1000)"
        ));
    };
    times(number, bytes).ok_or_else(|| format!("\"{text}\" is more bytes than 64 bits can count"))
}

fn bytes_per(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|&(_, bytes)| bytes)
}

/// Splits text that begins with a number, such as `1.5 GiB`, into the number and its unit.
#[must_use]
pub fn split_number(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count());
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = match number.split_once('.') {
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => is_digits(number),
    };
    is_number.then_some((number, unit.trim()))
}

/// A decimal number of units, in whole parts of a unit that has `parts` of them; `None` if it does not fit into 64
/// bits.
#[must_use]
pub fn times(number: &str, parts: u64) -> Option<u64> {
    /// The number of digits after the point that are read. Further digits cannot change the result, because the number
    /// of parts of a unit fits into 64 bits.
    const DIGITS: usize = 18;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = &fraction[..fraction.len().min(DIGITS)];
    let of_fraction = match fraction {
        "" => 0,
        digits => u128::from(digits.parse::<u64>().ok()?) * u128::from(parts) / 10u128.pow(digits.len() as u32),
    };
    whole.parse::<u64>().ok()?.checked_mul(parts)?.checked_add(u64::try_from(of_fraction).ok()?)
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
    fn takes_letters_alone_and_fractions() {
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("1k"), Ok(1024));
        assert_eq!(parse_size("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_size("0.5 MB"), Ok(500_000));
        assert_eq!(parse_size("1.0001K"), Ok(1024));
        assert_eq!(parse_size("0.99999999999999999999999999T"), Ok((1 << 40) - 1));
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "MiB", "-1", ".5M", "1.M", "1.2.3M", "1,5M", "64 parsecs", "64Mi", "0x10"] {
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
