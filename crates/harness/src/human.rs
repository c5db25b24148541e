//! Numbers formatted for people.

use std::time::Duration;

/// A count with its digits in groups of three: `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate as a whole number: `1,234,567/s`.
#[must_use]
pub fn rate(n: u64, over: Duration) -> String {
    let seconds = over.as_secs_f64();
    let per_second = if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
    format!("{}/s", count(per_second.round() as u64))
}

/// `part` as a percentage of `whole`, or a dash if `whole` is 0.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

/// A short time with three significant digits: `0.42 µs`, `12.3 µs`, `1.05 ms`.
#[must_use]
pub fn latency(nanos: u64) -> String {
    let micros = nanos as f64 / 1e3;
    let (value, unit) = if micros < 999.5 { (micros, "µs") } else { (micros / 1e3, "ms") };
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A large number, abbreviated to three significant digits: `950`, `12.5 k`, `3.2 M`.
#[must_use]
pub fn millions(number: f64) -> String {
    let (value, unit) = match number {
        n if n < 999.5 => (n, ""),
        n if n < 999_500.0 => (n / 1e3, " k"),
        n => (n / 1e6, " M"),
    };
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let digits = format!("{value:.decimals$}");
    let digits = if decimals == 0 { digits.as_str() } else { digits.trim_end_matches('0').trim_end_matches('.') };
    format!("{digits}{unit}")
}

/// `n` with a noun in singular or plural: `1 stripe`, `2 stripes`.
#[must_use]
pub fn plural(n: u64, one: &str) -> String {
    let ending = match n {
        1 => "",
        _ if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {one}{ending}", count(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits_in_threes() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (n, text) in cases {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn rates_survive_an_empty_span() {
        assert_eq!(rate(3000, Duration::from_secs(2)), "1,500/s");
        assert_eq!(rate(3000, Duration::ZERO), "0/s");
    }

    #[test]
    fn percentages_need_a_whole() {
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "-");
    }

    #[test]
    fn latencies_keep_three_digits() {
        let cases = [
            (420, "0.42 µs"),
            (9_990, "9.99 µs"),
            (9_999, "10.0 µs"),
            (12_340, "12.3 µs"),
            (123_400, "123 µs"),
            (1_050_000, "1.05 ms"),
            (5_000_000_000, "5000 ms"),
        ];
        for (nanos, text) in cases {
            assert_eq!(latency(nanos), text);
        }
    }

    #[test]
    fn large_numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.25"),
            (950.0, "950"),
            (1_000.0, "1 k"),
            (12_500.0, "12.5 k"),
            (100_000.0, "100 k"),
            (999_600.0, "1 M"),
            (3_204_000.0, "3.2 M"),
        ];
        for (number, text) in cases {
            assert_eq!(millions(number), text);
        }
    }

    #[test]
    fn plurals_follow_the_number() {
        assert_eq!(plural(1, "stripe"), "1 stripe");
        assert_eq!(plural(0, "stripe"), "0 stripes");
        assert_eq!(plural(2, "process"), "2 processes");
        assert_eq!(plural(4096, "stripe"), "4,096 stripes");
    }
}
