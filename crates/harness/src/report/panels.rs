//! Which cells belong in one plot.

use crate::human;
use crate::keys::Keys;
use crate::run::{Measured, Results};
use crate::size::format_size;
use kennel::LargePages;

/// Cells that differ only in strategy and number of processes.
pub(super) struct Panel<'a> {
    pub regions: u32,
    pub title: String,
    /// The cells of each strategy, in the order of their processes; the strategies in the order of the results.
    pub series: Vec<(&'a str, Vec<&'a Measured>)>,
}

impl<'a> Panel<'a> {
    /// The numbers of processes in all series, sorted.
    pub(super) fn processes(&self) -> Vec<u32> {
        let all = self.series.iter().flat_map(|(_, cells)| cells.iter().map(|measured| measured.cell.processes));
        sorted(all)
    }

    /// The cells with the most processes, at most one for each strategy.
    pub(super) fn busiest(&self) -> Vec<&'a Measured> {
        let most = self.processes().last().copied();
        let last = |cells: &Vec<&'a Measured>| cells.iter().copied().find(|one| Some(one.cell.processes) == most);
        self.series.iter().filter_map(|(_, cells)| last(cells)).collect()
    }
}

/// All names of strategies, in the order of the results.
pub(super) fn strategies(results: &Results) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for measured in &results.cells {
        if !names.contains(&measured.cell.strategy.as_str()) {
            names.push(&measured.cell.strategy);
        }
    }
    names
}

/// All numbers of lock regions.
pub(super) fn regions(results: &Results) -> Vec<u32> {
    sorted(results.cells.iter().map(|measured| measured.cell.regions))
}

fn sorted(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The parameters that the cells of a panel share, apart from the lock regions.
#[derive(Clone, PartialEq)]
struct Load {
    threads: u32,
    write_percent: f64,
    value_size: usize,
    keys: Keys,
    batch: u32,
    data_size: Option<u64>,
    large_pages: LargePages,
}

impl Load {
    fn of(measured: &Measured) -> Self {
        let cell = &measured.cell;
        Self {
            threads: cell.threads,
            write_percent: cell.write_percent,
            value_size: cell.value_size,
            keys: cell.keys.clone(),
            batch: cell.batch,
            data_size: cell.data_size,
            large_pages: cell.large_pages,
        }
    }

    fn title(&self) -> String {
        let threads = if self.threads > 1 {
            format!(", {} each", human::plural(self.threads.into(), "thread"))
        } else {
            String::new()
        };
        let keys = match &self.keys {
            Keys::Uniform => "all keys alike".to_owned(),
            Keys::Zipf { theta } => format!("Zipf {theta}"),
            Keys::Hot { keys, requests } => {
                format!("{} % of the keys get {} % of the requests", keys * 100.0, requests * 100.0)
            }
            Keys::Recorded { .. } => "keys of a trace".to_owned(),
        };
        let data = self.data_size.map_or(String::new(), |bytes| format!(", {} of data", format_size(bytes)));
        let batch = if self.batch > 1 { format!(", {} keys of a call", self.batch) } else { String::new() };
        let pages = match self.large_pages {
            LargePages::Auto => String::new(),
            other => format!(", large pages {other}"),
        };
        let value = format_size(self.value_size as u64);
        format!("{} % writes, {value} values, {keys}{threads}{data}{batch}{pages}", self.write_percent)
    }
}

/// All panels. A strategy that was measured with only one number of lock regions appears in the panels of all numbers.
pub(super) fn panels(results: &Results) -> Vec<Panel<'_>> {
    let mut loads: Vec<Load> = Vec::new();
    for load in results.cells.iter().map(Load::of) {
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    let all_regions = regions(results);
    let mut panels = Vec::new();
    for load in &loads {
        for &regions in &all_regions {
            let series = strategies(results).into_iter().map(|name| (name, series(results, load, regions, name)));
            let series: Vec<_> = series.filter(|(_, cells)| !cells.is_empty()).collect();
            let title = match all_regions.len() {
                1 => load.title(),
                _ => format!("{}, {}", load.title(), human::plural(regions.into(), "lock region")),
            };
            panels.push(Panel { regions, title, series });
        }
    }
    panels
}

fn series<'a>(results: &'a Results, load: &Load, regions: u32, strategy: &str) -> Vec<&'a Measured> {
    let of_strategy = |measured: &&Measured| measured.cell.strategy == strategy;
    let has = sorted(results.cells.iter().filter(of_strategy).map(|measured| measured.cell.regions));
    let regions = if has.len() == 1 { has[0] } else { regions };
    let wanted = |measured: &&Measured| measured.cell.regions == regions && Load::of(measured) == *load;
    let mut cells: Vec<&Measured> = results.cells.iter().filter(of_strategy).filter(wanted).collect();
    cells.sort_by_key(|measured| measured.cell.processes);
    cells
}
