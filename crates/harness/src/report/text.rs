//! Tables for a terminal.

use crate::calls::Calls;
use crate::human;
use crate::latency::Percentiles;
use crate::run::{Measured, Results};
use crate::size::format_size;
use kennel::LargePages;
use std::fmt::Write as _;

/// The results as a table with a line for each cell.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    let machine = &results.machine;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}, {} processors, {}", machine.processor, machine.processors, machine.system);
    let _ = writeln!(out, "{} rounds; reading the clock takes {} ns\n", results.plan.rounds, machine.clock_ns);
    let head = HEAD.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(results.cells.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(
                |(column, (cell, &width))| {
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        let _ = writeln!(out, "{}", line.join("  ").trim_end());
    }
    for behind in results.behind() {
        let (done, rate) = (behind.throughput.median, results.plan.rate.unwrap_or_default());
        let (done, rate) = (human::millions(done), human::millions(rate));
        let _ = writeln!(out, "behind: {}: {done} of {rate} operations a second; {BEHIND}", behind.cell);
    }
    for left in &results.left_out {
        let _ = writeln!(out, "left out: {}: {}", left.what, left.why);
    }
    out
}

/// The consequence for a cell that did not keep the rate.
pub(super) const BEHIND: &str = "its latencies include a queue that grew until the end";

const HEAD: [&str; 14] = [
    "locks",
    "regions",
    "processes",
    "writes",
    "value",
    "keys",
    "operations/s",
    "min..max",
    "read p50",
    "p99.99",
    "write p50",
    "p99.99",
    "CPU/op",
    "calls/op",
];

/// The distribution of the keys, and the settings that differ from the defaults.
fn what_else(measured: &Measured) -> String {
    let cell = &measured.cell;
    let mut parts = vec![cell.keys.to_string()];
    parts.extend((cell.batch > 1).then(|| format!("x{}", cell.batch)));
    parts.extend(cell.data_size.map(format_size));
    parts.extend((cell.large_pages != LargePages::Auto).then(|| format!("large:{}", cell.large_pages)));
    parts.extend(measured.limit_ns.map(|limit| format!("limit {:.0} ns", limit.median)));
    parts.join(" ")
}

fn row(measured: &Measured) -> Vec<String> {
    let cell = &measured.cell;
    let at = |latency: &Option<Percentiles>, pick: fn(&Percentiles) -> u64| {
        latency.as_ref().map_or_else(|| "-".into(), |latency| human::latency(pick(latency)))
    };
    let workers =
        if cell.threads == 1 { cell.processes.to_string() } else { format!("{}x{}", cell.processes, cell.threads) };
    vec![
        cell.strategy.clone(),
        cell.regions.to_string(),
        workers,
        format!("{} %", cell.write_percent),
        cell.value_size.to_string(),
        what_else(measured),
        human::count(measured.throughput.median as u64),
        format!("{}..{}", human::millions(measured.throughput.min), human::millions(measured.throughput.max)),
        at(&measured.read_latency, |latency| latency.p50_ns),
        at(&measured.read_latency, |latency| latency.p99_99_ns),
        at(&measured.write_latency, |latency| latency.p50_ns),
        at(&measured.write_latency, |latency| latency.p99_99_ns),
        measured.cpu_ns.map_or_else(|| "-".into(), |cpu| human::latency((cpu.user + cpu.system) as u64)),
        match measured.system_calls {
            Calls::Counted { per_operation } => format!("{per_operation:.2}"),
            Calls::Not { .. } => "-".into(),
        },
    ]
}
