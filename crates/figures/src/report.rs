//! Rows, their goals, and how they are printed.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A figure and its goals. A row without goals is for comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub value: f64,
    pub unit: String,
    /// What should be reached at least, and what is aimed for.
    pub goals: Option<(f64, f64)>,
    /// Whether a larger figure is the better one.
    pub more_is_better: bool,
    /// From what the figure was made.
    pub of: String,
}

impl Row {
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { name: name.into(), value, unit: unit.into(), goals: None, more_is_better: false, of: String::new() }
    }

    pub fn goals(self, reach: f64, aim: f64) -> Self {
        Self { goals: Some((reach, aim)), ..self }
    }

    pub fn more_is_better(self) -> Self {
        Self { more_is_better: true, ..self }
    }

    pub fn of(self, of: impl Into<String>) -> Self {
        Self { of: of.into(), ..self }
    }

    fn verdict(&self) -> &'static str {
        let is_met = |goal: f64| if self.more_is_better { self.value >= goal } else { self.value <= goal };
        match self.goals {
            None => "",
            Some((_, aim)) if is_met(aim) => "aim",
            Some((reach, _)) if is_met(reach) => "reached",
            Some(_) => "MISSED",
        }
    }
}

/// A number with three significant digits.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        v if v == 0.0 || v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        v if v >= 0.09995 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

pub fn print(rows: &[Row]) {
    println!("\n{:<58} {:>12} {:>8} {:>8}  {:<8} from", "", "", "reach", "aim", "");
    for row in rows {
        let (reach, aim) = row.goals.map_or_else(Default::default, |(reach, aim)| (number(reach), number(aim)));
        let value = format!("{} {}", number(row.value), row.unit);
        let line = format!("{:<58} {value:>12} {reach:>8} {aim:>8}  {:<8} {}", row.name, row.verdict(), row.of);
        println!("{}", line.trim_end());
    }
}

pub fn to_json(rows: &[Row]) -> Result<String> {
    Ok(serde_json::to_string_pretty(rows)?)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which this part of all lies.
pub fn quantile(sorted: &[u64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part) as usize).map_or(f64::NAN, |value| *value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_have_a_direction() {
        let verdict = |value, more: bool| {
            let row = Row::new("", value, "x").goals(if more { 0.9 } else { 1.4 }, if more { 0.97 } else { 1.15 });
            if more { row.more_is_better().verdict() } else { row.verdict() }
        };
        assert_eq!([1.1, 1.15, 1.3, 1.5].map(|value| verdict(value, false)), ["aim", "aim", "reached", "MISSED"]);
        assert_eq!([1.0, 0.93, 0.5].map(|value| verdict(value, true)), ["aim", "reached", "MISSED"]);
        assert_eq!(Row::new("", 1.0, "x").verdict(), "");
        assert_eq!(Row::new("", f64::NAN, "x").goals(1.0, 1.0).verdict(), "MISSED");
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (0.0031, "0.0031"), (0.25, "0.250"), (1.234, "1.23"), (12.34, "12.3"), (435.2, "435")];
        cases.iter().for_each(|(value, text)| assert_eq!(&number(*value), text));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(&[1, 2, 3, 4, 5], 0.5), 3.0);
    }
}
