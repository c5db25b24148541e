//! Numbers in few columns.

use kennel_harness::human::millions;

/// A number, or a rate per second, of three digits: `412 k`.
pub fn number(number: f64) -> String {
    if number < 9.95 && number.fract() != 0.0 { format!("{number:.1}") } else { millions(number.round()) }
}

/// A share in percent; a dash if it is unknown.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// A time in its largest unit: `2.1 h`; a dash if it is unknown.
pub fn span(millis: Option<u64>) -> String {
    const UNITS: [(&str, f64); 4] = [("d", 86_400e3), ("h", 3600e3), ("min", 60e3), ("s", 1e3)];
    let Some(millis) = millis else { return "-".to_owned() };
    let of = |&(unit, length): &(&str, f64)| {
        let count = millis as f64 / length;
        (count >= 1.0).then(|| if count < 9.95 { format!("{count:.1} {unit}") } else { format!("{count:.0} {unit}") })
    };
    UNITS.iter().find_map(of).unwrap_or_else(|| format!("{millis} ms"))
}

const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last numbers of a history as bars, `columns` of them, from 0 to the highest.
pub fn bars(numbers: &[f64], columns: usize) -> String {
    let shown = &numbers[numbers.len().saturating_sub(columns)..];
    let most = shown.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |number: f64| STEPS[((number / most * 7.0).round() as usize).min(7)];
    shown.iter().map(|&number| bar(number)).collect()
}

/// Groups with a bar for each, the longest of `columns`: `<64 B ██`.
pub fn groups(names: &[&str], counts: &[u64], columns: usize) -> Vec<String> {
    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let bar = |count: u64| match count {
        0 => "·".to_owned(),
        count => "█".repeat(((count as f64 / most as f64 * columns as f64).round() as usize).max(1)),
    };
    names.iter().zip(counts).map(|(name, &count)| format!("{name} {}", bar(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_few_columns() {
        let numbers = [(0.0, "0"), (3.25, "3.2"), (210.4, "210"), (412_600.0, "413 k"), (1_920_000.0, "1.92 M")];
        for (given, expected) in numbers {
            assert_eq!(number(given), expected);
        }
        assert_eq!((percent(Some(0.942)), percent(None)), ("94.2 %".to_owned(), "-".to_owned()));
        let spans = [(5, "5 ms"), (38_000, "38 s"), (546_000, "9.1 min"), (46_080_000, "13 h"), (259_200_000, "3.0 d")];
        for (given, expected) in spans {
            assert_eq!(span(Some(given)), expected);
        }
    }

    #[test]
    fn bars_show_the_last_numbers_and_survive_none() {
        assert_eq!(bars(&[9.0, 0.0, 5.0, 10.0], 3), "▁▅█");
        assert_eq!(bars(&[], 3), "");
        assert_eq!(bars(&[0.0], 3), "▁");
        assert_eq!(groups(&["a", "b", "c"], &[0, 1, 1000], 4), ["a ·", "b █", "c ████"]);
    }
}
