//! Ratios, as a table and as JSON.

use serde::Serialize;
use std::fmt;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The operation.
    pub name: String,
    /// Nanoseconds per operation of Kennel.
    pub kennel_ns: f64,
    /// The subject that Kennel is compared with.
    pub other: String,
    /// Nanoseconds per operation of that subject.
    pub other_ns: f64,
    /// `kennel_ns / other_ns`: below 1, Kennel is faster.
    pub ratio: f64,
    /// The project's goal for this ratio.
    #[serde(skip)]
    pub goal: Option<Goal>,
}

/// Ratios that the project set as its goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The required ratio.
    pub reach: f64,
    /// The ratio to aim for.
    pub aim: f64,
}

/// A goal.
pub const fn goal(reach: f64, aim: f64) -> Option<Goal> {
    Some(Goal { reach, aim })
}

/// All comparisons, and those that were left out.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    left_out: Vec<String>,
}

impl Table {
    /// Adds a comparison.
    pub fn add(&mut self, name: &str, kennel_ns: f64, other: &str, other_ns: f64, goal: Option<Goal>) {
        let ratio = kennel_ns / other_ns;
        self.rows.push(Row { name: name.into(), kennel_ns, other: other.into(), other_ns, ratio, goal });
    }

    /// Records a comparison that was left out, and the reason.
    pub fn leave_out(&mut self, what: &str, why: impl fmt::Display) {
        self.left_out.push(format!("left out: {what}: {why}"));
    }

    /// The rows as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(&self.rows)? + "\n")
    }
}

/// A Markdown table, readable as it is and ready to paste into a document.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "Kennel, ns", "against", "ns", "ratio", "reach", "aim for", ""].map(str::to_owned);
        let rows: Vec<[String; 8]> = std::iter::once(head).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..8).map(width).collect();
        for (n, row) in rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                match column {
                    0 | 2 | 7 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if n == 0 {
                let rule = |column: usize, width: usize| match column {
                    0 | 2 | 7 => format!("|{}", "-".repeat(width + 2)),
                    _ => format!("|{}:", "-".repeat(width + 1)),
                };
                let rules: String = widths.iter().enumerate().map(|(column, &width)| rule(column, width)).collect();
                writeln!(f, "{rules}|")?;
            }
        }
        self.left_out.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn cells(row: &Row) -> [String; 8] {
    let goal = |pick: fn(Goal) -> f64| row.goal.map_or_else(String::new, |goal| ratio(pick(goal)));
    let verdict = match row.goal {
        Some(goal) if row.ratio <= goal.aim => "ahead",
        Some(goal) if row.ratio <= goal.reach => "reached",
        Some(_) => "short",
        None => "",
    };
    [
        row.name.clone(),
        nanos(row.kennel_ns),
        row.other.clone(),
        nanos(row.other_ns),
        ratio(row.ratio),
        goal(|goal| goal.reach),
        goal(|goal| goal.aim),
        verdict.to_owned(),
    ]
}

fn nanos(nanos: f64) -> String {
    if nanos < 100.0 { format!("{nanos:.1}") } else { format!("{nanos:.0}") }
}

fn ratio(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::default();
        table.add("get", 50.0, "the limit", 40.0, goal(1.35, 1.15));
        table.add("get", 50.0, "a server", 10_000.0, goal(0.01, 0.003));
        table.add("set", 300.0, "another", 100.0, goal(0.6, 0.4));
        table.leave_out("set", "no lease");
        table
    }

    #[test]
    fn rows_have_five_fields() {
        let rows: serde_json::Value = serde_json::from_str(&table().json().unwrap()).unwrap();
        let first = &rows[0];
        assert_eq!(first["name"], "get");
        assert_eq!(first["other"], "the limit");
        assert_eq!(
            (&first["kennel_ns"], &first["other_ns"], &first["ratio"]),
            (&50.0.into(), &40.0.into(), &1.25.into())
        );
        assert_eq!(first.as_object().unwrap().len(), 5);
    }

    #[test]
    fn the_table_says_what_was_reached() {
        let text = table().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(lines[2].contains("1.25") && lines[2].contains("reached"), "{text}");
        assert!(lines[3].contains("0.0050") && lines[3].contains("reached"), "{text}");
        assert!(lines[4].contains("3.00") && lines[4].contains("short"), "{text}");
        assert_eq!(lines[5], "left out: set: no lease");
        assert!(lines[..5].iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
    }
}
