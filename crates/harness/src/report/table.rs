//! The tables of the page.

use super::html::{section, text};
use crate::calls::Calls;
use crate::human::{self, count, millions};
use crate::latency::Percentiles;
use crate::run::{CpuTime, Measured, Results};
use crate::size::format_size;

/// All numbers in two tables, since one would be wider than the page.
pub(super) fn table(results: &Results) -> String {
    let quantiles = ["p50", "p99", "p99.9", "p99.99"].map(|name| format!("<th>{name}</th>")).concat();
    let same = in_common(results);
    let (names, shared) = (headings(&same), sentence_of(results, &same));
    let of = |row: fn(&Measured) -> Vec<String>| {
        let rows = results.cells.iter().map(|one| line([what(one, &same), row(one)].concat()));
        rows.collect::<String>()
    };
    let (speed, cost) = (of(speed), of(cost));
    let columns = names.matches("<th>").count();
    let body = format!(
        "{shared}<div class=\"scroll\"><table>\n<thead>\n<tr><th colspan=\"{columns}\"></th>\
         <th colspan=\"2\">operations/s</th><th colspan=\"4\">reads done within</th>\
         <th colspan=\"4\">writes done within</th></tr>\n\
         <tr>{names}<th>median</th><th>rounds</th>{quantiles}{quantiles}</tr>\n</thead>\n\
         <tbody>\n{speed}</tbody>\n</table></div>\n\
         <div class=\"scroll\"><table>\n<thead>\n<tr><th colspan=\"{columns}\"></th>\
         <th colspan=\"4\">per operation</th><th colspan=\"2\">fairness</th><th></th></tr>\n\
         <tr>{names}<th>CPU</th><th>in the system</th><th>system calls</th><th>switches</th>\
         <th>min/max</th><th>Jain</th><th>hits</th></tr>\n</thead>\n<tbody>\n{cost}</tbody>\n</table></div>\n"
    );
    section(
        "table",
        "All numbers",
        "Processes with several threads each are written like 4 × 2: four processes of two threads. \
         The system counted the processor time and the context switches of the processes. Fairness compares processes: \
         the slowest divided by the fastest, and Jain's index; 1 is even. System calls were counted in a separate run, \
         by one process alone.",
        &body,
    )
}

/// A column: its heading, and its text for a cell.
type Column = (&'static str, fn(&Measured) -> String);

/// The parameters that tell one combination from another.
const WHAT: [Column; 9] = [
    ("strategy", |one| text(&one.cell.strategy)),
    ("regions", |one| one.cell.regions.to_string()),
    ("processes", |one| match one.cell.threads {
        1 => one.cell.processes.to_string(),
        threads => format!("{} × {threads}", one.cell.processes),
    }),
    ("writes", |one| format!("{} %", one.cell.write_percent)),
    ("value", |one| format_size(one.cell.value_size as u64)),
    ("keys", |one| text(&one.cell.keys)),
    ("batch", |one| one.cell.batch.to_string()),
    ("data", |one| one.cell.data_size.map_or_else(|| "–".to_owned(), format_size)),
    ("large pages", |one| text(one.cell.large_pages)),
];

/// Marks the parameters that are the same in all combinations and need no column.
fn in_common(results: &Results) -> [bool; WHAT.len()] {
    WHAT.map(|(name, of)| {
        let mut all = results.cells.iter().map(of);
        let first = all.next();
        name != "strategy" && all.all(|other| Some(other) == first)
    })
}

fn headings(same: &[bool]) -> String {
    let differing = WHAT.iter().zip(same).filter(|(_, same)| !**same);
    differing.map(|((name, _), _)| format!("<th>{name}</th>")).collect()
}

fn sentence_of(results: &Results, same: &[bool]) -> String {
    let Some(first) = results.cells.first() else { return String::new() };
    let common = WHAT.iter().zip(same).filter(|(_, same)| **same);
    let common: Vec<String> = common.map(|((name, of), _)| format!("{name} {}", of(first))).collect();
    if common.is_empty() { String::new() } else { format!("<p>The same in all rows: {}.</p>\n", common.join(", ")) }
}

fn what(one: &Measured, same: &[bool]) -> Vec<String> {
    WHAT.iter().zip(same).filter(|(_, same)| !**same).map(|((_, of), _)| of(one)).collect()
}

fn line(columns: Vec<String>) -> String {
    let columns: String = columns.iter().map(|column| format!("<td>{column}</td>")).collect();
    format!("<tr>{columns}</tr>\n")
}

fn speed(one: &Measured) -> Vec<String> {
    let times = |latency: &Option<Percentiles>| {
        let picks: [fn(&Percentiles) -> u64; 4] = [|p| p.p50_ns, |p| p.p99_ns, |p| p.p99_9_ns, |p| p.p99_99_ns];
        picks.map(|pick| latency.as_ref().map_or_else(|| "–".to_owned(), |all| human::latency(pick(all))))
    };
    let rounds = format!("{}–{}", millions(one.throughput.min), millions(one.throughput.max));
    let mut columns = vec![count(one.throughput.median as u64), rounds];
    columns.extend(times(&one.read_latency));
    columns.extend(times(&one.write_latency));
    columns
}

fn cost(one: &Measured) -> Vec<String> {
    let cpu =
        |pick: fn(CpuTime) -> f64| one.cpu_ns.map_or_else(|| "–".to_owned(), |cpu| human::latency(pick(cpu) as u64));
    let calls = match &one.system_calls {
        Calls::Counted { per_operation } => format!("{per_operation:.2}"),
        Calls::Not { not_counted } => format!("<span title=\"{}\">–</span>", text(not_counted)),
    };
    let switches = one.switches.map_or_else(|| "–".to_owned(), |all| format!("{:.4}", all.voluntary + all.involuntary));
    vec![
        cpu(|cpu| cpu.user + cpu.system),
        cpu(|cpu| cpu.system),
        calls,
        switches,
        format!("{:.2}", one.fairness.min_by_max),
        format!("{:.3}", one.fairness.jain),
        human::percent(one.counts.hits, one.counts.reads),
    ]
}
