//! The tables: rows of cells whose last columns are left out where the screen is too narrow.

use kennel_harness::human::count;
use kennel_harness::size::format_size;

use super::hot::HotKey;
use super::watch::{Lately, Look, ReadRate};
use super::words::{number, percent, span};

/// A table. The first column is aligned to the left, the others to the right.
pub struct Table {
    head: Vec<&'static str>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The lines of the table, with its head.
    pub fn lines(&self, width: usize) -> Vec<String> {
        let mut shown = 1;
        let mut total = self.widths[0];
        while shown < self.widths.len() && total + self.widths[shown] < width {
            total += self.widths[shown] + 1;
            shown += 1;
        }
        let head: Vec<String> = self.head.iter().map(|&name| name.to_owned()).collect();
        [&head].into_iter().chain(&self.rows).map(|row| self.line(row, shown)).collect()
    }

    fn line(&self, row: &[String], shown: usize) -> String {
        let first = fitted(&row[0], self.widths[0]);
        let rest = row.iter().zip(&self.widths).take(shown).skip(1);
        rest.fold(first, |line, (cell, &width)| format!("{line} {cell:>width$}"))
    }
}

/// A text cut or filled to a width in columns. Control characters are shown as `?`, since a key may contain any.
fn fitted(text: &str, width: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut cut: String = chars.by_ref().take(width).collect();
    if chars.next().is_some() {
        cut.pop();
        cut.push('…');
    }
    format!("{cut:<width$}")
}

pub fn namespaces(look: &Look, lately: Option<&Lately<'_>>) -> Table {
    let all = look.sampled.namespaces.iter().map(|namespace| namespace.bytes).sum::<u64>().max(1);
    let row = |namespace: &crate::sampled::NamespaceShare| {
        let reads = lately.and_then(|lately| lately.reads(namespace.name.as_deref()));
        vec![
            namespace.name.clone().unwrap_or_else(|| "(none)".to_owned()),
            number(namespace.items as f64),
            format_size(namespace.bytes),
            percent(reads.and_then(ReadRate::hit_ratio)),
            reads.map_or_else(|| "-".to_owned(), |reads| number(reads.gets())),
            span(namespace.age_ms),
            span(namespace.left_ms),
            format!("{:.1} %", namespace.bytes as f64 * 100.0 / all as f64),
        ]
    };
    Table {
        head: vec!["NAMESPACE", "ITEMS~", "BYTES~", "HIT~", "GETS/S~", "AGE~", "TTL LEFT~", "SHARE~"],
        widths: vec![20, 9, 10, 7, 8, 8, 9, 8],
        rows: look.sampled.namespaces.iter().map(row).collect(),
    }
}

/// The stripes, first those that need attention, then those that were written most.
pub fn stripes(look: &Look) -> Table {
    let mut stripes: Vec<_> = look.stripes.iter().collect();
    stripes.sort_by_key(|stripe| {
        (!stripe.verify_me, stripe.intent.is_none(), std::cmp::Reverse((stripe.repairs, stripe.counters.sets)))
    });
    let fill = |used: u64, size: u64| format!("{:.0} %", used as f64 * 100.0 / size.max(1) as f64);
    let row = |stripe: &&kennel::StripeStats| {
        let note = match (&stripe.intent, stripe.verify_me) {
            (_, true) => "unchecked",
            (Some(intent), _) => intent,
            _ => "",
        };
        vec![
            stripe.stripe.to_string(),
            count(stripe.items),
            fill(stripe.small_used, stripe.small_size),
            fill(stripe.main_used, stripe.main_size),
            number(stripe.counters.sets as f64),
            number(stripe.counters.evictions() as f64),
            count(stripe.repairs),
            note.to_owned(),
        ]
    };
    Table {
        head: vec!["STRIPE", "ITEMS", "SMALL", "MAIN", "SETS", "EVICTED", "REPAIRS", "NOW"],
        widths: vec![7, 10, 6, 6, 8, 8, 8, 12],
        rows: stripes.iter().map(row).collect(),
    }
}

/// The keys that are read most.
pub fn hot_keys(keys: &[HotKey]) -> Table {
    let row = |hot: &HotKey| vec![shown(&hot.key), percent(Some(hot.share))];
    Table { head: vec!["KEYS READ MOST~", "READS~"], widths: vec![70, 8], rows: keys.iter().map(row).collect() }
}

/// A stored key as text, with the name of its namespace set off.
fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('\0', " · ")
}

pub fn keys(look: &Look) -> Table {
    let row = |key: &Vec<u8>| vec![shown(key)];
    Table { head: vec!["SOME KEYS~"], widths: vec![78], rows: look.sampled.keys.iter().map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_table_has_fewer_columns_and_no_control_characters() {
        let table = Table {
            head: vec!["NAME", "A", "B"],
            widths: vec![6, 4, 4],
            rows: vec![vec!["a\u{1b}[2Jlong".into(), "1".into(), "2".into()]],
        };
        assert_eq!(table.lines(80), ["NAME      A    B", "a?[2J…    1    2"]);
        assert_eq!(table.lines(12), ["NAME      A", "a?[2J…    1"]);
        assert_eq!(table.lines(1), ["NAME  ", "a?[2J…"]);
    }
}
